package contact

import (
	"time"

	"github.com/google/uuid"
)

// Unmetered is what an account has left that was never given credits.
const Unmetered = 1<<31 - 1

// Rate is a limit of a key: so many requests a period. The whole allowance may
// be used at once, and comes back evenly.
type Rate struct {
	// Name tells the rates of a key apart: second, minute or day.
	Name   string
	Limit  int
	Period time.Duration
}

// Toll is what a request asks for before it has an effect: room in the rates of
// its key, and credits of its account. A batch asks for a unit a row.
type Toll struct {
	Account, Key uuid.UUID
	// Rates are the limits of the key; none: it has no limit.
	Rates []Rate
	Units int
	// Cost is the credits that a unit costs; 0: it costs none.
	Cost int
	// Holds names the charge of each unit that costs credits: the id of its
	// write, or any other. A charge is made once for an id, however often it is
	// asked for. A unit named uuid.Nil is free.
	Holds []uuid.UUID
}

// Quota is what is left of a rate.
type Quota struct {
	Rate
	Remaining int
	// Reset is the time until the whole allowance is back.
	Reset time.Duration
}

// Grant is the answer to a Toll. Units are granted in their order: the first
// Allowed ones have room in every rate, and of these the first Paid ones were
// paid. What was not granted had no effect.
type Grant struct {
	Allowed, Paid int
	Quotas        []Quota
	// RetryAfter is when the first unit without room will have some.
	RetryAfter time.Duration
	// Credits are what the account has left.
	Credits int64
	// Metered tells whether the paid units were charged, and have to be settled
	// or released.
	Metered bool
}

// Balance is what an account has left of the credits that it was given.
type Balance struct {
	Account uuid.UUID
	Left    int64
	// Epoch grows each time credits are given; Seq counts the changes since.
	Epoch, Seq int64
}
