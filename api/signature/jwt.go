package signature

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"slices"
	"strings"
)

// claims are the members of a webhook token that are looked at.
type claims struct {
	Issuer      string  `json:"iss"`
	IssuedAt    scalar  `json:"iat"`
	NotBefore   scalar  `json:"nbf"`
	Expires     scalar  `json:"exp"`
	PayloadHash *string `json:"payload_hash"`
	URLHash     *string `json:"url_hash"`
}

// errToken says that a text is no token.
var errToken = errors.New("no token")

// hmacOf returns the hash of an HMAC algorithm; there is no other, least of
// all "none".
func hmacOf(alg string) func() hash.Hash {
	switch alg {
	case "HS256":
		return sha256.New
	case "HS384":
		return sha512.New384
	case "HS512":
		return sha512.New
	default:
		return nil
	}
}

// openToken returns the claims of a token that one of the keys signed with one
// of the allowed algorithms.
func openToken(token string, keys []string, allowed ...string) (claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > 8192 {
		return claims{}, refuse(RefusedMissingSignature)
	}
	var header struct {
		Alg string `json:"alg"`
	}
	if err := tokenPart(parts[0], &header); err != nil {
		return claims{}, refuse(RefusedBadSignature)
	}
	newHash := hmacOf(header.Alg)
	if newHash == nil || !slices.Contains(allowed, header.Alg) {
		return claims{}, refuse(RefusedBadSignature)
	}
	given, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return claims{}, refuse(RefusedBadSignature)
	}
	found := false
	for _, key := range keys {
		want := mac(newHash, key, []byte(parts[0]+"."+parts[1]))
		found = same(string(want), string(given)) || found
	}
	if !found {
		return claims{}, refuse(RefusedBadSignature)
	}
	var c claims
	if err := tokenPart(parts[1], &c); err != nil {
		return claims{}, refuse(RefusedUnreadable)
	}
	return c, nil
}

// tokenPart reads one base64 part of a token.
func tokenPart(part string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return errToken
	}
	return strictly(raw, into)
}

// hashes tells whether a claim is the SHA-256 of the bytes in hex.
func hashes(claim *string, covered []byte) bool {
	if claim == nil {
		return false
	}
	sum := sha256.Sum256(covered)
	return same(strings.ToLower(*claim), hex.EncodeToString(sum[:]))
}
