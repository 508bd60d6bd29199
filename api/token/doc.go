// Package token makes and checks the JSON Web Tokens of bearer credentials: our
// own, which POST /oauth2/token gives for an API key, and those of issuers that
// the operator trusts.
//
// A token is believed when its algorithm is one that its keys are for, its
// signature fits, its time has come and has not passed, it is meant for this API
// and it names an account. Nothing that a token says of itself chooses the way in
// which it is checked, except the issuer, which must be a known one, and the key
// id, which must be one of that issuer's.
//
// Our own tokens carry no rights: they name the API key they were given for, and
// that key's record is looked up for every request. So a revoked key ends its
// tokens too, and whoever steals a token has it for fifteen minutes at most.
//
// # Where the signing keys are
//
// Either in PEM files that the operator gives to every process, or, without any,
// in the database, where the first API makes one. Whoever reads a private key can
// sign tokens for every API key, and needs to know the id and the account of one.
// So the private keys are in Postgres alone, beside the contacts they would give
// access to, and in the memory of the APIs; Redis holds the public halves, which
// suffice to check tokens while Postgres is away. A process that was started
// while Postgres is away gives no tokens until it is back. Operators who trust
// neither backups nor readers of the database with it use files.
//
// A key is replaced without an outage because every token names the key that
// signed it: the new one is known everywhere before it signs, and the old one
// stays known until its last token has expired.
package token
