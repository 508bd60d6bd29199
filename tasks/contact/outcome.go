package contact

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// State is what became of a write.
type State string

// The states of a write, as clients see them.
const (
	Queued    State = "queued"
	Applied   State = "applied"
	Unchanged State = "unchanged"
	Failed    State = "failed"
	Retried   State = "retried"
	Discarded State = "discarded"
)

// Op is how a field was changed.
type Op string

// The operations of the change log. OpSet is written as the empty string in
// the ledger's JSON to keep rows short.
const (
	OpSet    Op = "set"
	OpAppend Op = "append"
	OpAdd    Op = "add"
	OpRemove Op = "remove"
)

// Change is one changed field: a text column, a flag or its reason,
// `metadata.<key>`, `custom_fields.<name>` or `tags`. An append records what
// was appended and no old value; a set operation the tags that it touched.
type Change struct {
	Field string          `json:"field"`
	Op    Op              `json:"op,omitempty"`
	Old   json.RawMessage `json:"old"`
	New   json.RawMessage `json:"new"`
}

// Skip is a member of a write that was deliberately not applied.
type Skip struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// The reasons of a Skip.
const (
	SkipNewerConsent = "newer_consent"
	SkipChangedSince = "changed_since"
	// SkipSuppressedAddress: the write gave the contact an address that is
	// suppressed, which opts it out whatever the body says.
	SkipSuppressedAddress = "suppressed_address"
)

// Outcome is what became of one write.
type Outcome struct {
	WriteID uuid.UUID `json:"write_id"`
	Ref
	Kind  Kind  `json:"kind"`
	State State `json:"state"`
	// Code and Message say why a write failed.
	Code    Code   `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// Version is the contact's version after the write; 0 if it failed.
	Version int64    `json:"version"`
	Changes []Change `json:"changes"`
	Skipped []Skip   `json:"skipped,omitempty"`
	// SourceEvent is the event that opted the contact out: of a write that gave
	// it a suppressed address, and of what an event did. Empty: none.
	SourceEvent string    `json:"source_event,omitempty"`
	AcceptedAt  time.Time `json:"accepted_at"`
	AppliedAt   time.Time `json:"applied_at"`
	// Contact is the contact as of this write: set only for a write that
	// somebody waits for, and never for a failed one.
	Contact *Contact `json:"contact,omitempty"`
}

// Err returns the failure of the write as an *Error, or nil.
func (o *Outcome) Err() error {
	if o.State != Failed {
		return nil
	}
	return &Error{Code: o.Code, Message: o.Message}
}

// Receipt is the answer of the lane to an append: the write is durable.
type Receipt struct {
	// WriteID is the id under which the write is known. It differs from the
	// appended one when an idempotency key named an earlier write.
	WriteID uuid.UUID
	// AcceptedAt is the stamp of the earlier write, or of this one.
	AcceptedAt time.Time
	// Replayed: an earlier write with the same key and body stands for this.
	Replayed bool
}

// Record is the ledger's row of a write: its outcome and where it came from.
type Record struct {
	Outcome
	Source    Source
	Actor     string
	RetryOf   uuid.UUID
	RetriedAs uuid.UUID
}

// LogRow is one row of crm_field_change_log.
type LogRow struct {
	ID       string
	Contact  uuid.UUID
	Field    string
	Op       Op
	Old, New json.RawMessage
	WriteID  uuid.UUID
	Version  int64
	Actor    string
	Source   string
	// SourceEvent is the event that made the change; empty: none.
	SourceEvent string
	AcceptedAt  time.Time
	ChangedAt   time.Time
}

// AppliedBatch is what one transaction of the store did with the head of a
// batch.
type AppliedBatch struct {
	// Consumed is how many entries, from the first, are now behind the
	// committed offset. It is less than the batch when the batch was cut.
	Consumed int
	// Outcomes has one element for each consumed entry, in order. A replay
	// (an entry that the ledger knew) has the ledger's outcome, without Contact.
	Outcomes []Outcome
	// Replays counts the entries that were dropped because the ledger knew them.
	Replays int
}
