package contact

import (
	"time"

	"github.com/google/uuid"
)

// ContactQuery asks for contacts of one account, in the order of their ids.
// Several look-up values must all match.
type ContactQuery struct { //nolint:revive // beside WriteQuery and LogQuery
	Account uuid.UUID
	// Email, Phone and ExternalID are exact look-ups; nil: any. An e-mail is
	// compared in the form of EmailKey, a phone number as it is stored (E.164).
	Email      *string
	Phone      *string
	ExternalID *string
	// IncludeArchived lists archived contacts too.
	IncludeArchived bool
	// Limit is the size of a page. The caller has checked it: 1 to 100.
	Limit int
	// After is the cursor of the page, Next or Prev of another; empty: from the
	// start. A cursor that the store did not make is a validation_failed Error
	// that names the field "cursor".
	After string
}

// ContactPage is one page of contacts.
type ContactPage struct { //nolint:revive // beside WritePage and LogPage
	Contacts []Contact
	HasMore  bool
	// Next is the cursor of the next page; empty when HasMore is false. Prev is
	// that of the page before; empty on the first.
	Next, Prev string
}

// WriteRef names a write. Write ids are looked up under their account alone.
type WriteRef struct {
	Account uuid.UUID
	ID      uuid.UUID
}

// WriteQuery asks the ledger for writes, newest id first.
type WriteQuery struct {
	Account uuid.UUID
	// AllAccounts looks into every account, entries that nobody can read
	// included, and ignores Account. It is for operators alone.
	AllAccounts bool
	// State is empty for any. Queued matches nothing: the ledger holds writes
	// that have an outcome.
	State State
	// Contact is uuid.Nil for any.
	Contact uuid.UUID
	// Code is the reason of a failure; empty for any.
	Code Code
	// Since is the least time of the outcome; zero: open.
	Since time.Time
	Limit int
	After string
}

// WritePage is one page of the ledger.
type WritePage struct {
	Writes  []Record
	HasMore bool
	Next    string
}

// LogQuery asks for rows of the change log of one account: the highest version
// first when Contact is given, else the newest write id first.
type LogQuery struct {
	Account uuid.UUID
	// Contact and WriteID are uuid.Nil for any.
	Contact uuid.UUID
	WriteID uuid.UUID
	// Field is the exact name of a logged field; empty for any.
	Field string
	// From and To bound the time of the change, From included, To not; zero:
	// open.
	From, To time.Time
	Limit    int
	After    string
}

// LogPage is one page of the change log.
type LogPage struct {
	Rows    []LogRow
	HasMore bool
	Next    string
}

// FailedWrite is what a retry of a failed write needs.
type FailedWrite struct {
	WriteRef
	// Raw is the entry as it stood in the lane (codec form).
	Raw []byte
	// AcceptedAt is the acceptance of the failed write.
	AcceptedAt time.Time
	// RetryID is the id to append the new write with: the id offered to
	// ClaimRetry, or the one that an earlier, unfinished retry had claimed.
	RetryID uuid.UUID
}
