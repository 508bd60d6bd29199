// Package circuit knows whether a server answers, so that nobody waits for one
// that does not.
//
// A call that fails without an answer, or that takes long, makes a circuit ask
// the server itself, with a probe on a connection of its own. Only when the probe
// has no answer either, the circuit opens: from then on every call is refused at
// once, without reaching the server, and one probe at a time, a jittered moment
// apart, waits for the server's return. Its first answer closes the circuit.
//
// So an outage costs the calls that were under way their deadlines and no other
// call anything; a server that comes back meets one connection of each process
// instead of all that waited; and a single lost reply or slow statement opens
// nothing. A refused call certainly did not run.
//
// lane.Guard puts circuits before a client of Redis, store has one for Postgres.
package circuit
