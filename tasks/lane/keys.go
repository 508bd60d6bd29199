package lane

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// tag is the Redis Cluster hash tag that puts all keys of a lane in one slot:
// {c:017} for a contact lane, {a:03} for an address lane.
func tag(l contact.Lane) string {
	if l.Kind == 'a' {
		return fmt.Sprintf("{a:%02d}", l.N)
	}
	return fmt.Sprintf("{%c:%03d}", l.Kind, l.N)
}

// logKey names the stream of a lane's entries: field "t" is the time of
// acceptance in microseconds, field "e" the entry in codec form.
func logKey(l contact.Lane) string { return tag(l) + ":log" }

// claimKey names the promise that somebody is about to ring for the lane. Its
// value says who made it: an append, a leaving drain, or claimSweep.
func claimKey(l contact.Lane) string { return tag(l) + ":claim" }

// ownerKey names the lease of the drain that works on the lane.
func ownerKey(l contact.Lane) string { return tag(l) + ":owner" }

// bellKey names the hash with the lane's counters: gen and served (generations
// rung and served), last (newest accepted_at), out (entries ever trimmed).
func bellKey(l contact.Lane) string { return tag(l) + ":bell" }

// bornKey names the hash of contacts whose create or restore is queued: account
// and contact id in 32 bytes, to the id of that write.
func bornKey(l contact.Lane) string { return tag(l) + ":born" }

// countKey names the hash of queued entries by account.
func countKey(l contact.Lane) string { return tag(l) + ":n" }

// idemKey names what an idempotency key stands for: write id, body hash and
// accepted_at, one after the other. The client's key is in it as a hash alone.
func idemKey(l contact.Lane, account, id uuid.UUID, key [32]byte) string {
	b := make([]byte, 0, 64)
	b = append(b, account[:]...)
	b = append(b, id[:]...)
	b = append(b, key[:]...)
	sum := sha256.Sum256(b)
	return tag(l) + ":idem:" + base64.RawURLEncoding.EncodeToString(sum[:18])
}

// createKey names the contact id that an account's idempotency key was given.
func createKey(account uuid.UUID, key [32]byte) string {
	return "create:" + account.String() + ":" + hex.EncodeToString(key[:])
}

// replyChannel names the channel on which an API process hears outcomes.
func replyChannel(name string) string { return "reply:" + name }

// laneKeys are the keys that most scripts take, in this order: log, claim,
// owner, bell, born, n.
func laneKeys(l contact.Lane) []string {
	return []string{
		logKey(l), claimKey(l), ownerKey(l), bellKey(l), bornKey(l), countKey(l),
	}
}

// pausedKey names the hash of what is paused in the lane: "*" for the lane, or
// the 16 bytes of an account.
func pausedKey(l contact.Lane) string { return tag(l) + ":paused" }

// heldKey names the hash of the accounts that have entries aside, with their
// numbers. The entries of one stand in a stream whose name is this one, a colon
// and the account in hexadecimal; see pause.go.
func heldKey(l contact.Lane) string { return tag(l) + ":held" }

// asideKey names the stream of the entries of one account that were put aside.
func asideKey(l contact.Lane, account uuid.UUID) string {
	return heldKey(l) + ":" + hex.EncodeToString(account[:])
}

// drainKeys are the keys of the scripts of drains and sweeps: laneKeys, paused,
// held.
func drainKeys(l contact.Lane) []string {
	return append(laneKeys(l), pausedKey(l), heldKey(l))
}
