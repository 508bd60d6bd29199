package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/store/storetest"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
)

// full is a stack over a real Postgres.
type full struct {
	*stack
	db storetest.DB
}

func newFull(tb testing.TB) *full {
	tb.Helper()
	db := storetest.New(tb)
	s, _ := newStack(tb, storetest.Lanes())
	account, err := db.Store.CreateAccount(tb.Context(), "test")
	if err != nil {
		tb.Fatal(err)
	}
	s.store, s.optouts = db.Store, db.Store.Optouts()
	s.offsets, s.account = db.Store.Offsets, account.ID
	return &full{s, db}
}

// create appends the creation of contacts.
func (f *full) create(tb testing.TB, contacts []uuid.UUID) {
	tb.Helper()
	for _, c := range contacts {
		w := f.patch(tb, c, "")
		name := "Ada"
		w.Kind, w.Patch = contact.KindCreate, contact.Patch{}
		w.Patch.SetText(contact.FirstName, &name)
		if _, err := f.appender.Append(tb.Context(), w); err != nil {
			tb.Fatal(err)
		}
	}
}

// number appends n writes to each contact, in order within each: a token to
// the notes and the number as the job title.
func (f *full) number(tb testing.TB, contacts []uuid.UUID, n int) {
	tb.Helper()
	var wg sync.WaitGroup
	for _, c := range contacts {
		wg.Go(func() {
			for i := range n {
				title := strconv.Itoa(i)
				w := f.patch(tb, c, "t"+title)
				w.Patch.SetText(contact.JobTitle, &title)
				if _, err := f.appender.Append(tb.Context(), w); err != nil {
					tb.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// numbered checks that n writes of number were applied to each contact once
// and in order: in the notes, in the version, and in the change log.
func (f *full) numbered(tb testing.TB, contacts []uuid.UUID, n int) {
	tb.Helper()
	tokens := make([]string, 0, n)
	for i := range n {
		tokens = append(tokens, "t"+strconv.Itoa(i))
	}
	notes := strings.Join(tokens, "\n")
	for _, id := range contacts {
		c, err := f.db.Store.Contact(tb.Context(), contact.Ref{Account: f.account, ID: id})
		if err != nil {
			tb.Errorf("read contact: %v", err)
			continue
		}
		if c.Text[contact.Notes] == nil || *c.Text[contact.Notes] != notes {
			tb.Errorf("contact %s: the notes are not the %d tokens in order", id, n)
		}
		if c.Version != int64(n)+1 {
			tb.Errorf("contact %s: version %d, want %d", id, c.Version, n+1)
		}
		f.chained(tb, id)
	}
}

// chained checks that each old job title is the new one before it.
func (f *full) chained(tb testing.TB, id uuid.UUID) {
	tb.Helper()
	q := contact.LogQuery{Account: f.account, Contact: id, Field: contact.JobTitle.String(), Limit: 100}
	var later json.RawMessage
	for {
		page, err := f.db.Store.ChangeLog(tb.Context(), q)
		if err != nil {
			tb.Fatal(err)
		}
		for _, row := range page.Rows { // newest first
			if later != nil && string(row.New) != string(later) {
				tb.Errorf("contact %s, version %d: new value %s, but the next old one is %s", id, row.Version, row.New, later)
			}
			later = row.Old
		}
		if q.After = page.Next; q.After == "" {
			return
		}
	}
}

func TestFiveThousandWritesInOrder(t *testing.T) {
	t.Parallel()
	f := newFull(t)
	f.start(t)
	f.start(t)
	contacts := newContacts(50)
	f.create(t, contacts)
	f.number(t, contacts, 100)
	f.drained(t, 60*time.Second)
	f.numbered(t, contacts, 100)
}

func TestBackendsAreKilledUnderLoad(t *testing.T) {
	t.Parallel()
	f := newFull(t)
	f.start(t)
	contacts := newContacts(20)
	f.create(t, contacts)
	ctx, cancel := context.WithCancel(t.Context())
	killed := make(chan int)
	go func() { killed <- f.killBackends(ctx, t) }()
	f.number(t, contacts, 100)
	elapse(t.Context(), 500*time.Millisecond)
	cancel()
	if n := <-killed; n == 0 {
		t.Error("no backend was killed")
	}
	f.drained(t, 60*time.Second)
	f.numbered(t, contacts, 100)
}

// killBackends ends every session of the store every few milliseconds and
// returns how many it ended.
func (f *full) killBackends(ctx context.Context, tb testing.TB) (killed int) {
	tb.Helper()
	cleanup := context.WithoutCancel(ctx)
	conn, err := pgx.Connect(ctx, f.db.URL)
	if err != nil {
		tb.Errorf("connect: %v", err)
		return 0
	}
	defer func() { _ = conn.Close(cleanup) }()
	for ctx.Err() == nil {
		var n int
		err := conn.QueryRow(cleanup, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n)
		if err != nil {
			tb.Errorf("kill backends: %v", err)
			return killed
		}
		killed += n
		elapse(ctx, 30*time.Millisecond)
	}
	return killed
}

// A write that no API lets through is recorded as failed, whether it cannot be
// read or Postgres refuses its values, and its neighbours are applied.
func TestBadWriteCostsNoNeighbour(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, value string
		field       contact.Field
		code        contact.Code
		recorded    int
	}{
		{"refused by postgres", "2023-02-31", contact.DateOfBirth, contact.CodeDataError, 1},
		{"unreadable", "a\x00b", contact.JobTitle, contact.CodeUnreadable, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFull(t)
			contacts := newContacts(1)
			f.create(t, contacts)
			f.number(t, contacts, 70)
			bad := f.patch(t, contacts[0], "")
			bad.Patch = contact.Patch{}
			bad.Patch.SetText(c.field, &c.value)
			last := f.patch(t, contacts[0], "the end")
			for _, w := range []*contact.Write{bad, last} {
				if _, err := f.appender.Append(t.Context(), w); err != nil {
					t.Fatal(err)
				}
			}
			w := f.start(t)
			f.drained(t, 20*time.Second)
			got, err := f.db.Store.Contact(t.Context(), contact.Ref{Account: f.account, ID: contacts[0]})
			if err != nil {
				t.Fatal(err)
			}
			if got.Version != 72 || !strings.HasSuffix(*got.Text[contact.Notes], "t69\nthe end") {
				t.Errorf("version %d, want 72 with every neighbour applied", got.Version)
			}
			record, err := f.db.Store.Write(t.Context(), f.account, bad.ID)
			if err != nil || record.State != contact.Failed || record.Code != c.code {
				t.Errorf("the bad write is %s %s, %v: want failed %s", record.State, record.Code, err, c.code)
			}
			if n := count(t, w.metrics.failures); n != c.recorded {
				t.Errorf("recorded %d failures, want %d", n, c.recorded)
			}
		})
	}
}

func TestWaitersAreTold(t *testing.T) {
	t.Parallel()
	f := newFull(t)
	replies := lane.NewReplies(f.rdb, "api-1", nil)
	ctx, cancel := context.WithCancel(t.Context())
	ran := background(func() { _ = replies.Run(ctx) })
	t.Cleanup(func() { cancel(); <-ran })
	f.start(t)
	contacts := newContacts(1)
	f.create(t, contacts)
	f.drained(t, 20*time.Second)
	var took []time.Duration
	for i := range 20 {
		w := f.patch(t, contacts[0], fmt.Sprintf("t%d", i))
		w.ReplyTo = replies.Name()
		outcome, done := replies.Expect(w.ID)
		began := time.Now()
		if _, err := f.appender.Append(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		select {
		case o := <-outcome:
			if o.State != contact.Applied || o.Contact == nil || o.Version != int64(i)+2 {
				t.Errorf("told %s, version %d", o.State, o.Version)
			}
			took = append(took, time.Since(began))
		case <-time.After(2 * time.Second): // the first messages may precede the subscription
			if i > 0 {
				t.Error("a waiter was not told")
			}
		}
		done()
	}
	slices.Sort(took)
	t.Logf("told after %s (median)", took[len(took)/2])
}
