package lane_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
)

// event makes an event about a number.
func event(tb testing.TB, account uuid.UUID, n, lanes int) *contact.Event {
	tb.Helper()
	e := &contact.Event{
		Account: account, Channel: contact.SMSChannel, Address: fmt.Sprintf("+3161%07d", n), Action: contact.OptOut,
		Source: contact.SourceWebhook, Provider: "twilio", Evidence: []byte(`{"body":"STOP"}`),
	}
	if err := e.Mint(time.Now(), lanes); err != nil {
		tb.Fatal(err)
	}
	return e
}

// Events stand in the lanes of their addresses, in the order of the append, and
// come back as they were.
func TestEventsGoToAddressLanes(t *testing.T) {
	t.Parallel()
	const lanes = 4
	b := setup(t, func(c *lane.Config) { c.Counts.Address = lanes })
	a := b.appender(t)
	account := uuid.New()
	events := make([]*contact.Event, 0, 40)
	for i := range 40 {
		events = append(events, event(t, account, i%10, lanes))
	}
	receipts, errs := a.AppendEvents(t.Context(), events)
	at := map[uuid.UUID]time.Time{}
	for i, e := range events {
		if errs[i] != nil || receipts[i].WriteID != e.ID {
			t.Fatalf("%+v, %v", receipts[i], errs[i])
		}
		at[e.ID] = receipts[i].AcceptedAt
	}
	total, last := 0, map[string]int{}
	place := map[uuid.UUID]int{}
	for i, e := range events {
		place[e.ID] = i
	}
	for n := range lanes {
		l := contact.Lane{Kind: 'a', N: n}
		entries, err := b.lanes.Read(t.Context(), l, 100, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range entries {
			e := &entries[i]
			if e.Poison != nil || e.Event == nil || e.Event.Lane(lanes) != l || e.Kind != contact.KindConsent {
				t.Fatalf("entry of lane %s: %+v", l, e)
			}
			if !e.AcceptedAt.Equal(at[e.ID]) || !e.Event.AcceptedAt.Equal(at[e.ID]) {
				t.Errorf("accepted at %s, answered %s", e.Event.AcceptedAt, at[e.ID])
			}
			if was, seen := last[e.Event.Address]; seen && place[e.ID] < was {
				t.Error("two events of one address changed places")
			}
			last[e.Event.Address] = place[e.ID]
		}
		total += len(entries)
		if err := b.lanes.Trim(t.Context(), l, entries); err != nil {
			t.Fatal(err)
		}
	}
	if total != len(events) {
		t.Errorf("%d entries of %d events", total, len(events))
	}
	stats, err := b.lanes.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stats {
		if s.Depth != 0 {
			t.Errorf("lane %s holds %d entries after the trim", s.Lane, s.Depth)
		}
	}
}

func TestEventIsFoundByItsID(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *lane.Config) { c.Counts.Address = 2 })
	a := b.appender(t)
	e := event(t, uuid.New(), 1, 2)
	if _, errs := a.AppendEvents(t.Context(), []*contact.Event{e}); errs[0] != nil {
		t.Fatal(errs[0])
	}
	found, ok, err := b.lanes.Find(t.Context(), e.Account, e.ID)
	if err != nil || !ok || found.Event == nil || found.Event.Address != e.Address {
		t.Errorf("%+v, %v, %v", found, ok, err)
	}
}

// The limits of a lane hold for events, and the ids must name their lane.
func TestEventsAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *lane.Config) { c.Counts.Address, c.Limit, c.Share = 1, 4, 0.5 })
	a := b.appender(t)
	account := uuid.New()
	for i := range 3 {
		_, errs := a.AppendEvents(t.Context(), []*contact.Event{event(t, account, i, 1)})
		if over := errs[0] != nil; over != (i == 2) {
			t.Errorf("event %d: %v", i, errs[0])
		}
		if i == 2 && contact.CodeOf(errs[0]) != contact.CodeOverloaded {
			t.Errorf("%v", errs[0])
		}
	}
	stray := event(t, account, 1, 1)
	stray.ID = uuid.New()
	if _, errs := a.AppendEvents(t.Context(), []*contact.Event{stray}); contact.CodeOf(errs[0]) != contact.CodeInternal {
		t.Errorf("%v", errs[0])
	}
}
