package store_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/store"
	"patchlane/tasks/contact"
)

// raceRounds is how often a STOP meets a write in a test run. RACE_ROUNDS sets
// another number; `make race` lets 10,000 meet.
func raceRounds(tb testing.TB) int {
	tb.Helper()
	text := os.Getenv("RACE_ROUNDS")
	if text == "" {
		return 400
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		tb.Fatalf("RACE_ROUNDS=%q is no number", text)
	}
	return n
}

// STOPs and writes that give somebody the numbers, at the same moment: there is
// no order of their transactions after which a contact has a number and is not
// opted out. Every other round races one number, the rest a batch of them.
func TestStopAgainstANewNumber(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const pairs, most = 2, 25
	rounds := raceRounds(t) / pairs
	var all sync.WaitGroup
	for pair := range pairs {
		side := *b // its own clock and sequence
		all.Go(func() {
			r := side.newRace(pair, most)
			for round := range rounds {
				n := 1 + round%2*(most-1)
				if bad := r.round(round, n); bad > 0 {
					t.Errorf("round %d: %d of %d contacts have their number and are not opted out by its STOP", round, bad, n)
					return
				}
			}
		})
	}
	all.Wait()
}

// race is a pair of lanes that meet again and again.
type race struct {
	*bundle
	pair             int
	contacts, events contact.Lane
	ids              []uuid.UUID
	db               *pgx.Conn
}

func (b *bundle) newRace(pair, people int) *race {
	b.t.Helper()
	r := &race{
		bundle: b, pair: pair, contacts: contact.Lane{Kind: 'c', N: pair}, events: contact.Lane{Kind: 'a', N: pair}, db: b.connect(),
	}
	creates := make([]contact.Entry, people)
	for i := range creates {
		r.ids = append(r.ids, uuid.New())
		creates[i] = b.create(r.ids[i], "Ada")
	}
	if _, err := b.Store.Apply(b.t.Context(), r.contacts, creates); err != nil {
		b.t.Error(err)
	}
	return r
}

// round gives new numbers to n contacts, says that they want none of it any
// more, and lets a STOP of each number come at that moment. It returns how many
// of them are not opted out by it.
func (r *race) round(round, n int) (bad int) {
	r.t.Helper()
	numbers, gives, stops := make([]string, n), make([]contact.Entry, n), make([]contact.Entry, n)
	for i := range n {
		numbers[i] = fmt.Sprintf("+316%d%06d%02d", r.pair, round, i)
		stops[i] = r.event(contact.OptOut, to(numbers[i]))
		gives[i] = r.with(contact.KindPatch, r.ids[i], contact.Phone, numbers[i], new(false))
		if round%4 < 2 { // the other one was accepted first
			stops[i].Event.AcceptedAt, gives[i].AcceptedAt = gives[i].AcceptedAt, stops[i].AcceptedAt
		}
	}
	r.meet(gives, stops)
	err := r.db.QueryRow(r.t.Context(), `SELECT count(*) FROM unnest($1::uuid[], $2::text[]) AS w (id, phone)
		LEFT JOIN contacts c ON c.id = w.id AND c.phone = w.phone
		WHERE c.sms_unsubscribed IS NOT TRUE OR c.sms_unsubscribed_reason <> 'keyword_stop'`, r.ids[:n], numbers).Scan(&bad)
	if err != nil {
		r.t.Error(err)
	}
	return bad
}

// meet applies writes and events at about the same moment.
func (r *race) meet(gives, stops []contact.Entry) {
	r.t.Helper()
	var both sync.WaitGroup
	start := make(chan struct{})
	shift := time.Duration(rand.IntN(2500)) * time.Microsecond
	both.Go(func() {
		<-start
		pause(shift)
		if _, err := r.Store.Apply(r.t.Context(), r.contacts, gives); err != nil {
			r.t.Error(err)
		}
	})
	both.Go(func() {
		<-start
		pause(1250*time.Microsecond - shift)
		if _, err := r.Store.Optouts().Apply(r.t.Context(), r.events, stops); err != nil {
			r.t.Error(err)
		}
	})
	close(start)
	both.Wait()
}

func pause(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// blockWrites keeps every transaction from writing to the ledger.
func (b *bundle) blockWrites() (release func()) {
	b.t.Helper()
	tx, err := b.connect().Begin(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := tx.Exec(b.t.Context(), `LOCK TABLE writes IN SHARE MODE`); err != nil {
		b.t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
	}
}

// The write has looked for a suppression and found none, the event has looked
// for contacts and found none: the look after the commit finds what both missed.
func TestRecheckFindsWhatBothMissed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	stop, give := b.event(contact.OptOut), b.with(contact.KindPatch, id, contact.Phone, number, new(false))
	release := b.blockWrites()
	done := make(chan error, 1)
	go func() {
		_, err := b.Store.Apply(t.Context(), lane0, []contact.Entry{give})
		done <- err
	}()
	b.untilBlocked(1)
	b.hear(stop)
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.wantReason(id, "keyword_stop")
	if n := b.count(`SELECT count(*) FROM writes WHERE contact_id = $1 AND kind = 'consent' AND source = 'recheck'
		AND source_event = $2 AND version = 3`, id, stop.ID.String()); n != 1 {
		t.Errorf("%d audit rows of the recheck", n)
	}
}

// Whoever takes the lane over makes the look that a dead process owed, before
// anything else, and so does a repetition of its batch.
func TestRecheckIsOwedByTheNext(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(b *bundle, give contact.Entry, id uuid.UUID) contact.Entry{
		"the same batch": func(_ *bundle, give contact.Entry, _ uuid.UUID) contact.Entry { return give },
		"another batch":  func(b *bundle, _ contact.Entry, id uuid.UUID) contact.Entry { return b.note(id, "x") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			id := b.contactsNamed("Ada")[0]
			stop, give := b.event(contact.OptOut), b.with(contact.KindPatch, id, contact.Phone, number, new(false))
			release := b.blockWrites()
			done := make(chan error, 1)
			go func() { done <- store.ApplyAndDie(t.Context(), b.Store, lane0, []contact.Entry{give}) }()
			b.untilBlocked(1)
			b.hear(stop)
			release()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			b.wantReason(id, "") // as the dead process left it
			b.mustApply(next(b, give, id))
			b.wantReason(id, "keyword_stop")
			b.mustApply(b.note(id, "y"))
			if n := b.count(`SELECT count(*) FROM lanes WHERE recheck IS NOT NULL`); n != 0 {
				t.Errorf("%d lanes owe a look", n)
			}
		})
	}
}

// A process dies after the event counts for its address and before it reached
// any contact.
func TestDeathBetweenAddressAndContacts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.holder()
	for _, step := range []struct {
		entry contact.Entry
		want  string
	}{
		{b.event(contact.OptOut), "keyword_stop"},
		{b.event(contact.Start), ""},
		{b.event(contact.OptOut, cause(contact.Complaint)), "complaint"},
		{b.event(contact.Clear), ""},
	} {
		before := b.contact(id).Version
		for range 2 {
			if err := store.HearOnly(t.Context(), b.Store, laneA, []contact.Entry{step.entry}); err != nil {
				t.Fatal(err)
			}
		}
		if v := b.contact(id).Version; v != before {
			t.Fatal("the contact was reached")
		}
		b.hear(step.entry)
		b.wantReason(id, step.want)
		b.hear(step.entry)
		if v := b.contact(id).Version; v != before+1 {
			t.Errorf("version %d after %d", v, before)
		}
	}
	// Between the two a newcomer gets the number: it is born opted out.
	late := b.event(contact.OptOut)
	if err := store.HearOnly(t.Context(), b.Store, laneA, []contact.Entry{late}); err != nil {
		t.Fatal(err)
	}
	b.wantReason(b.holder(), "keyword_stop")
	b.hear(late)
	b.wantReason(id, "keyword_stop")
}

// An event finds a contact that leaves the address at the same moment.
func TestStopOfANumberThatIsLeft(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.holder()
	bounce := b.event(contact.OptOut, cause(contact.HardBounce))
	stop := b.event(contact.OptOut)
	leave := b.with(contact.KindPatch, id, contact.Phone, "+31600000009", nil)
	late := b.event(contact.OptOut, cause(contact.Complaint), at(stop.AcceptedAt))
	after := b.event(contact.OptOut, cause(contact.Unsubscribe))
	release := b.blockWrites()
	done := make(chan error, 1)
	go func() {
		_, err := b.Store.Apply(t.Context(), lane0, []contact.Entry{leave})
		done <- err
	}()
	b.untilBlocked(1)
	heard := make(chan error, 1)
	go func() {
		_, err := b.Store.Optouts().Apply(t.Context(), laneA, []contact.Entry{bounce, stop})
		heard <- err
	}()
	b.untilBlocked(2) // the event has found the contact and waits for its row
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := <-heard; err != nil {
		t.Fatal(err)
	}
	b.wantReason(id, "keyword_stop")
	b.hear(late, after)
	c := b.contact(id)
	for k, want := range map[contact.Cause]bool{
		contact.KeywordStop: true, contact.Complaint: true, contact.HardBounce: false, contact.Unsubscribe: false,
	} {
		if got := c.SMSConsent.Out[k] != 0; got != want {
			t.Errorf("%s is known: %v", k, got)
		}
	}
}

// A link names the contact for which it was made, whatever its address is now.
func TestEventNamesAContact(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	b.mustApply(b.entry(contact.KindArchive, id, nil))
	b.hear(b.event(contact.OptOut, mail("old@x.org"), cause(contact.Unsubscribe), func(e *contact.Event) { e.Contact = id }))
	if got := b.reason(id, contact.EmailChannel); got != "unsubscribe" {
		t.Errorf("shows %q", got)
	}
}

// An entry that is no event costs its neighbours nothing.
func TestUnreadableEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.holder()
	stop := b.event(contact.OptOut)
	broken := b.event(contact.OptOut)
	broken.Raw = broken.Raw[:70]
	broken = contact.Entry{Offset: broken.Offset, Raw: broken.Raw, Poison: fmt.Errorf("cut short")}
	write := b.note(id, "x")
	b.clock = b.clock.Add(time.Second)
	for range 2 {
		out := b.hear(stop, broken, write)
		if out[0].State != contact.Applied || out[1].State != contact.Failed || out[2].State != contact.Failed {
			t.Errorf("%s, %s, %s", out[0].State, out[1].State, out[2].State)
		}
	}
	b.wantReason(id, "keyword_stop")
	if n := b.count(`SELECT count(*) FROM failed_writes WHERE lane = 'a000' AND code = 'unreadable_entry'`); n != 2 {
		t.Errorf("%d failures are kept", n)
	}
}
