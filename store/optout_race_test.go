package store_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/store"
	"patchlane/tasks/contact"
)

// A STOP and a write that gives somebody the number, at the same moment: there
// is no order of their transactions after which the contact has the number and
// is not opted out.
func TestStopAgainstANewNumber(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const pairs, rounds = 2, 1000
	var all sync.WaitGroup
	for pair := range pairs {
		contacts, events := contact.Lane{Kind: 'c', N: pair}, contact.Lane{Kind: 'a', N: pair}
		side := *b // its own clock and sequence
		all.Go(func() {
			id := uuid.New()
			create := side.create(id, "Ada")
			if _, err := side.Store.Apply(t.Context(), contacts, []contact.Entry{create}); err != nil {
				t.Error(err)
				return
			}
			for round := range rounds {
				address := fmt.Sprintf("+316%d%07d", pair, round)
				stop := side.event(contact.OptOut, to(address))
				give := side.with(contact.KindPatch, id, contact.Phone, address, new(false))
				if round%2 == 0 { // the other one was accepted first
					stop.Event.AcceptedAt, give.AcceptedAt = give.AcceptedAt, stop.AcceptedAt
				}
				side.meet(contacts, events, give, stop)
				if got := side.reason(id, contact.SMSChannel); got != "keyword_stop" {
					t.Errorf("round %d: a contact with the number shows %q", round, got)
					return
				}
			}
		})
	}
	all.Wait()
}

// meet applies a write and an event at about the same moment.
func (b *bundle) meet(contacts, events contact.Lane, give, stop contact.Entry) {
	b.t.Helper()
	var both sync.WaitGroup
	start := make(chan struct{})
	shift := time.Duration(rand.IntN(2500)) * time.Microsecond
	both.Go(func() {
		<-start
		pause(shift)
		if _, err := b.Store.Apply(b.t.Context(), contacts, []contact.Entry{give}); err != nil {
			b.t.Error(err)
		}
	})
	both.Go(func() {
		<-start
		pause(1250*time.Microsecond - shift)
		if _, err := b.Store.Optouts().Apply(b.t.Context(), events, []contact.Entry{stop}); err != nil {
			b.t.Error(err)
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
