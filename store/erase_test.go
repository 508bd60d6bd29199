package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/store"
	"patchlane/tasks/contact"
)

// report takes an event through the lane of its address.
func (b *bundle) report(e contact.Event) contact.EventRecord {
	b.t.Helper()
	counts, err := b.Store.Lanes(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	b.clock = b.clock.Add(time.Millisecond)
	b.seq++
	e.Account, e.Source, e.Provider, e.AcceptedAt = b.account, contact.SourceWebhook, "ses", b.clock
	if err := e.Mint(b.clock, counts.Address); err != nil {
		b.t.Fatal(err)
	}
	entry := contact.Entry{Offset: contact.Offset{Ms: uint64(b.clock.UnixMilli()), Seq: b.seq}, Raw: contact.EncodeEvent(&e)}
	if err := entry.Decode(b.clock); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.Store.Optouts().Apply(b.t.Context(), e.Lane(counts.Address), []contact.Entry{entry}); err != nil {
		b.t.Fatal(err)
	}
	r, err := b.Store.EventByID(b.t.Context(), b.account, e.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// everywhere lists the tables and columns in which a text stands.
func (b *bundle) everywhere(text string) []string {
	b.t.Helper()
	conn := b.connect()
	var found []string
	for _, table := range []string{
		"contacts", "writes", "failed_writes", "suppressions", "webhook_events", "quarantine", "left_addresses",
		"erased_contacts", "lanes", "optout_reviews",
	} {
		var n int
		err := conn.QueryRow(b.t.Context(), fmt.Sprintf(`SELECT count(*) FROM %s t WHERE t::text ILIKE '%%' || $1 || '%%'
			OR t::text ILIKE '%%' || encode(convert_to($1, 'UTF8'), 'hex') || '%%'`, table), text).Scan(&n)
		if err != nil {
			b.t.Fatal(err)
		}
		if n > 0 {
			found = append(found, table)
		}
	}
	return found
}

// secrets are what is known of the erased person in these tests.
func secrets() []string {
	return []string{"Lovelace", "ada@example.com", "ada.old@example.com", "15550001", "analyst", "likes tea", "fav-colour", "octarine"}
}

// person makes a contact that left traces everywhere, and returns its id.
func (b *bundle) person() uuid.UUID {
	b.t.Helper()
	id := uuid.New()
	set := func(f contact.Field, v string) contact.Entry { return b.patch(id, f, v) }
	b.mustApply(b.create(id, "Ada"))
	b.mustApply(set(contact.LastName, "Lovelace"))
	b.mustApply(set(contact.Email, "ada.old@example.com"))
	b.mustApply(set(contact.Email, "Ada@Example.com"))
	b.mustApply(set(contact.Phone, "+15550001"), set(contact.JobTitle, "analyst"), b.note(id, "likes tea"))
	b.mustApply(b.entry(contact.KindPatch, id, func(p *contact.Patch) {
		p.MetadataMerge = json.RawMessage(`{"fav-colour":"octarine"}`)
	}))
	refused := b.entry(contact.KindPatch, id, func(p *contact.Patch) {
		v := "Lovelace analyst"
		p.SetText(contact.JobTitle, &v)
	})
	refused.IfMatch = []int64{99}
	refused.Raw = contact.Encode(&refused.Write)
	if o := b.mustApply(refused)[0]; o.State != contact.Failed {
		b.t.Fatalf("%+v", o)
	}
	stop := contact.Event{Channel: contact.EmailChannel, Address: "ada@example.com", Action: contact.OptOut, Cause: contact.Complaint}
	stop.Evidence = []byte(`{"to":"ada@example.com"}`)
	b.report(stop)
	b.report(contact.Event{
		Channel: contact.SMSChannel, Address: "+15550001", Action: contact.OptOut, Cause: contact.KeywordStop,
	})
	b.report(contact.Event{
		Channel: contact.EmailChannel, Action: contact.Quarantine, Evidence: []byte("garbled ada@example.com"),
	})
	return id
}

func (b *bundle) erase(id uuid.UUID) contact.Entry {
	return b.entry(contact.KindErase, id, nil)
}

func TestEraseLeavesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.person()
	for _, s := range secrets() {
		if len(b.everywhere(s)) == 0 {
			t.Fatalf("the test puts %q nowhere", s)
		}
	}
	before := b.contact(id).Version
	request := b.erase(id)
	if o := b.mustApply(request)[0]; o.State != contact.Applied || o.Version != before+1 {
		t.Errorf("erase: %+v", o)
	}
	if _, err := b.Store.Contact(t.Context(), b.ref(id)); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("erased contact: %v", err)
	}
	if e, err := b.Store.Erasure(t.Context(), b.ref(id)); err != nil || e.DoneAt != nil || e.WriteID != request.ID {
		t.Errorf("before the rest: %+v, %v", e, err)
	}
	for range 2 { // the second finds nothing to do
		if err := b.Store.FinishErasures(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := b.Store.Erasure(t.Context(), b.ref(id)); err != nil || e.DoneAt == nil {
		t.Errorf("after the rest: %+v, %v", e, err)
	}
	for _, s := range secrets() {
		if found := b.everywhere(s); len(found) > 0 {
			t.Errorf("%q is left in %v", s, found)
		}
	}
	// Who changed what when is left, and what came of each write.
	if n := b.count(`SELECT count(*) FROM crm_field_change_log WHERE contact_id = $1 AND field IN ('email', 'job_title', 'notes')`, id); n != 4 {
		t.Errorf("%d rows of the change log, want 4", n)
	}
	if n := b.count(`SELECT count(DISTINCT version) FROM writes WHERE contact_id = $1 AND state = 'applied'`, id); int64(n) != before+1 {
		t.Errorf("%d versions, want %d", n, before+1)
	}
}

// What waits in the lane behind an erasure, or is sent by somebody who does not
// know of it, fails and leaves nothing; what opted out stays so.
func TestErasedStaysErased(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.person()
	other := b.contactsNamed("Bob")[0]
	job := "Lovelace analyst"
	before, request := b.note(id, "before"), b.erase(id)
	behind, create := b.patch(id, contact.JobTitle, job), b.create(id, "Lovelace")
	again, beside := b.erase(id), b.note(other, "beside")
	unread := b.patch(id, contact.JobTitle, job)
	poison := contact.Entry{Offset: unread.Offset, Raw: append([]byte{99}, unread.Raw[1:]...), Poison: errors.New("unknown version")}
	entries := []contact.Entry{before, request, behind, create, again, poison, beside}
	var got []string
	for len(entries) > 0 {
		out, err := b.Store.Apply(t.Context(), lane0, entries)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range out.Outcomes {
			got = append(got, string(o.State)+" "+string(o.Code))
		}
		entries = entries[out.Consumed:]
	}
	want := "applied ,applied ,failed not_found,failed duplicate,unchanged ,failed unreadable_entry,applied "
	if strings.Join(got, ",") != want {
		t.Errorf("outcomes %q, want %q", strings.Join(got, ","), want)
	}
	if err := b.Store.FinishErasures(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets() {
		if found := b.everywhere(s); len(found) > 0 {
			t.Errorf("%q is left in %v", s, found)
		}
	}
	if r, err := b.Store.Write(t.Context(), b.account, behind.ID); err != nil || r.State != contact.Discarded {
		t.Errorf("write to an erased contact: %+v, %v", r, err)
	}
	// A replay of the batch changes nothing.
	b.mustApply(before)
	b.mustApply(request)
	if n := b.count(`SELECT count(*) FROM contacts WHERE id = $1`, id); n != 0 {
		t.Error("a replay brought the contact back")
	}
	// Somebody new with the old address is born opted out; a START undoes it.
	newcomer := b.contactsNamed("Eve")[0]
	b.mustApply(b.patch(newcomer, contact.Email, "ada@example.com"), b.patch(newcomer, contact.Phone, "+15550001"))
	c := b.contact(newcomer)
	if cause, _, out := c.EmailConsent.Standing(); !out || cause != contact.Complaint {
		t.Errorf("e-mail: %v %v", out, cause)
	}
	if _, _, out := c.SMSConsent.Standing(); !out {
		t.Error("text messages: subscribed")
	}
	b.report(contact.Event{Channel: contact.SMSChannel, Address: "+15550001", Action: contact.Start})
	c = b.contact(newcomer)
	if _, _, out := c.SMSConsent.Standing(); out {
		t.Error("the START did not find the suppression")
	}
	if n := b.count(`SELECT count(*) FROM suppressions WHERE address NOT LIKE 'erased:%'`) +
		b.count(`SELECT count(*) FROM webhook_events WHERE address NOT LIKE 'erased:%' AND action <> 'quarantine'`); n != 0 {
		t.Errorf("%d rows name the address again", n)
	}
	page, err := b.Store.Suppressions(t.Context(), contact.SuppressionQuery{Account: b.account, Key: "ada@example.com", Limit: 5})
	if err != nil || len(page.Suppressions) != 1 || !strings.HasPrefix(page.Suppressions[0].Key, "erased:") {
		t.Errorf("look-up by address: %+v, %v", page.Suppressions, err)
	}
}

// An address that another contact has stays what it is.
func TestEraseLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.person()
	other := b.contactsNamed("Bob")[0]
	b.mustApply(b.patch(other, contact.Phone, "+15550001"))
	b.mustApply(b.erase(id))
	if err := b.Store.FinishErasures(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.count(`SELECT count(*) FROM suppressions WHERE address = '+15550001'`); n != 1 {
		t.Errorf("%d suppressions of the shared number", n)
	}
	if _, _, out := b.contact(other).SMSConsent.Standing(); !out {
		t.Error("the other contact lost its opt-out")
	}
	if n := b.count(`SELECT count(*) FROM writes WHERE contact_id = $1 AND changes::text LIKE '%15550001%'`, other); n != 1 {
		t.Errorf("%d rows of the other contact", n)
	}
}

// A process may die between any two steps of the rest; another one finishes it.
func TestEraseIsFinishedByOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.person()
	b.mustApply(b.erase(id))
	// The ledger is in use: the last steps cannot be done now.
	holder, err := b.connect().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), `LOCK TABLE writes IN SHARE UPDATE EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := b.Store.FinishErasures(ctx); err == nil {
		t.Error("it cannot be done")
	}
	if e, err := b.Store.Erasure(t.Context(), b.ref(id)); err != nil || e.DoneAt != nil {
		t.Errorf("half done: %+v, %v", e, err)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.keep(store.Retention{})
	for _, s := range secrets() {
		if found := b.everywhere(s); len(found) > 0 {
			t.Errorf("%q is left in %v", s, found)
		}
	}
}
