package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/store"
	"patchlane/store/storetest"
	"patchlane/tasks/contact"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// lane0 is the lane of tests that need but one.
var lane0 = contact.Lane{Kind: 'c', N: 0}

// bundle is a fresh database with one account.
type bundle struct {
	storetest.DB
	t       testing.TB
	account uuid.UUID
	clock   time.Time
	seq     uint64
}

func setup(tb testing.TB) *bundle {
	tb.Helper()
	return setupConfig(tb, store.Config{})
}

func setupConfig(tb testing.TB, cfg store.Config) *bundle {
	tb.Helper()
	db := storetest.Open(tb, cfg)
	a, err := db.Store.CreateAccount(tb.Context(), "Acme")
	if err != nil {
		tb.Fatal(err)
	}
	return &bundle{DB: db, t: tb, account: a.ID, clock: time.Now().UTC().Truncate(time.Millisecond)}
}

// connect opens a session beside the store.
func (b *bundle) connect() *pgx.Conn {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), b.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// exec runs a statement on a session of its own.
func (b *bundle) exec(sql string) {
	b.t.Helper()
	conn := b.connect()
	if _, err := conn.Exec(b.t.Context(), sql); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

// entry makes the next entry of a lane.
func (b *bundle) entry(kind contact.Kind, id uuid.UUID, edit func(*contact.Patch)) contact.Entry {
	b.t.Helper()
	b.seq++
	b.clock = b.clock.Add(time.Millisecond)
	writeID, err := contact.NewWriteID(b.clock, lane0)
	if err != nil {
		b.t.Fatal(err)
	}
	e := contact.Entry{
		Offset: contact.Offset{Ms: uint64(b.clock.UnixMilli()), Seq: b.seq},
		Write: contact.Write{
			ID: writeID, Account: b.account, Contact: id, Kind: kind, AcceptedAt: b.clock,
			Source: contact.SourcePatch, Actor: "key-1",
		},
	}
	if edit != nil {
		edit(&e.Patch)
	}
	e.Raw = contact.Encode(&e.Write)
	return e
}

// patch makes an entry that sets one text field.
func (b *bundle) patch(id uuid.UUID, f contact.Field, v string) contact.Entry {
	return b.entry(contact.KindPatch, id, func(p *contact.Patch) { p.SetText(f, &v) })
}

// create makes an entry that creates a contact.
func (b *bundle) create(id uuid.UUID, name string) contact.Entry {
	return b.entry(contact.KindCreate, id, func(p *contact.Patch) { p.SetText(contact.FirstName, &name) })
}

// note makes an entry that appends to the notes.
func (b *bundle) note(id uuid.UUID, text string) contact.Entry {
	return b.entry(contact.KindPatch, id, func(p *contact.Patch) { p.NotesAppend = &text })
}

// contactsNamed creates contacts and returns their ids.
func (b *bundle) contactsNamed(names ...string) []uuid.UUID {
	b.t.Helper()
	ids := make([]uuid.UUID, len(names))
	entries := make([]contact.Entry, len(names))
	for i, name := range names {
		ids[i] = uuid.New()
		entries[i] = b.create(ids[i], name)
	}
	b.mustApply(entries...)
	return ids
}

// mustApply applies entries in one batch and wants all of them consumed.
func (b *bundle) mustApply(entries ...contact.Entry) []contact.Outcome {
	b.t.Helper()
	out, err := b.Store.Apply(b.t.Context(), lane0, entries)
	if err != nil {
		b.t.Fatalf("apply: %v", err)
	}
	if out.Consumed != len(entries) || len(out.Outcomes) != len(entries) {
		b.t.Fatalf("consumed %d and got %d outcomes of %d entries", out.Consumed, len(out.Outcomes), len(entries))
	}
	return out.Outcomes
}

func (b *bundle) ref(id uuid.UUID) contact.Ref { return contact.Ref{Account: b.account, ID: id} }

func (b *bundle) contact(id uuid.UUID) contact.Contact {
	b.t.Helper()
	c, err := b.Store.Contact(b.t.Context(), b.ref(id))
	if err != nil {
		b.t.Fatalf("read contact: %v", err)
	}
	return c
}

func (b *bundle) offset() contact.Offset {
	b.t.Helper()
	all, err := b.Store.Offsets(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return all[lane0]
}

// count returns a number out of the database.
func (b *bundle) count(sql string, args ...any) int {
	b.t.Helper()
	var n int
	if err := b.connect().QueryRow(b.t.Context(), sql, args...).Scan(&n); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// until repeats a look until it holds.
func (b *bundle) until(what string, holds func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("never came: %s", what)
		}
	}
}

// untilBlocked waits until n sessions of this database wait for a lock.
func (b *bundle) untilBlocked(n int) {
	b.t.Helper()
	conn := b.connect()
	b.until("a session that waits for a lock", func() bool {
		var waiting int
		err := conn.QueryRow(b.t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		return err == nil && waiting >= n
	})
}

// text reads a text field, "" for NULL.
func text(c contact.Contact, f contact.Field) string {
	if v := c.Text[f]; v != nil {
		return *v
	}
	return ""
}
