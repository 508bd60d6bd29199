package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// laneA is the address lane of tests that need but one: the store believes what
// a lane holds.
var laneA = contact.Lane{Kind: 'a', N: 0}

const number = "+31612345678"

// event makes the next entry of the address lane.
func (b *bundle) event(action contact.Action, edit ...func(*contact.Event)) contact.Entry {
	b.t.Helper()
	b.seq++
	b.clock = b.clock.Add(time.Millisecond)
	e := &contact.Event{
		Account: b.account, Channel: contact.SMSChannel, Address: number, Action: action,
		Cause: contact.KeywordStop, Source: contact.SourceWebhook, Provider: "twilio",
		Evidence: []byte(`{"body":"x"}`), AcceptedAt: b.clock,
	}
	for _, f := range edit {
		f(e)
	}
	if err := e.Mint(b.clock, 1); err != nil {
		b.t.Fatal(err)
	}
	entry := contact.Entry{
		Offset: contact.Offset{Ms: uint64(b.clock.UnixMilli()), Seq: b.seq}, Raw: contact.EncodeEvent(e),
	}
	if err := entry.Decode(e.AcceptedAt); err != nil {
		b.t.Fatal(err)
	}
	return entry
}

func at(t time.Time) func(*contact.Event) { return func(e *contact.Event) { e.At = t } }

func cause(c contact.Cause) func(*contact.Event) { return func(e *contact.Event) { e.Cause = c } }

func mail(address string) func(*contact.Event) {
	return func(e *contact.Event) { e.Channel, e.Address = contact.EmailChannel, address }
}

func to(address string) func(*contact.Event) { return func(e *contact.Event) { e.Address = address } }

// hear applies entries of the address lane in one batch.
func (b *bundle) hear(entries ...contact.Entry) []contact.Outcome {
	b.t.Helper()
	out, err := b.Store.Optouts().Apply(b.t.Context(), laneA, entries)
	if err != nil {
		b.t.Fatalf("apply events: %v", err)
	}
	if out.Consumed != len(entries) || len(out.Outcomes) != len(entries) {
		b.t.Fatalf("consumed %d and got %d outcomes of %d entries", out.Consumed, len(out.Outcomes), len(entries))
	}
	return out.Outcomes
}

// with makes an entry that sets an address and, maybe, consent.
func (b *bundle) with(kind contact.Kind, id uuid.UUID, f contact.Field, address string, optOut *bool) contact.Entry {
	return b.entry(kind, id, func(p *contact.Patch) {
		p.SetText(f, &address)
		if f == contact.Email {
			p.EmailUnsubscribed = optOut
		} else {
			p.SMSUnsubscribed = optOut
		}
	})
}

// reason tells what the contact shows for a channel; "" while subscribed.
func (b *bundle) reason(id uuid.UUID, ch contact.Channel) string {
	b.t.Helper()
	c := b.contact(id)
	cause, _, out := c.Consent(ch).Standing()
	if !out {
		return ""
	}
	return cause.String()
}

func (b *bundle) wantReason(id uuid.UUID, want string) {
	b.t.Helper()
	if got := b.reason(id, contact.SMSChannel); got != want {
		b.t.Errorf("contact shows %q, want %q", got, want)
	}
}

// holder creates a contact with the number.
func (b *bundle) holder() uuid.UUID {
	b.t.Helper()
	id := uuid.New()
	b.mustApply(b.with(contact.KindCreate, id, contact.Phone, number, nil))
	return id
}

func TestStopReachesEveryContact(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 1203 // more than two transactions of contacts
	ids, entries := make([]uuid.UUID, n), make([]contact.Entry, n)
	for i := range ids {
		ids[i] = uuid.New()
		entries[i] = b.with(contact.KindCreate, ids[i], contact.Phone, number, nil)
	}
	for done := 0; done < n; done += 401 {
		b.mustApply(entries[done : done+401]...)
	}
	b.mustApply(b.entry(contact.KindArchive, ids[7], nil))
	stop := b.event(contact.OptOut)
	b.hear(stop)
	opted := func() int { return b.count(`SELECT count(*) FROM contacts WHERE sms_unsubscribed`) }
	if got := opted(); got != n {
		t.Errorf("%d contacts opted out, want %d", got, n)
	}
	rows := b.count(`SELECT count(DISTINCT contact_id) FROM writes WHERE kind = 'consent' AND source_event = $1
		AND version = 2 + (contact_id = $2)::int AND source = 'webhook'`, stop.ID.String(), ids[7])
	if rows != n {
		t.Errorf("%d contacts have an audit row that cites the event, want %d", rows, n)
	}
	if got := b.count(`SELECT contacts FROM webhook_events WHERE done AND id = $1`, stop.ID); got != n {
		t.Errorf("the event counts %d contacts", got)
	}
	b.hear(b.event(contact.Start))
	if got := opted(); got != 0 {
		t.Errorf("%d contacts opted out after START", got)
	}
}

func TestSameEventCountsOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.holder()
	same := func(e *contact.Event) { e.Dedup = contact.EventKey{42} }
	first := b.event(contact.OptOut, same)
	b.hear(first, b.event(contact.OptOut, same), first, b.event(contact.OptOut, same))
	for range 6 {
		out := b.hear(b.event(contact.OptOut, same, func(e *contact.Event) { e.Endpoint = uuid.New() }))
		if out[0].State != contact.Unchanged || out[0].SourceEvent != first.ID.String() {
			t.Errorf("a duplicate is %s, cites %s", out[0].State, out[0].SourceEvent)
		}
	}
	b.wantReason(id, "keyword_stop")
	if c := b.contact(id); c.Version != 2 {
		t.Errorf("version %d, want 2", c.Version)
	}
	// What somebody undid meanwhile stays undone by a repetition.
	b.mustApply(b.entry(contact.KindPatch, id, func(p *contact.Patch) { p.SMSUnsubscribed = new(false) }))
	b.hear(b.event(contact.OptOut, same))
	b.wantReason(id, "")
	if n := b.count(`SELECT count(*) FROM webhook_events`); n != 1 {
		t.Errorf("%d events are stored", n)
	}
}

func TestUnknownNumberIsParked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stop := b.event(contact.OptOut)
	b.hear(stop)
	created, patched, row := uuid.New(), b.contactsNamed("Ada")[0], b.contactsNamed("Bob")[0]
	out := b.mustApply(
		b.with(contact.KindCreate, created, contact.Phone, number, nil),
		b.with(contact.KindPatch, patched, contact.Phone, number, new(false)),
		b.with(contact.KindPatch, row, contact.Phone, number, new(true)),
	)
	for i, id := range []uuid.UUID{created, patched, row} {
		b.wantReason(id, "keyword_stop")
		if out[i].SourceEvent != stop.ID.String() {
			t.Errorf("write %d cites %q", i, out[i].SourceEvent)
		}
		page, err := b.Store.ChangeLog(t.Context(), contact.LogQuery{
			Account: b.account, Contact: id, Field: "sms_unsubscribed", Limit: 10,
		})
		if err != nil || len(page.Rows) != 1 || page.Rows[0].SourceEvent != stop.ID.String() {
			t.Errorf("audit of contact %d: %+v, %v", i, page.Rows, err)
		}
	}
	if want := []contact.Skip{{Field: "sms_unsubscribed", Reason: contact.SkipSuppressedAddress}}; len(out[1].Skipped) != 1 ||
		out[1].Skipped[0] != want[0] {
		t.Errorf("skipped %v", out[1].Skipped)
	}
	if len(out[0].Skipped)+len(out[2].Skipped) != 0 {
		t.Errorf("skipped %v, %v", out[0].Skipped, out[2].Skipped)
	}
	// An unchanged address inherits nothing.
	b.mustApply(b.entry(contact.KindPatch, patched, func(p *contact.Patch) { p.SMSUnsubscribed = new(false) }))
	b.mustApply(b.with(contact.KindPatch, patched, contact.Phone, number, nil))
	b.wantReason(patched, "")
}

func TestOtherAccountsAreNotTouched(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stranger := b.holder()
	other, err := b.Store.CreateAccount(t.Context(), "Other")
	if err != nil {
		t.Fatal(err)
	}
	b.account, other.ID = other.ID, b.account
	own := b.holder()
	b.hear(b.event(contact.OptOut, func(e *contact.Event) { e.Contact = stranger }))
	b.wantReason(own, "keyword_stop")
	b.account = other.ID
	b.wantReason(stranger, "")
}

// What happened later counts, in whatever order it is reported.
func TestProvidersOwnTimes(t *testing.T) {
	t.Parallel()
	second := func(e *contact.Event) { e.WholeSeconds = true }
	base := time.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	for name, c := range map[string]struct {
		events func(b *bundle) []contact.Entry
		want   string
	}{
		"a late STOP is stale": {func(b *bundle) []contact.Entry {
			return []contact.Entry{b.event(contact.Start, at(base.Add(time.Minute))), b.event(contact.OptOut, at(base))}
		}, ""},
		"a late START is stale": {func(b *bundle) []contact.Entry {
			return []contact.Entry{b.event(contact.OptOut, at(base.Add(time.Minute))), b.event(contact.Start, at(base))}
		}, "keyword_stop"},
		"a tie is an opt-out": {func(b *bundle) []contact.Entry {
			return []contact.Entry{b.event(contact.OptOut, at(base)), b.event(contact.Start, at(base))}
		}, "keyword_stop"},
		"within one second": {func(b *bundle) []contact.Entry {
			return []contact.Entry{
				b.event(contact.OptOut, at(base), second), b.event(contact.Start, at(base.Add(800*time.Millisecond))),
			}
		}, "keyword_stop"},
		"a START of whole seconds counts from its start": {func(b *bundle) []contact.Entry {
			return []contact.Entry{
				b.event(contact.OptOut, at(base.Add(500*time.Millisecond))), b.event(contact.Start, at(base), second),
			}
		}, "keyword_stop"},
		"the next second": {func(b *bundle) []contact.Entry {
			return []contact.Entry{b.event(contact.OptOut, at(base), second), b.event(contact.Start, at(base.Add(time.Second)), second)}
		}, ""},
		"a time in the future is that of acceptance": {func(b *bundle) []contact.Entry {
			return []contact.Entry{b.event(contact.OptOut, at(time.Now().Add(time.Hour))), b.event(contact.Start)}
		}, ""},
		"no time is that of acceptance": {func(b *bundle) []contact.Entry {
			return []contact.Entry{b.event(contact.OptOut), b.event(contact.Start)}
		}, ""},
		"a YES after a STOP": {func(b *bundle) []contact.Entry {
			return []contact.Entry{b.event(contact.OptOut), b.event(contact.StartIfStopped)}
		}, ""},
		"a YES after a complaint": {func(b *bundle) []contact.Entry {
			return []contact.Entry{b.event(contact.OptOut, cause(contact.ProviderSuppressed)), b.event(contact.StartIfStopped)}
		}, "provider_suppressed"},
		"a review changes nothing": {func(b *bundle) []contact.Entry {
			return []contact.Entry{b.event(contact.Review), b.event(contact.Note)}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, apart := range []bool{false, true} {
				b := setup(t)
				id := b.holder()
				events := c.events(b)
				if apart {
					for _, e := range events {
						b.hear(e)
					}
				} else {
					b.hear(events...)
				}
				b.wantReason(id, c.want)
			}
		})
	}
}

// The table of who may undo what.
func TestWhoMayUndoWhat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, c := range []struct {
		ch                             contact.Channel
		cause                          contact.Cause
		start, again, patch, readdress bool // undoes the cause
	}{
		{contact.SMSChannel, contact.KeywordStop, true, false, true, false},
		{contact.SMSChannel, contact.ProviderSuppressed, true, false, true, true},
		{contact.SMSChannel, contact.Manual, true, false, true, false},
		{contact.SMSChannel, contact.Complaint, false, false, true, false},
		{contact.EmailChannel, contact.Unsubscribe, false, true, true, false},
		{contact.EmailChannel, contact.Complaint, false, false, true, false},
		{contact.EmailChannel, contact.HardBounce, false, false, true, true},
		{contact.EmailChannel, contact.ProviderSuppressed, false, true, true, true},
		{contact.EmailChannel, contact.Manual, false, true, true, false},
	} {
		try := func(how string, undone bool, undo func(id uuid.UUID, address string)) {
			b.t.Helper()
			id := uuid.New()
			field, address, other := contact.Phone, "+3161"+fmt.Sprint(1000000+b.seq), "+3162"+fmt.Sprint(1000000+b.seq)
			if c.ch == contact.EmailChannel {
				field, address, other = contact.Email, fmt.Sprintf("a%d@x.org", b.seq), fmt.Sprintf("b%d@x.org", b.seq)
			}
			b.mustApply(b.with(contact.KindCreate, id, field, address, nil))
			b.hear(b.event(contact.OptOut, cause(c.cause), func(e *contact.Event) { e.Channel, e.Address = c.ch, address }))
			if how == "readdress" {
				b.mustApply(b.with(contact.KindPatch, id, field, other, nil))
			} else {
				undo(id, address)
			}
			if got := b.reason(id, c.ch); (got == "") != undone {
				t.Errorf("%s %s after %s: %q", c.ch, c.cause, how, got)
			}
		}
		hear := func(a contact.Action) func(uuid.UUID, string) {
			return func(_ uuid.UUID, address string) {
				b.hear(b.event(a, func(e *contact.Event) { e.Channel, e.Address = c.ch, address }))
			}
		}
		try("START", c.start, hear(contact.Start))
		try("re-subscription", c.again, hear(contact.Resubscribe))
		try("readdress", c.readdress, nil)
		try("DELETE", true, hear(contact.Clear))
		try("PATCH", c.patch, func(id uuid.UUID, _ string) {
			b.mustApply(b.entry(contact.KindPatch, id, func(p *contact.Patch) {
				p.SMSUnsubscribed, p.EmailUnsubscribed = new(false), new(false)
			}))
		})
	}
}

func TestConsentLock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.Store.SetAccount(t.Context(), b.account, new(true)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cause contact.Cause
		code  contact.Code
	}{{contact.Complaint, contact.CodeConsentLocked}, {contact.HardBounce, contact.CodeConsentLocked}, {contact.Unsubscribe, ""}} {
		id, address := uuid.New(), c.cause.String()+"@x.org"
		b.mustApply(b.with(contact.KindCreate, id, contact.Email, address, nil))
		b.hear(b.event(contact.OptOut, mail(address), cause(c.cause)))
		out := b.mustApply(b.entry(contact.KindPatch, id, func(p *contact.Patch) { p.EmailUnsubscribed = new(false) }))
		if out[0].Code != c.code {
			t.Errorf("%s: %q, want %q", c.cause, out[0].Code, c.code)
		}
	}
}

// 300 people share one number. A STOP reaches all of them, whatever else they
// are opted out for; a START undoes what the table lets it undo of each, and
// nothing else.
func TestStartOfASharedNumber(t *testing.T) {
	t.Parallel()
	b := setup(t)
	causes := []contact.Cause{
		contact.KeywordStop, contact.ProviderSuppressed, contact.Manual, contact.Complaint, contact.HardBounce, contact.Unsubscribe,
	}
	const each = 50
	groups := map[contact.Cause][]uuid.UUID{}
	for _, k := range causes {
		entries, events := make([]contact.Entry, each), make([]contact.Entry, each)
		for i := range each {
			id := uuid.New()
			groups[k] = append(groups[k], id)
			entries[i] = b.with(contact.KindCreate, id, contact.Phone, number, nil)
		}
		b.mustApply(entries...)
		for i, id := range groups[k] { // of this contact alone, by a link or by hand
			events[i] = b.event(contact.OptOut, cause(k), to("+31699999999"), func(e *contact.Event) { e.Contact = id })
		}
		b.hear(events...)
	}
	opted := func(k contact.Cause) int {
		return b.count(`SELECT count(*) FROM contacts WHERE id = ANY ($1::uuid[]) AND sms_unsubscribed`, groups[k])
	}
	stop := b.event(contact.OptOut)
	b.hear(stop)
	if n := b.count(`SELECT count(*) FROM writes WHERE source_event = $1 AND kind = 'consent'`, stop.ID.String()); n < 5*each {
		t.Errorf("the STOP is cited by %d contacts", n)
	}
	for _, k := range causes {
		if n := opted(k); n != each {
			t.Errorf("%s: %d of %d are opted out after STOP", k, n, each)
		}
	}
	b.hear(b.event(contact.Start))
	for _, k := range causes {
		want := each
		if k == contact.KeywordStop || k == contact.ProviderSuppressed || k == contact.Manual {
			want = 0
		}
		if n := opted(k); n != want {
			t.Errorf("%s: %d of %d are opted out after START, wanted %d", k, n, each, want)
		}
	}
}
