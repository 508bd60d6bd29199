// Package faults holds the suite that tries to break the promise: real
// processes of the patchlane binary on a real Postgres and a real Redis, each
// pair joined by a wire that can be cut, held, slowed down or made to lose
// exactly one reply, while clients write, a provider posts opt-outs, and both
// keep a history of what they were told. The checker then compares that history
// with what is stored.
//
//	make faults               every fault, one after the other; ends with a table
//	make soak DURATION=1h     random faults at full load
//	make test                 the brief ones among them
//
// A run prints its seed; PATCHLANE_SEED repeats what it injected.
//
// # The rules
//
//  1. Every acknowledged token stands in the notes of its contact exactly once.
//  2. One of unknown fate stands at most once, a refused one never.
//  3. If one write was acknowledged before another was sent, it stands before it.
//  4. Audit versions have no gap, and each old value is the previous new value.
//  5. The contact equals the fold of its audit rows.
//  6. Consent is what the rule makes of all events and writes.
//  7. Every acknowledged write has one row in the ledger, and none stays queued.
//  8. The offset of a lane is the last id of its stream.
//  9. No two transactions of one lane, and so of one contact, at the same time.
//
// In every entry, too, no key, address, phone number or note may stand in a log,
// a metric or the body of an error.
//
// # Where things are
//
//	stack_test.go      builds the binary, starts the servers
//	process_test.go    starts, stops and kills processes
//	wire_test.go       the proxy between each pair
//	client_test.go     writers that log intent, answer and times
//	consent_test.go    the provider, and the rule of consent in plain words
//	watch_test.go      how long any lane stands still
//	witness_test.go    who was at work on a lane, and when
//	checker_test.go    the nine rules
//	leak_test.go       the search for what may stand in no log
//	outage_test.go     servers that are away, full, read-only or out of connections
//	crowd_test.go      lanes that are full, hot or locked, and wrong clocks
//	registry_test.go   the list of faults, and the table
//	optouts_test.go    kills between a provider's signature and the flag
//	soak_test.go       random faults for long, and what must not grow
//	fence_test.go      the test of the test: the same without the fence has to fail
//
// The package has no code of its own.
package faults
