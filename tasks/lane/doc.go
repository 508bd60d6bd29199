// Package lane keeps the ordered queues in Redis: one stream a lane, beside it
// the lease of the drain that empties it, and the bell that calls a drain. Contact
// lanes hold writes, address lanes hold events; one machinery serves both. It
// knows nothing of asynq, of Postgres and of HTTP.
//
// # What a lane guarantees
//
//   - An append that was acknowledged stands in the stream, at one place, in
//     the order of the acknowledgements. It stays there until Trim removes it.
//   - A read is at least once. Whoever applies entries MUST drop the write ids
//     that it has applied before: after an append of unknown fate an entry may
//     stand in the stream twice.
//   - At most one drain holds a lane's lease. A lease is no fence: a stopped
//     process may wake up without it. The store MUST fence each batch itself.
//   - A lane with entries is rung for until a drain has served it: by the
//     appender, by the leaving drain, and at last by the sweep.
//
// # Pauses
//
// Operators pause the contact lanes, the address lanes or one account; accepting
// goes on. The marks stand in each lane, so that a drain obeys them at its next
// step and no cache is late. A paused lane is not entered and gives no entries. The
// entries of a paused account are put aside, in their order, when a drain comes
// to them, and those of others go on; as long as an account has entries aside, its
// newer ones go aside too. So after a resume the oldest is applied first. What
// stands aside counts for the account's share of the lane, not for its depth.
//
// # What others must do
//
//   - A process that appends MUST use a client with MaxRetries -1 (see Tune):
//     a client that repeats an append on its own turns one write into two.
//   - Trim MUST be called only with entries whose outcome was committed.
//   - Nobody may DEL or EXPIRE a stream. An emptied stream keeps its last id,
//     and the offset in Postgres relies on that.
//
// All keys of one lane share a Redis Cluster slot, and every script touches one
// lane only.
package lane
