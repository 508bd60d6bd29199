// Package faults holds the suite that tries to break the promise: real
// processes of the patchlane binary on a real Postgres and a real Redis, killed
// between every two steps, while clients write and keep a history of what they
// were told. The checker then compares that history with what is stored.
//
//	stack_test.go    builds the binary, starts and kills the processes
//	client_test.go   writers that log intent, answer and times
//	checker_test.go  the rules: nothing lost, doubled or out of order
//	crash_test.go    one kill at every place of the crash table (worker/doc.go)
//	chaos_test.go    random kills under load, with the fence and without it
//	optouts_test.go  the same for providers' events, from signature to flag
//
// The package has no code of its own.
package faults
