// Package worker drains lanes: it takes the writes that stand in a lane, in
// order, and hands them to the store in batches. It knows neither Redis nor
// Postgres; what it needs of them are the small interfaces in drain.go and
// sweep.go.
//
// # The pipeline
//
//	ring      asynq says: this lane has something        (tasks.NewDrain)
//	enter     take the lane's lease                      (drain.go)
//	  read    the head of the lane                       (drain.go, batch.go)
//	  apply   one transaction, each write once           (drain.go, failure.go)
//	  publish the outcomes that somebody waits for       (outcome.go)
//	  trim    what was committed                         (drain.go)
//	leave     give the lease back                        (drain.go)
//	ring      for what remains
//
// Read, apply, publish and trim make a round; rounds follow each other until
// the lane is empty or the slice of about two seconds is over. A second
// goroutine renews the lease meanwhile (lease.go), and once a second the sweep
// rings for every lane that has entries and nobody to drain it (sweep.go).
//
// Rings, leases and trims are aids: any of them may be lost, late or doubled.
// What makes a write count once and in order is the transaction alone, which
// locks the lane's row, drops what the ledger knows and moves the offset with
// the data.
//
// # What a death leaves behind
//
// Each row is a place between two steps. The name is that of its mark for the
// crash suite; "apply.*" marks are inside the store's transaction.
//
//	place                what is there                    who repairs it, and when
//	before enter         the ring is used up, the claim   the sweep rings when the claim
//	                     lives at most 1.5 s              has ended: 2.5 s
//	drain.entered        a lease without a drain, entries the sweep rings when the lease
//	                     untouched                        has ended after 5 s: 6 s
//	drain.read           the same                         the same
//	apply.locked         a transaction without a client   Postgres rolls it back; then as
//	apply.folded         or, if the process is stopped    drain.entered. A drain that comes
//	apply.before_commit  only, one that idles             earlier finds the lane held and
//	                                                      leaves with a pause
//	apply.after_commit   committed, the entries still in  the next drain reads them again;
//	drain.applied        the lane, waiters not told       the ledger drops them as replays,
//	                                                      their outcomes are published, they
//	                                                      are trimmed
//	drain.published      the same, waiters told           the same; a waiter that is told
//	                                                      twice takes the first
//	drain.trimmed        a lease without a drain, nothing as drain.entered
//	                     applied is left in the lane
//	drain.left           no lease, a claim of 1.5 s, and  the sweep rings when the claim
//	                     a generation not rung for        has ended: 2.5 s
//	after the ring       nothing
//
// The times are those of one lane. A process that dies holds many lanes, each at
// a place of its own, so the last of them moves on within 7 s wherever it died:
// that is what the suite of cmd/patchlane/faults measures and holds, on the heads
// of the lanes, from the death to the moment at which no lane stands still.
//
// Address lanes are drained in the same way, by slots and a queue of their own,
// so that no backlog of writes delays an opt-out, and a batch of writes lets one
// of events go first (precedence.go); the store applies them in steps, each a
// transaction:
//
//	optouts.before_heard     nothing of the batch           as apply.before_commit
//	optouts.heard            the events and suppressions;   the next drain goes on: what an
//	                         contacts are not reached yet,  event does was fixed by the first
//	                         newcomers are opted out        transaction
//	optouts.reached          the same, some contacts are    the same; for those that were
//	                         reached                        reached it changes nothing
//	optouts.before_settled   the same                       the same
//	optouts.settled          all of it, entries still in    as drain.applied
//	                         the lane
//
// And a batch of writes that gave contacts an address owes a look at the
// suppressions after its commit; whoever comes next to the lane makes it first.
//
// A stopped process that wakes up after its lease is the same as a dead one:
// its transaction was rolled back by then, or finds the offset moved; its trim
// removes only what stands committed; its leave and renewals see another token.
//
// # What failures do
//
// judge in failure.go is the one place that decides. A refused entry is looked
// for by halving the batch and recorded as failed; everything else that goes
// wrong is an outage: the drain tries again with the lease kept, from 50 to
// 500 ms apart, and after ten seconds leaves the lane to the sweep. Nothing is
// ever recorded as failed because of an outage.
package worker
