// Package limit counts what a key may do: requests a period, and credits of its
// account. It lives in Redis alone, so that it is exact across replicas and goes
// on while Postgres is away.
//
// # Rates
//
// A rate is a GCRA whose burst is the whole allowance: a bucket that fills by
// one unit a request and drains evenly, by its limit within its period. The clock
// is Redis'. All numbers are whole: nothing is rounded, however often it is asked.
// A request must have room in every rate of its key, and is counted in all of them
// or in none. Its state goes to disk and to replicas once a second, so that it costs
// no fsync of its own: a Redis that was killed has forgotten a second of requests
// at most.
//
// # Credits
//
// A charge takes its cost off the balance and leaves a hold under an id in the
// same script. Settle removes the hold, and the charge stands; Release removes it
// and gives the cost back. Each is done once for an id: a repeat after a lost
// reply changes nothing. So at every moment balance + holds + settled charges is
// what was given, the balance is never below zero, and nothing is charged twice.
//
// A process that dies between charge and settlement leaves its holds behind. The
// Keeper of any other finds them two minutes later and decides by the id: it is
// that of a write which came in and did not fail, and the charge stands; else the
// cost is given back. So a crash neither loses a charge of an accepted write nor
// charges for one that was not accepted; the answer to a read that the crash cut
// off is free.
//
// Credits that are set replace the balance and drop every hold, so that a call
// begun before does not give back to the new balance.
//
// Redis is the truth and as durable as the lanes are. Postgres has a copy, which
// is written within seconds and from which Redis is refilled should it come up
// empty; a newer figure set in Postgres goes to Redis. An account that neither of
// them knows is not metered. Should Redis not know and Postgres not answer, the
// account counts as not metered for that call: doubt accepts.
//
// One Lua call answers all requests that a process gathered for an account. While
// one round trip is on its way the next is gathered, and under load a little longer,
// so that Redis spends a quarter of its time on tolls at most, however slow its disk
// is. A request that comes alone waits for nobody.
package limit
