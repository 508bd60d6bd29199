// Package bench is `patchlane bench`: a load generator that believes nothing.
// It makes contacts of its own, writes to them over HTTP like any client, and
// then reads back what became of every write that was acknowledged.
//
//	command.go  the flags, and the run from beginning to end
//	profile.go  which contact is written next, and with what
//	pace.go     when: as fast as clients go, or at a fixed rate (open loop)
//	client.go   one HTTP exchange, repeated until its fate is known
//	contacts.go the contacts that are written to
//	load.go     the clients, and the history of what they were told
//	settle.go   waits for the outcome of every acknowledged write
//	verify.go   reads contacts and audit log back
//	check.go    pure: lost, doubled, disordered
//	report.go   the figures
//
// Latencies count from the moment at which a request was meant to be sent: a
// server that stalls makes the requests behind the stall slow too.
package bench
