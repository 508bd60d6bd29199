// Package local runs a Postgres and a Redis of one's own: for `patchlane dev`,
// for the demo and for the tests. They are real servers, found on the machine.
//
// A server listens on the loopback on a free port, runs as an unprivileged
// user when this process is root, and never outlives this process: it is
// stopped by Stop, or by the kernel (elsewhere than on Linux by a watchdog)
// when this process is killed.
//
//	postgres.go  StartPostgres: find, initdb, start, wait
//	redis.go     StartRedis: find, start, wait; standin.go when there is none
//	server.go    what both have in common: ports, readiness, restart, logs
//	process.go   a child process that ends with its parent
//	identity.go  whom a server runs as
//	find.go      where the binaries are; download.go when they are nowhere
package local
