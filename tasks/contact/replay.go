package contact

import (
	"time"

	"github.com/google/uuid"
)

// FailureQuery asks for failed writes that nobody retried or discarded, in the
// order in which they were accepted first: that of retries.
type FailureQuery struct {
	Account uuid.UUID
	// AllAccounts looks into every account and ignores Account.
	AllAccounts bool
	// Contact is uuid.Nil for any.
	Contact uuid.UUID
	// IDs picks these alone; nil: any.
	IDs []uuid.UUID
	// Code is the reason of the failure; empty for any.
	Code Code
	// Since and Until bound when the write failed, Since included, Until not;
	// zero: open.
	Since, Until time.Time
	// Limit is the size of a page; the caller has checked it.
	Limit int
	// After is the place of the last failure of the page before; nil: the start.
	After *FailurePlace
}

// FailurePlace is the place of a failed write in the order of retries.
type FailurePlace struct {
	Origin time.Time
	ID     uuid.UUID
}

// Failure is a failed write that is open.
type Failure struct {
	WriteRef
	Contact uuid.UUID
	Kind    Kind
	Code    Code
	Message string
	// Origin is when it was accepted; of a retry that failed in its turn, when
	// the first write of the chain was.
	Origin   time.Time
	FailedAt time.Time
	// Claimed says that a retry fixed its id and may not have been appended.
	Claimed bool
}

// Place is where the failure stands in the order of retries.
func (f *Failure) Place() FailurePlace { return FailurePlace{Origin: f.Origin, ID: f.ID} }

// FailureCount is how many open failures one code has.
type FailureCount struct {
	Code   Code      `json:"code"`
	Count  int64     `json:"count"`
	Oldest time.Time `json:"oldest"`
	Newest time.Time `json:"newest"`
}

// RetryClaim fixes the id of the write that repeats a failed one.
type RetryClaim struct {
	WriteRef
	NewID uuid.UUID
}

// RetryPreview is what a retry would do if it were applied now.
type RetryPreview struct {
	Failure
	// Outcome is applied, unchanged or failed; Skipped holds the fields that
	// would be left alone because somebody changed them since.
	Outcome Outcome
	// Write is the write that would be appended; its zero value: it cannot be read.
	Write Write
	// Refused is why the write cannot be retried at all; empty: it can.
	Refused string
}

// repeat makes the write that repeats a failed one.
func (w *Write) repeat(id, failed uuid.UUID, acceptedAt time.Time) {
	w.ID, w.RetryOf, w.ReplyTo, w.Idempotency = id, failed, "", nil
	if w.RetryAcceptedAt.IsZero() {
		w.RetryAcceptedAt = acceptedAt
	}
}

// Repeat decodes the write and makes it the one that repeats it, with the id that
// was claimed.
func (f *FailedWrite) Repeat(force bool) (Write, error) {
	w, err := Decode(f.Raw)
	if err != nil {
		return Write{}, &Error{Code: CodeUnreadable, Message: "The failed write cannot be read.", Err: err}
	}
	w.repeat(f.RetryID, f.ID, f.AcceptedAt)
	w.Force = force
	if force {
		// What the client once expected of the contact is what failed.
		w.IfMatch = nil
	}
	return w, nil
}
