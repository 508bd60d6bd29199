// Package dialect translates between the JSON bodies of the vendors and the
// words of patchlane: a body becomes a contact.Patch, an answer becomes the
// envelope that the vendor's clients expect.
//
// A dialect is one file and one element of All. It MUST refuse what it does
// not know (a silently dropped member is a lost write), it MUST NOT decide a
// status, and it holds no state: everything about a request is in its
// arguments.
package dialect

import (
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// Dialect is one vendor's way of writing requests and answers.
type Dialect interface {
	Decoder
	Encoder

	// Traits returns what is fixed about the dialect.
	Traits() Traits
}

// Decoder reads requests.
type Decoder interface {
	// Decode reads the body of a create or of a patch. It returns an error
	// only for a body whose members cannot be told apart (invalid_json,
	// invalid_body) or for a query that the vendor refuses; every problem of a
	// member is in Body.Fields, so that all of them are answered at once.
	Decode(kind contact.Kind, r Request) (Body, error)
	// CheckQuery refuses a query that asks for an answer that cannot be given.
	// It is asked before anything else is done, so that nothing is written.
	CheckQuery(q url.Values, d Definitions) error
	// Locate reads how a path names a contact. Its error is what a client is
	// answered with whose path cannot name one.
	Locate(id string) (Location, error)
}

// Encoder writes answers.
type Encoder interface {
	// Contact writes one contact, after a write with what the write did.
	Contact(v View) ([]byte, error)
	// Queued writes the answer to a write that was accepted and not waited for.
	Queued(a Accepted) ([]byte, error)
	// List writes one page of contacts.
	List(p Page) ([]byte, error)
	// Log writes one page of the change log.
	Log(p LogPage) ([]byte, error)
	// Problem writes an error and names its media type.
	Problem(p *Problem) (body []byte, mediaType string)
}

// Traits are the fixed properties of a dialect.
type Traits struct {
	// Name is the value of a key's dialect.
	Name string
	// Wait is how long a PATCH waits when the client states no preference.
	Wait time.Duration
	// Prefixes are the path prefixes at which a request without a usable
	// credential is answered in this dialect.
	Prefixes []string
	// Credentials are the prefixes of this dialect's keys, the first of which a
	// new key gets; none: its keys are opaque.
	Credentials []string
	// Claims are those of Credentials that tell the dialect on any path, even
	// of a credential that is not known.
	Claims []string
	// Params are the query parameters of lists that shape the answer.
	Params []string
	// NeedsID says that a PATCH or DELETE of no contact is a bad request, where
	// the other dialects see a path without such a method.
	NeedsID bool
	// ReadCost and WriteCost are the credits of the account that a call costs; a
	// row of a batch is a write.
	ReadCost, WriteCost int
	// PerSecond is the limit of a key that was given none; 0: it has none.
	PerSecond int
}

// Request is what a dialect reads of a request. Body MUST NOT be kept: what
// outlives the call is copied.
type Request struct {
	Body []byte
	// Definitions are those of the caller's account.
	Definitions Definitions
}

// Definitions loads what the caller's account has defined. Loading costs a look
// into Redis, so a dialect does it only for a request that needs it. The fields
// are the names (internal names or labels) that the request uses: when one of
// them is not in the mirror the store is asked as well, so that a name which the
// answer does not know is not defined. An error means that nobody could be
// asked, and is to be returned as it is.
type Definitions func(fields ...string) (*contact.Definitions, error)

// Load calls d; an account of nobody has defined nothing.
func (d Definitions) Load(fields ...string) (*contact.Definitions, error) {
	if d == nil {
		return contact.NewDefinitions(contact.Settings{}), nil
	}
	return d(fields...)
}

// Body is a decoded create or patch.
type Body struct {
	Patch contact.Patch
	// ID is the id that a create asked for; uuid.Nil: none.
	ID uuid.UUID
	// AsOf is how old the client says its data is; zero: it did not say.
	AsOf time.Time
	// LaxPhone takes a phone number that is no E.164 (contact.Rules).
	LaxPhone bool
	// Fields are the problems found so far, in the order of the body.
	Fields []contact.FieldError
}

// Location is how a path names a contact: by its id, else by its phone number.
type Location struct {
	ID uuid.UUID
	// Phones are the forms in which the number may be stored.
	Phones []string
}

// Frame is what an answer depends on beside what it shows.
type Frame struct {
	Query url.Values
	// Definitions are those of the caller's account. An error of theirs must not
	// take the answer away from a write that was applied.
	Definitions Definitions
	// Credits are what the account has left.
	Credits int64
	// HrefBase is what a dashboard's link to a contact begins with.
	HrefBase string
}

// View is one contact to be shown.
type View struct {
	Frame
	Contact *contact.Contact
	// Outcome is what the write did that is answered; nil for a read.
	Outcome *contact.Outcome
}

// Accepted is a write that is durable and has no outcome yet.
type Accepted struct {
	Frame
	WriteID    uuid.UUID
	Contact    uuid.UUID
	AcceptedAt time.Time
}

// Page is one page of contacts.
type Page struct {
	Frame
	Contacts []contact.Contact
	Limit    int
	// Next is the cursor of the following page; empty: this is the last. Prev
	// is that of the page before; empty: this is the first.
	Next, Prev string
}

// LogPage is one page of the change log.
type LogPage struct {
	Frame
	*contact.LogPage
	Limit int
}

// Problem is an error as it is answered.
type Problem struct {
	Status    int
	Code      contact.Code
	Title     string
	Detail    string
	Fix       string
	Fields    []contact.FieldError
	RequestID string
}

// All lists the dialects. The first is the native one, which answers whatever
// no other claims.
func All() []Dialect {
	return []Dialect{Native{}, TrustPager{}, Routera{}, LeadLex{}, Callbell{}}
}

// ByName returns the dialect of a key; false when this release has none of
// that name.
func ByName(name string) (Dialect, bool) {
	for _, d := range All() {
		if d.Traits().Name == name {
			return d, true
		}
	}
	return nil, false
}

// ForUnknown chooses the shape of an answer to a request whose credential is
// missing or bad: by the credential if its prefix tells the vendor on any path,
// else by the path, else native.
func ForUnknown(path, credential string) Dialect {
	all := All()
	for _, d := range all {
		if hasAnyPrefix(credential, d.Traits().Claims) {
			return d
		}
	}
	for _, d := range all {
		if underAny(path, d.Traits().Prefixes) {
			return d
		}
	}
	return all[0]
}

// underAny tells whether a path is one of the prefixes or lies below it.
func underAny(path string, prefixes []string) bool {
	for _, p := range prefixes {
		if rest, found := strings.CutPrefix(path, p); found && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
