package store_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"patchlane/store"
	"patchlane/tasks/contact"
)

func TestApplyCommitsTogether(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := uuid.New()
	create, patch := b.create(id, "Ada"), b.patch(id, contact.JobTitle, "CEO")
	missing := b.patch(uuid.New(), contact.JobTitle, "CEO")
	patch.ReplyTo = "api-1"
	out := b.mustApply(create, patch, missing)

	c := b.contact(id)
	if text(c, contact.FirstName) != "Ada" || text(c, contact.JobTitle) != "CEO" || c.Version != 2 {
		t.Errorf("contact is %q, %q at version %d", text(c, contact.FirstName), text(c, contact.JobTitle), c.Version)
	}
	if out[1].Contact == nil || text(*out[1].Contact, contact.JobTitle) != "CEO" || out[0].Contact != nil {
		t.Error("the contact must be with the outcome of the write that somebody waits for, and only there")
	}
	for i, want := range []contact.State{contact.Applied, contact.Applied, contact.Failed} {
		if out[i].State != want {
			t.Errorf("outcome %d is %s, want %s", i, out[i].State, want)
		}
		r, err := b.Store.Write(t.Context(), b.account, out[i].WriteID)
		if err != nil || r.State != want || r.Version != out[i].Version || len(r.Changes) != len(out[i].Changes) {
			t.Errorf("ledger of %d: %+v, %v", i, r, err)
		}
	}
	if n := b.count(`SELECT count(*) FROM failed_writes WHERE id = $1 AND payload = $2`, missing.ID, missing.Raw); n != 1 {
		t.Errorf("%d failed writes kept, want 1", n)
	}
	if got := b.offset(); got != missing.Offset {
		t.Errorf("offset %v, want %v", got, missing.Offset)
	}
}

func TestApplyRollsBackTogether(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.contactsNamed("Ada", "Bob")
	before := b.offset()
	entries := []contact.Entry{
		b.patch(ids[0], contact.JobTitle, "CEO"), b.create(uuid.New(), "Eve"),
		b.patch(uuid.New(), contact.JobTitle, "none"),
	}
	if err := store.WriteAndRollBack(t.Context(), b.Store, lane0, entries); err != nil {
		t.Fatal(err)
	}
	if b.offset() != before || text(b.contact(ids[0]), contact.JobTitle) != "" {
		t.Error("a rolled-back batch left an offset or a change")
	}
	for _, sql := range []string{
		`SELECT count(*) - 2 FROM writes`, `SELECT count(*) - 2 FROM contacts`, `SELECT count(*) FROM failed_writes`,
	} {
		if n := b.count(sql); n != 0 {
			t.Errorf("%s: %d", sql, n)
		}
	}
	b.mustApply(entries...)
}

func TestApplyReplayIsNoOp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	first := []contact.Entry{b.note(id, "one"), b.note(id, "two"), b.patch(uuid.New(), contact.Notes, "x")}
	want := b.mustApply(first...)
	version := b.contact(id).Version

	// The same batch again, with a new write behind it, and a twin in it.
	third := b.note(id, "three")
	twin := third
	twin.Seq++
	out, err := b.Store.Apply(t.Context(), lane0, append(first, third, twin))
	if err != nil || out.Consumed != 5 || out.Replays != 4 {
		t.Fatalf("consumed %d with %d replays: %v", out.Consumed, out.Replays, err)
	}
	for i := range want {
		if o := out.Outcomes[i]; o.State != want[i].State || o.Version != want[i].Version ||
			o.Code != want[i].Code || o.WriteID != want[i].WriteID || !o.AppliedAt.Equal(want[i].AppliedAt) {
			t.Errorf("replay %d: %+v, want %+v", i, o, want[i])
		}
	}
	if out.Outcomes[4].WriteID != third.ID || out.Outcomes[4].Version != out.Outcomes[3].Version {
		t.Errorf("twin: %+v", out.Outcomes[4])
	}
	c := b.contact(id)
	if text(c, contact.Notes) != "one\ntwo\nthree" || c.Version != version+1 {
		t.Errorf("notes %q at version %d", text(c, contact.Notes), c.Version)
	}
	if b.offset() != twin.Offset {
		t.Errorf("offset %v, want %v", b.offset(), twin.Offset)
	}
	// Entries at or below the offset: the offset stays where it is.
	b.mustApply(first...)
	if b.offset() != twin.Offset {
		t.Errorf("offset went back to %v", b.offset())
	}
	// Not in the ledger, though below the offset: it is new, and applied.
	late := b.note(id, "late")
	late.Offset = contact.Offset{Ms: 1, Seq: 1}
	if o := b.mustApply(late)[0]; o.State != contact.Applied {
		t.Errorf("entry below the offset is %s", o.State)
	}
}

func TestApplyStaleOffset(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	err := store.ApplyOverStaleOffset(t.Context(), b.Store, lane0, []contact.Entry{b.note(id, "x")})
	if !errors.Is(err, contact.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	if c := b.contact(id); c.Version != 1 {
		t.Errorf("a fenced batch changed the contact to version %d", c.Version)
	}
}

func TestApplyLaneHeld(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	tx, err := b.connect().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM lanes WHERE lane = 'c000' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	e := b.note(id, "x")
	if _, err := b.Store.Apply(t.Context(), lane0, []contact.Entry{e}); !errors.Is(err, contact.ErrLaneHeld) {
		t.Errorf("apply: %v, want ErrLaneHeld", err)
	}
	if _, err := b.Store.Fail(t.Context(), lane0, e, nil); !errors.Is(err, contact.ErrLaneHeld) {
		t.Errorf("fail: %v, want ErrLaneHeld", err)
	}
	other := contact.Lane{Kind: 'c', N: 1}
	if _, err := b.Store.Apply(t.Context(), other, []contact.Entry{e}); err != nil {
		t.Errorf("another lane must not wait: %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.mustApply(e)
}

func TestApplyRowLocked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	tx, err := b.connect().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM contacts FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	e := b.note(id, "x")
	_, err = b.Store.Apply(t.Context(), lane0, []contact.Entry{e})
	var data *contact.DataError
	if err == nil || errors.Is(err, contact.ErrLaneHeld) || errors.As(err, &data) {
		t.Errorf("a row lock of somebody else is outside the batch, got %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.mustApply(e)
}

func TestApplyCutBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.contactsNamed("Ada", "Bob")
	// Ada gives the address up and Bob takes it: in one statement that would
	// be a duplicate, so the batch is cut between the two.
	entries := []contact.Entry{
		b.patch(ids[0], contact.Email, "Both@example.com"), b.note(ids[1], "first"),
		b.patch(ids[0], contact.Email, "ada@example.com"), b.patch(ids[1], contact.Email, "both@example.com"),
	}
	batches := 0
	for done := 0; done < len(entries); batches++ {
		out, err := b.Store.Apply(t.Context(), lane0, entries[done:])
		if err != nil {
			t.Fatal(err)
		}
		done += out.Consumed
		if got := b.offset(); got != entries[done-1].Offset {
			t.Fatalf("offset %v after %d entries, want %v", got, done, entries[done-1].Offset)
		}
	}
	if batches != 3 {
		t.Errorf("%d batches, want 3", batches)
	}
	if got := text(b.contact(ids[1]), contact.Email); got != "both@example.com" {
		t.Errorf("Bob has %q", got)
	}
}

func TestApplyDuplicate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.contactsNamed("Ada", "Bob", "Cyd")
	b.mustApply(b.patch(ids[0], contact.Email, "ada@Example.com"), b.patch(ids[1], contact.ExternalID, "x-1"))
	out := b.mustApply(
		b.patch(ids[2], contact.Email, "ADA@example.com"), b.patch(ids[2], contact.ExternalID, "x-1"))
	for i, o := range out {
		if o.State != contact.Failed || o.Code != contact.CodeDuplicate {
			t.Errorf("outcome %d: %s %s", i, o.State, o.Code)
		}
	}
	// An archived contact gives its values free, and cannot come back once
	// somebody else has them.
	b.mustApply(b.entry(contact.KindArchive, ids[0], nil))
	b.mustApply(b.patch(ids[2], contact.Email, "ada@example.com"))
	if o := b.mustApply(b.entry(contact.KindRestore, ids[0], nil))[0]; o.Code != contact.CodeDuplicate {
		t.Errorf("restore: %s %s", o.State, o.Code)
	}
}
