package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"patchlane/store"
	"patchlane/tasks/contact"
)

// month30 keeps what is younger than thirty days, and the rest of its month.
func month30() store.Retention { return store.Retention{Writes: 30 * 24 * time.Hour} }

func TestRetentionKeepsWhatWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := b.clock
	b.clock = now.AddDate(0, -5, 0)
	b.month()
	id := b.contactsNamed("Ada")[0]
	b.mustApply(b.note(id, "old"))
	open, discarded, retried, claimed := b.note(uuid.New(), "a"), b.note(uuid.New(), "b"), b.note(uuid.New(), "c"), b.note(uuid.New(), "d")
	b.mustApply(open, discarded, retried, claimed)
	if err := b.Store.Discard(t.Context(), b.account, discarded.ID); err != nil {
		t.Fatal(err)
	}
	repeat := b.note(id, "again")
	for _, f := range []struct{ failed, retry uuid.UUID }{{retried.ID, repeat.ID}, {claimed.ID, uuid.Must(uuid.NewV7())}} {
		if _, err := b.Store.ClaimRetry(t.Context(), b.account, f.failed, f.retry); err != nil {
			t.Fatal(err)
		}
	}
	b.mustApply(repeat)
	b.clock = now
	b.mustApply(b.note(id, "new"))

	b.keep(store.Retention{}) // for ever
	if n := b.count(`SELECT count(*) FROM writes`); n != 8 {
		t.Fatalf("%d rows before, want 8", n)
	}
	for range 2 { // the second finds nothing to do
		b.keep(month30())
		if n := b.count(`SELECT count(*) FROM writes`); n != 3 {
			t.Errorf("%d rows, want the new one and two open failures", n)
		}
	}
	states := map[uuid.UUID]contact.State{}
	for _, e := range []contact.Entry{open, discarded, retried, claimed, repeat} {
		if r, err := b.Store.Write(t.Context(), b.account, e.ID); err == nil {
			states[e.ID] = r.State
		}
	}
	want := map[uuid.UUID]contact.State{open.ID: contact.Failed, claimed.ID: contact.Retried}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("what is left:\n%s", diff)
	}
	if n := b.count(`SELECT count(*) FROM failed_writes`); n != 2 {
		t.Errorf("%d failures are left, want 2", n)
	}
	// It can be retried still, once; then it goes too.
	again := b.note(id, "at last")
	if f, err := b.Store.ClaimRetry(t.Context(), b.account, open.ID, again.ID); err != nil || len(f.Raw) == 0 {
		t.Errorf("claim: %v", err)
	}
	b.mustApply(again)
	// Nobody knows any more what changed since this failed: every field is left
	// alone, unless the contact did not change at all.
	b.clock = now.AddDate(0, -4, 0)
	lost := b.patch(id, contact.JobTitle, "CEO")
	b.clock = now.Add(time.Minute)
	repeat = b.patch(id, contact.JobTitle, "CEO")
	repeat.RetryOf, repeat.RetryAcceptedAt = lost.ID, lost.AcceptedAt
	if o := b.mustApply(repeat)[0]; o.State != contact.Unchanged || len(o.Skipped) != 1 || o.Skipped[0].Reason != contact.SkipChangedSince {
		t.Errorf("retry of a change older than the ledger: %+v", o)
	}
	b.exec(`UPDATE contacts SET updated_at = now() - interval '1 year'`)
	repeat = b.patch(id, contact.JobTitle, "CEO")
	repeat.RetryOf, repeat.RetryAcceptedAt = lost.ID, lost.AcceptedAt
	if o := b.mustApply(repeat)[0]; o.State != contact.Applied {
		t.Errorf("retry for a contact that did not change since: %+v", o)
	}
	b.keep(month30())
	if _, err := b.Store.Write(t.Context(), b.account, open.ID); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("settled and old: %v", err)
	}
	if text(b.contact(id), contact.Notes) != "old\nagain\nnew\nat last" {
		t.Errorf("notes: %q", text(b.contact(id), contact.Notes))
	}
}

func TestRetentionThinsOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := b.clock
	b.clock = now.AddDate(0, -5, 0)
	b.month()
	at := b.clock.Format(time.RFC3339)
	b.exec(`WITH w AS (INSERT INTO writes (account_id, id, contact_id, kind, state, version, actor, source, accepted_at, applied_at)
			SELECT '` + b.account.String() + `', overlay(gen_random_uuid()::text placing left(writes_floor('` + at + `')::text, 13) from 1)::uuid,
				gen_random_uuid(), 'patch', CASE WHEN n <= 1500 THEN 'failed' ELSE 'applied' END, 0, '', 'patch', now(), now()
			FROM generate_series(1, 6000) n RETURNING *)
		INSERT INTO failed_writes (account_id, id, contact_id, lane, offsets, code, payload, accepted_at, failed_at)
			SELECT account_id, id, contact_id, 'c000', '1-1', 'not_found', '', now(), now() FROM w WHERE state = 'failed'`)
	// And what stands in the default partition.
	b.clock = now.AddDate(-3, 0, 0)
	b.exec(`INSERT INTO writes (account_id, id, contact_id, kind, state, version, actor, source, accepted_at, applied_at)
		VALUES ('` + b.account.String() + `', writes_floor(now() - interval '3 years'), gen_random_uuid(), 'patch', 'applied', 1, '', 'patch', now(), now())`)
	b.clock = now
	b.contactsNamed("Ada")
	b.keep(month30())
	if n := b.count(`SELECT count(*) FROM writes WHERE state = 'failed'`); n != 1500 {
		t.Errorf("%d open failures, want 1500", n)
	}
	if n := b.count(`SELECT count(*) FROM writes WHERE state = 'applied'`); n != 1 {
		t.Errorf("%d other rows, want the new one", n)
	}
}

// An entry that comes back from an old file of Redis after its row of the ledger
// went must not be applied again; one that was never applied must be.
func TestStaleEntriesAreDropped(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	b := setupConfig(t, store.Config{Registerer: reg})
	now := b.clock
	b.clock = now.AddDate(0, -5, 0)
	b.month()
	id := b.contactsNamed("Ada")[0]
	old, late := b.note(id, "once"), b.note(id, "late")
	old.ReplyTo = "somebody"
	b.mustApply(old)
	b.clock = now
	young := b.note(id, "young")
	b.mustApply(young)
	b.keep(month30())
	// Below the offset and young, but not in the ledger: the ledger decides.
	b.clock = now.Add(-time.Hour)
	below := b.note(id, "below")
	b.clock = now.Add(time.Second)
	// Old, but above the offset: it waited in its lane all the time.
	late.Offset = contact.Offset{Ms: uint64(b.clock.UnixMilli())}
	out := b.mustApply(old, young, below, late)
	for i, want := range []contact.State{contact.Unchanged, contact.Applied, contact.Applied, contact.Applied} {
		if out[i].State != want {
			t.Errorf("outcome %d is %s, want %s", i, out[i].State, want)
		}
	}
	if n := text(b.contact(id), contact.Notes); n != "once\nyoung\nbelow\nlate" {
		t.Errorf("notes: %q", n)
	}
	refused := &contact.DataError{Code: contact.CodeDataError}
	if o, err := b.Store.Fail(t.Context(), lane0, old, refused); err != nil || o.State != contact.Unchanged {
		t.Errorf("fail: %+v, %v", o, err)
	}
	if n := b.count(`SELECT count(*) FROM failed_writes`); n != 0 {
		t.Errorf("%d failures", n)
	}
	const alarm = `
		# HELP patchlane_store_stale_entries_total Entries dropped because they came back and are older than the ledger reaches: Redis was restored from an old file.
		# TYPE patchlane_store_stale_entries_total counter
		patchlane_store_stale_entries_total 2
	`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(alarm), "patchlane_store_stale_entries_total"); err != nil {
		t.Error(err)
	}
}

func TestRetentionOfEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	lane := contact.Lane{Kind: 'a', N: 0}
	var seq uint64
	event := func(at time.Time, address string, action contact.Action, cause contact.Cause) contact.Event {
		t.Helper()
		e := contact.Event{
			Account: b.account, Channel: contact.EmailChannel, Address: address, Action: action, Cause: cause,
			Source: contact.SourceWebhook, Provider: "ses", Reason: "r", AcceptedAt: at,
		}
		if action == contact.Quarantine {
			e.Evidence = []byte("no json")
		}
		if err := e.Mint(at, 1); err != nil {
			t.Fatal(err)
		}
		seq++
		entry := contact.Entry{Offset: contact.Offset{Ms: 1, Seq: seq}, Raw: contact.EncodeEvent(&e)}
		if err := entry.Decode(at); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Store.Optouts().Apply(t.Context(), lane, []contact.Entry{entry}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	old, now := b.clock.AddDate(0, -6, 0), b.clock
	cited := event(old, "ada@example.com", contact.OptOut, contact.Complaint)
	event(old, "bob@example.com", contact.OptOut, contact.Complaint)
	second := event(old.Add(time.Hour), "bob@example.com", contact.OptOut, contact.Complaint)
	pending := event(old, "cy@example.com", contact.Review, contact.Unsubscribe)
	event(old, "", contact.Quarantine, 0)
	event(old, "dee@example.com", contact.Note, 0)
	young := event(now, "dee@example.com", contact.Note, 0)

	b.keep(store.Retention{Events: 30 * 24 * time.Hour})
	left := map[uuid.UUID]bool{}
	for _, e := range []contact.Event{cited, second, pending, young} {
		if _, err := b.Store.EventByID(t.Context(), b.account, e.ID); err != nil {
			t.Errorf("%s of %s: %v", e.Action, e.Address, err)
		}
		left[e.ID] = true
	}
	if n := b.count(`SELECT count(*) FROM webhook_events`); n != len(left) {
		t.Errorf("%d events, want %d", n, len(left))
	}
	if n := b.count(`SELECT count(*) FROM quarantine`) + b.count(`SELECT count(*) FROM optout_reviews`); n != 1 {
		t.Errorf("%d rows of quarantine and reviews, want the pending review", n)
	}
	page, err := b.Store.Suppressions(t.Context(), contact.SuppressionQuery{Account: b.account, Limit: 10})
	if err != nil || len(page.Suppressions) != 2 || page.Suppressions[0].Provider != "ses" {
		t.Errorf("suppressions: %+v, %v", page.Suppressions, err)
	}
	b.exec(`INSERT INTO left_addresses SELECT '` + b.account.String() + `', 'email', 'x' || n, gen_random_uuid(), now(), 0,
		now() - interval '8 days' * (n % 2) FROM generate_series(1, 10) n`)
	b.keep(store.Retention{})
	if n := b.count(`SELECT count(*) FROM left_addresses`); n != 5 {
		t.Errorf("%d left addresses, want the young ones", n)
	}
}
