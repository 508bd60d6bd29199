// Command peerbench measures patchlane against the other ways of applying the
// same contact updates, on one machine, in one run, one way after the other.
//
// It is a module of its own, so that what it compares with is no dependency of
// the product. From the top of the repository: `make bench-peers`.
//
//	workload.go     the updates: who is written, in which order, with what
//	servers.go      one Postgres and one Redis, both with fsync on
//	database.go     a fresh database for each way, and the check of what it did
//	update.go       the plain way: one bun transaction
//	direct.go       that transaction without any queue
//	asynq.go        asynq, one task a write
//	river.go        River, one job a write
//	node.go, node/  graphile-worker and BullMQ, one job a write
//	inside.go       the same rows by SQL inside the server: no client at all
//	patchlane.go    patchlane over HTTP, by the request and by the batch
//	table.go        medians, ratios, order; chart.go: the picture
//
// Every way changes the same rows: two fields of a contact, a note with every
// fifth write, and one row that is audit and ledger. Each contact is written
// twice in a row, which is where a way without order shows it. The time counts
// from the first write handed over to the last one committed.
//
// The ways differ in speed a hundredfold, so each gets as many writes as make it
// busy for some seconds; the table says how many.
package main
