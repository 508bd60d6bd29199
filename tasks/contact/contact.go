// Package contact holds the words of patchlane: what a contact is, what a
// write is, and what a write does to a contact. It is pure: no Redis, no SQL,
// no HTTP, no clock of its own. Everything above it (api, lane, worker, store)
// shares these types and nothing else.
//
// Read in this order: contact.go (the record), patch.go (a change as it was
// asked for), write.go (an accepted change in a lane), fold.go (what it does),
// outcome.go (what became of it).
package contact

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Field names one of the text members of a contact. Its String is at once the
// JSON member, the column and the name in the change log.
type Field uint8

// The text fields, in the order of the columns.
const (
	FirstName Field = iota
	LastName
	Email
	Phone
	Landline
	DateOfBirth
	JobTitle
	CompanyName
	LinkedinURL
	AvatarURL
	ContactOwner
	ExternalID
	SourceField
	Notes

	// NumFields is the number of text fields.
	NumFields
)

// String returns the member and column name, such as "first_name".
func (f Field) String() string { //nolint:cyclop // one case a column
	switch f {
	case FirstName:
		return "first_name"
	case LastName:
		return "last_name"
	case Email:
		return "email"
	case Phone:
		return "phone"
	case Landline:
		return "landline"
	case DateOfBirth:
		return "date_of_birth"
	case JobTitle:
		return "job_title"
	case CompanyName:
		return "company_name"
	case LinkedinURL:
		return "linkedin_url"
	case AvatarURL:
		return "avatar_url"
	case ContactOwner:
		return "contact_owner"
	case ExternalID:
		return "external_id"
	case SourceField:
		return "source"
	case Notes:
		return "notes"
	default:
		return "unknown"
	}
}

// ParseField reads what String wrote.
func ParseField(s string) (Field, bool) {
	for f := range NumFields {
		if f.String() == s {
			return f, true
		}
	}
	return 0, false
}

// Ref names a contact of an account. Ids are unique within an account only,
// so that the id of one account says nothing about another.
type Ref struct {
	Account uuid.UUID
	ID      uuid.UUID
}

// Contact is the stored record. The zero value of every member means "nothing
// there"; JSON members are never nil once a contact was read from the store.
type Contact struct {
	Ref
	// Text holds the text fields; nil is NULL. DateOfBirth is YYYY-MM-DD.
	Text [NumFields]*string
	// Tags in the order in which they were given; unique without case.
	Tags []string
	// CustomFields and Metadata are JSON objects in the store's own spelling.
	CustomFields json.RawMessage `json:",omitempty"`
	Metadata     json.RawMessage `json:",omitempty"`
	// EmailConsent and SMSConsent are the clocks that the flags are made from.
	EmailConsent Consent
	SMSConsent   Consent
	// ArchivedAt is nil while the contact is active; ArchivedBy is the actor.
	ArchivedAt *time.Time
	ArchivedBy *string
	// Version is the number of writes that changed the contact, without gaps:
	// the create is 1.
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// FullName joins first and last name with one space; nil when both are NULL.
func (c *Contact) FullName() *string {
	first, last := c.Text[FirstName], c.Text[LastName]
	switch {
	case first == nil:
		return last
	case last == nil:
		return first
	default:
		s := *first + " " + *last
		return &s
	}
}

// Existence is what the store knows about a contact id before a write to it
// is accepted.
type Existence uint8

// The three answers to "is it there?".
const (
	Missing Existence = iota
	Active
	Archived
)
