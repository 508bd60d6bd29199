package contact

import (
	"crypto/sha256"
	"time"

	"github.com/google/uuid"
)

// Suppression is what an account knows about the consent of one address. It
// counts for every contact that has the address, now or later.
type Suppression struct {
	Address
	// StoredAs is the key under which it is stored, if another: ErasedKey.
	StoredAs string
	// Clock is that of the address; see Consent.Hear.
	Clock Consent
	// Events holds, by cause, the event that said so last.
	Events [NumCauses]uuid.UUID
	// Cause and Since say why and since when the address is suppressed, Event
	// which event said so.
	Cause Cause
	Since time.Time
	Event uuid.UUID
	// Provider and Source say where that event came from; they are in lists
	// alone.
	Provider string
	Source   Source
}

// Stand fills in what the clock says and tells whether the address is
// suppressed.
func (s *Suppression) Stand() bool {
	cause, since, out := s.Clock.Standing()
	s.Cause, s.Since, s.Event = 0, time.Time{}, uuid.Nil
	if out {
		s.Cause, s.Since, s.Event = cause, since, s.Events[cause]
	}
	return out
}

// Hear takes an event of the address into account.
func (s *Suppression) Hear(e *Event) Effect {
	clock, effect := s.Clock.Hear(e)
	s.Clock = clock
	if effect.Out {
		s.Events[effect.Cause] = e.ID
	}
	s.Stand()
	return effect
}

// SuppressionQuery asks for the suppressed addresses of one account.
type SuppressionQuery struct {
	Account uuid.UUID
	// Channel is 0 for any; Key is the compared form of one address, empty for
	// any.
	Channel Channel
	Key     string
	// Limit and After are as in ContactQuery.
	Limit int
	After string
}

// SuppressionPage is one page of suppressed addresses, in the order of channel
// and address.
type SuppressionPage struct {
	Suppressions []Suppression
	HasMore      bool
	Next         string
}

// The results of an event.
const (
	// ResultApplied: the event counts for its address.
	ResultApplied = "applied"
	// ResultStale: something that happened later was known already.
	ResultStale = "stale"
	// ResultRecorded: the event is of a kind that changes nothing.
	ResultRecorded = "recorded"
	// ResultReview: the event waits for a decision.
	ResultReview = "review"
	// ResultQuarantined: the event could not be read.
	ResultQuarantined = "quarantined"
)

// EventRecord is what became of an event.
type EventRecord struct {
	Event
	// Result is one of the Result constants.
	Result string
	// Contacts is how many contacts the event changed so far.
	Contacts int
	// Done tells that every contact was looked at; AppliedAt is when the event
	// counted for its address.
	Done      bool
	AppliedAt time.Time
}

// ReviewState is what was decided.
type ReviewState string

// The states of a review.
const (
	ReviewPending   ReviewState = "pending"
	ReviewAccepted  ReviewState = "accepted"
	ReviewDismissed ReviewState = "dismissed"
)

// OptOutReview is a report that may be an opt-out and waits for somebody who
// decides. Its id is that of the event.
type OptOutReview struct {
	Event
	State     ReviewState
	DecidedAt *time.Time
	DecidedBy string
}

// Accept returns the event that makes the report an opt-out, at the time of the
// report: a START since then still counts. It is to be minted and appended;
// however often that is done, it counts once.
func (r *OptOutReview) Accept(actor string) Event {
	e := r.Event
	e.ID, e.Action, e.Decides, e.Source, e.Actor = uuid.Nil, OptOut, r.ID, SourceReview, actor
	sum := sha256.Sum256(append([]byte("accept "), r.ID[:]...))
	e.Dedup = EventKey(sum[:len(EventKey{})])
	e.ReplyTo, e.TraceParent, e.AcceptedAt = "", "", time.Time{}
	if e.At.IsZero() {
		e.At = r.AcceptedAt
	}
	return e
}

// ReviewQuery asks for reviews of one account, the newest first.
type ReviewQuery struct {
	Account uuid.UUID
	// AllAccounts looks into every account and ignores Account: for operators.
	AllAccounts bool
	// State is empty for any.
	State ReviewState
	Limit int
	After string
}

// ReviewPage is one page of reviews.
type ReviewPage struct {
	Reviews []OptOutReview
	HasMore bool
	Next    string
}

// QuarantineQuery asks for what could not be read, the newest first.
type QuarantineQuery struct {
	Account uuid.UUID
	// AllAccounts looks into every account and ignores Account. It is for
	// operators alone.
	AllAccounts bool
	Limit       int
	After       string
}

// QuarantinePage is one page of what could not be read. Evidence of each event
// is the element, Reason why it could not be read.
type QuarantinePage struct {
	Events  []Event
	HasMore bool
	Next    string
}

// Endpoint is a receiver of webhooks. Its secrets are needed in clear to check
// signatures; they MUST NOT reach a log or an answer.
type Endpoint struct {
	ID       uuid.UUID `json:"id"`
	Account  uuid.UUID `json:"account"`
	Provider string    `json:"provider"`
	// Secrets are those that are live: several while they are rotated.
	Secrets []string `json:"secrets"`
	// BasicAuth holds "user:password" pairs that are let in besides.
	BasicAuth []string `json:"basic_auth,omitempty"`
	// TopicARN is the SNS topic that may post here.
	TopicARN string `json:"topic_arn,omitempty"`
	// Settings are those of the provider's rules, in the API's own JSON.
	Settings  []byte     `json:"settings,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	DeletedAt *time.Time `json:"deleted_at,omitempty"`
}

// EndpointChange is what a PATCH of an endpoint sets; nil members stay.
type EndpointChange struct {
	Secrets   []string
	BasicAuth []string
	TopicARN  *string
	Settings  []byte
}
