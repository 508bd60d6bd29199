package contact

import (
	"strings"
	"time"

	"github.com/google/uuid"
)

// Action is what an event asks for.
type Action uint8

// The actions. Their numbers are part of the wire form.
const (
	// OptOut opts the address out for Event.Cause.
	OptOut Action = iota + 1
	// Start is a person's START by text message.
	Start
	// Resubscribe is a re-subscription by the recipient of e-mail.
	Resubscribe
	// StartIfStopped is a Start for an address whose STOP stands, else a Note:
	// the word YES.
	StartIfStopped
	// Clear takes the suppression of the address back: the account's own word.
	Clear
	// Review changes nothing until somebody decides; accepting it is an opt-out
	// for Event.Cause.
	Review
	// Note is recorded and changes nothing.
	Note
	// Quarantine keeps in Evidence what could not be read.
	Quarantine

	endActions
)

// String returns the name in the record of events.
func (a Action) String() string {
	switch a {
	case OptOut:
		return "opt_out"
	case Start:
		return "start"
	case Resubscribe:
		return "resubscribe"
	case StartIfStopped:
		return "start_if_stopped"
	case Clear:
		return "clear"
	case Review:
		return "review"
	case Note:
		return "none"
	case Quarantine:
		return "quarantine"
	case endActions:
		fallthrough
	default:
		return "unknown"
	}
}

// ParseAction reads what String wrote.
func ParseAction(s string) (Action, bool) {
	for a := OptOut; a < endActions; a++ {
		if a.String() == s {
			return a, true
		}
	}
	return 0, false
}

// The ways in which an event came in; each is the source of its audit rows.
const (
	SourceWebhook     Source = "webhook"
	SourceSuppression Source = "suppression"
	SourceUnsubscribe Source = "unsubscribe_link"
	SourceReview      Source = "review"
	// SourceRecheck is the look after the commit of writes that gave contacts an
	// address: the event was on its way at the same time.
	SourceRecheck Source = "recheck"
)

// Event is one report about the consent of an address on its way through the
// lane of that address: a provider's webhook, a suppression that the account
// makes or takes back, a click on an unsubscribe link, a decision of a review.
type Event struct {
	// ID is minted by NewWriteID for the address lane. It is the event that an
	// audit row cites.
	ID      uuid.UUID
	Account uuid.UUID
	// Contact is opted out too, whichever address it has by now: the one that
	// an unsubscribe link was made for. uuid.Nil: none.
	Contact uuid.UUID
	Channel Channel
	// Address is the key of the address; it may be empty for Quarantine alone.
	Address string
	Action  Action
	// Cause counts for OptOut and Review.
	Cause Cause
	// Dedup is equal for every repetition of the event, whichever way it came:
	// of two with one key in an account the first counts. EventKey(ID) for an
	// event that nobody repeats.
	Dedup EventKey
	// At is the provider's own time; zero: it gave none.
	At time.Time
	// WholeSeconds tells that At has no finer resolution than a second.
	WholeSeconds bool
	// Ambiguous tells that a report names several addresses and does not say
	// which of them it means.
	Ambiguous bool
	// Endpoint is the webhook endpoint; uuid.Nil: none.
	Endpoint uuid.UUID
	// Decides is the review that this event accepts; uuid.Nil: none.
	Decides uuid.UUID
	// Reason is the cause in one word, also for what is no opt-out. Of a
	// Quarantine: why it could not be read.
	Reason string
	// Provider, Type and ProviderID are the sender, the kind of event in its own
	// words, and its id for it.
	Provider, Type, ProviderID string
	Source                     Source
	// Actor is the key that acted; empty for a provider.
	Actor string
	// ReplyTo and TraceParent are as in Write.
	ReplyTo, TraceParent string
	// Evidence is a small JSON object for audit and review; of a Quarantine the
	// element itself, whatever its bytes.
	Evidence []byte
	// AcceptedAt is stamped by the append script, like that of a write. It is
	// not part of the encoded entry.
	AcceptedAt time.Time
}

// About returns the address that the event is about.
func (e *Event) About() Address {
	return Address{Account: e.Account, Channel: e.Channel, Key: e.Address}
}

// Lane returns the lane of the event's address among n.
func (e *Event) Lane(n int) Lane { return AddressLaneOf(e.About(), n) }

// Mint gives the event an id of its lane among n, minted at a time, and makes
// every value one that the store takes: no opt-out is lost to a character in its
// evidence. An event without a Dedup key gets one that nobody repeats.
func (e *Event) Mint(now time.Time, n int) error {
	e.tidy()
	id, err := NewWriteID(now, e.Lane(n))
	if err != nil {
		return err
	}
	e.ID = id
	if e.Dedup == (EventKey{}) {
		e.Dedup = EventKey(id)
	}
	return nil
}

// maxEventText bounds each text of an event; an address is a key of an index.
const maxEventText = 600

// tidy drops what a text column, a date or a JSON column cannot hold.
func (e *Event) tidy() {
	for _, s := range e.texts() {
		*s = strings.ReplaceAll(strings.ToValidUTF8((*s)[:min(len(*s), maxEventText)], ""), "\x00", "")
	}
	if y := e.At.Year(); y < 1970 || y > 9999 {
		e.At = time.Time{}
	}
	if e.Action == Quarantine || len(e.Evidence) == 0 {
		return
	}
	v, err := canonical(e.Evidence)
	if e.Evidence = v; err != nil || v[0] != '{' {
		e.Evidence = nil
	}
}

// entry is the part of a write that an event fills: what a lane, a drain and
// the ledger need of either.
func (e *Event) entry() Write {
	return Write{
		ID: e.ID, Account: e.Account, Contact: e.Contact, Kind: KindConsent, AcceptedAt: e.AcceptedAt,
		Source: e.Source, Actor: e.Actor, ReplyTo: e.ReplyTo, TraceParent: e.TraceParent,
	}
}
