package contact

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// The wire form of an event. Its head has the places of a write's, because one
// set of scripts serves both; the versions of the two are told apart by their
// highest bit.
//
//	0        version
//	1..16    event id
//	17..32   account
//	33..48   contact, or nothing but zeros
//	49       kind: consent
//	50..52   channel, action, cause
//	53..68   dedup key
//	69..     uvarint has, then, each if its bit is set:
//	           the provider's time, endpoint, decided review
//	         address, reason, provider, type, provider id, actor, reply_to,
//	         traceparent, source, evidence
//
// The rules of codec.go hold: an event has one form, and accepted_at stands
// beside the entry.
const eventVersion = eventForm | 1

// eventForm is the bit that tells the version of an event from a write's.
const eventForm = 0x80

// eventHead is the length of what stands at fixed places.
const eventHead = headLength + 3 + len(EventKey{})

// What an event has.
const (
	eventHasAt = 1 << iota
	eventHasEndpoint
	eventHasDecides
	eventWholeSeconds
	eventAmbiguous
	eventEnd
)

// EncodeEvent returns the wire form of an event.
func EncodeEvent(e *Event) []byte {
	b := make([]byte, 0, eventHead+96+len(e.Address)+len(e.ProviderID)+len(e.Evidence))
	b = append(b, eventVersion)
	b = append(b, e.ID[:]...)
	b = append(b, e.Account[:]...)
	b = append(b, e.Contact[:]...)
	b = append(b, byte(KindConsent), byte(e.Channel), byte(e.Action), byte(e.Cause))
	b = append(b, e.Dedup[:]...)
	b = binary.AppendUvarint(b, e.has())
	if !e.At.IsZero() {
		b = appendTime(b, e.At)
	}
	for _, id := range []uuid.UUID{e.Endpoint, e.Decides} {
		if id != uuid.Nil {
			b = append(b, id[:]...)
		}
	}
	for _, s := range e.texts() {
		b = appendText(b, *s)
	}
	b = appendText(b, string(e.Source))
	return appendText(b, e.Evidence)
}

// has returns the bits of what an event has.
func (e *Event) has() uint64 {
	return bits(!e.At.IsZero(), e.Endpoint != uuid.Nil, e.Decides != uuid.Nil, e.WholeSeconds, e.Ambiguous)
}

// texts are the strings of an event in the order of the wire form.
func (e *Event) texts() []*string {
	return []*string{
		&e.Address, &e.Reason, &e.Provider, &e.Type, &e.ProviderID, &e.Actor, &e.ReplyTo, &e.TraceParent,
	}
}

// Decode reads the write or the event in Raw, accepted at a time, into the
// entry.
func (e *Entry) Decode(acceptedAt time.Time) error {
	if len(e.Raw) == 0 || e.Raw[0]&eventForm == 0 {
		w, err := Decode(e.Raw)
		w.AcceptedAt = acceptedAt
		e.Write = w
		return err
	}
	event, err := DecodeEvent(e.Raw)
	if err != nil {
		return err
	}
	event.AcceptedAt = acceptedAt
	e.Write, e.Event = event.entry(), &event
	return nil
}

// DecodeEvent reads what EncodeEvent wrote. Like Decode it takes nothing on
// trust. The evidence shares b's memory.
func DecodeEvent(b []byte) (Event, error) {
	b, err := unform(b)
	if err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	if len(b) == 0 {
		return Event{}, fmt.Errorf("decode event: %w", errShort)
	}
	if b[0] != eventVersion {
		return Event{}, fmt.Errorf("decode event: version %d is not known", b[0])
	}
	if len(b) < eventHead {
		return Event{}, fmt.Errorf("decode event: %w", errShort)
	}
	e := Event{
		ID: uuid.UUID(b[1:17]), Account: uuid.UUID(b[17:33]), Contact: uuid.UUID(b[33:49]),
		Channel: Channel(b[50]), Action: Action(b[51]), Cause: Cause(b[52]), Dedup: EventKey(b[53:eventHead]),
	}
	known := Kind(b[49]) == KindConsent && e.Channel.String() != "unknown" &&
		e.Action.String() != "unknown" && e.Cause < NumCauses
	if !known {
		return Event{}, fmt.Errorf("decode event: kind, channel, action or cause %v is not known", b[49:53])
	}
	r := reader{rest: b[eventHead:]}
	r.event(&e)
	if r.err == nil && len(r.rest) > 0 {
		r.err = errTrailing
	}
	if r.err != nil {
		return Event{}, fmt.Errorf("decode event: %w", r.err)
	}
	return e, nil
}

// event reads what follows the head.
func (r *reader) event(e *Event) {
	has := r.flags(eventEnd)
	e.WholeSeconds, e.Ambiguous = has&eventWholeSeconds != 0, has&eventAmbiguous != 0
	if has&eventHasAt != 0 {
		e.At = r.time()
	}
	if has&eventHasEndpoint != 0 {
		copy(e.Endpoint[:], r.bytes(uint64(len(e.Endpoint))))
	}
	if has&eventHasDecides != 0 {
		copy(e.Decides[:], r.bytes(uint64(len(e.Decides))))
	}
	for _, s := range e.texts() {
		*s = r.text()
	}
	e.Source = Source(r.text())
	e.Evidence = r.evidence(e.Action)
	if r.err == nil && e.has() != has {
		r.fail(errForm)
	}
}

// evidence reads a JSON object, or any bytes at all of a quarantined element;
// nil for none.
func (r *reader) evidence(a Action) []byte {
	if len(r.rest) == 1 && r.rest[0] == 0 {
		r.rest = nil
		return nil
	}
	if a == Quarantine {
		return r.bytes(r.uvarint())
	}
	return r.object()
}
