package limit

import "github.com/google/uuid"

// tag is the Redis Cluster hash tag that puts all keys of an account in one
// slot, since one script reads the rates of its keys and its credits.
func tag(account uuid.UUID) string { return "limit:{" + account.String() + "}:" }

// rateKey names the state of one rate of an API key: the limit it was counted
// with, the level of the bucket, the step of the clock at which it had that, and
// the microsecond at which it was last written to disk.
func rateKey(account, key uuid.UUID, rate string) string {
	return tag(account) + key.String() + ":" + rate
}

// creditsKey names the hash of an account's balance: left (a number, or "-" for
// an account that is known to be not metered), epoch and seq.
func creditsKey(account uuid.UUID) string { return tag(account) + "credits" }

// holdsKey names the hash of charges that are not settled: the id in 16 bytes, to
// the cost and the time in microseconds.
func holdsKey(account uuid.UUID) string { return tag(account) + "holds" }
