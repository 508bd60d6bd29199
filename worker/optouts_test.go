package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"patchlane/store/storetest"
	"patchlane/tasks"
	"patchlane/tasks/contact"
)

// stop makes a STOP of a number.
func (f *full) stop(tb testing.TB, number string) *contact.Event {
	tb.Helper()
	e := &contact.Event{
		Account: f.account, Channel: contact.SMSChannel, Address: number, Action: contact.OptOut,
		Cause: contact.KeywordStop, Source: contact.SourceWebhook, Provider: "twilio",
	}
	if err := e.Mint(time.Now(), storetest.Lanes().Address); err != nil {
		tb.Fatal(err)
	}
	return e
}

// withNumbers creates contacts and gives each contact a number of its own.
func (f *full) withNumbers(tb testing.TB, n int) (contacts []uuid.UUID, numbers []string) {
	tb.Helper()
	contacts = newContacts(n)
	for i, c := range contacts {
		number := fmt.Sprintf("+3161%07d", i)
		numbers = append(numbers, number)
		w := f.patch(tb, c, "")
		w.Kind, w.Patch = contact.KindCreate, contact.Patch{}
		w.Patch.SetText(contact.Phone, &number)
		if _, err := f.appender.Append(tb.Context(), w); err != nil {
			tb.Fatal(err)
		}
	}
	return contacts, numbers
}

// seen waits until the contact reads as opted out.
func (f *full) seen(tb testing.TB, id uuid.UUID, limit time.Duration) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	for {
		c, err := f.db.Store.Contact(ctx, contact.Ref{Account: f.account, ID: id})
		if err == nil {
			if _, _, out := c.SMSConsent.Standing(); out {
				return
			}
		}
		if elapse(ctx, 2*time.Millisecond); ctx.Err() != nil {
			tb.Fatalf("contact %s is not opted out after %s: %v", id, limit, err)
		}
	}
}

// A STOP does not wait behind writes: neither behind those of its contact, nor
// for a slot, nor for a connection.
func TestStopOvertakesABacklog(t *testing.T) {
	t.Parallel()
	f := newFull(t)
	const people = 40
	contacts, numbers := f.withNumbers(t, people)
	f.start(t)
	f.drained(t, 30*time.Second)
	// The writes wait: many more than are applied while the STOPs come in.
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for _, c := range contacts {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := f.appender.Append(ctx, f.patch(t, c, "t")); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	elapse(t.Context(), 500*time.Millisecond)
	took := make([]time.Duration, 0, people)
	for i := range people {
		e := f.stop(t, numbers[i])
		if _, errs := f.appender.AppendEvents(t.Context(), []*contact.Event{e}); errs[0] != nil {
			t.Fatal(errs[0])
		}
		began := time.Now()
		f.seen(t, contacts[i], 10*time.Second)
		took = append(took, time.Since(began))
	}
	cancel()
	writers.Wait()
	slices.Sort(took)
	t.Logf("opt-out visible after %s (median), %s (longest)", took[people/2], took[people-1])
	if took[people/2] > time.Second {
		t.Errorf("the median is %s", took[people/2])
	}
}

// The address lanes have the same nets as the others: a lost ring, a paused
// queue and a dead session of Postgres.
func TestStopSurvivesWhatWritesSurvive(t *testing.T) {
	t.Parallel()
	for name, hinder := range map[string]func(*testing.T, *full){
		"a lost ring": func(_ *testing.T, f *full) { f.loseRings() },
		"a paused queue": func(t *testing.T, f *full) {
			t.Helper()
			inspector := asynq.NewInspector(f.asynq)
			t.Cleanup(func() { _ = inspector.Close() })
			if err := inspector.PauseQueue(tasks.QueueOptouts); err != nil {
				t.Fatal(err)
			}
		},
		"killed sessions": func(t *testing.T, f *full) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			killed := background(func() { f.killBackends(ctx, t) })
			t.Cleanup(func() { cancel(); <-killed })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFull(t)
			contacts, numbers := f.withNumbers(t, 20)
			f.start(t)
			f.drained(t, 30*time.Second)
			hinder(t, f)
			for _, number := range numbers {
				if _, errs := f.appender.AppendEvents(t.Context(), []*contact.Event{f.stop(t, number)}); errs[0] != nil {
					t.Fatal(errs[0])
				}
			}
			for _, c := range contacts {
				f.seen(t, c, 15*time.Second)
			}
			f.drained(t, 15*time.Second)
		})
	}
}

// Events, too, are told to whoever waits.
func TestWaitersOfEventsAreTold(t *testing.T) {
	t.Parallel()
	f := newFull(t)
	contacts, numbers := f.withNumbers(t, 1)
	told := make(chan contact.Outcome, 1)
	f.start(t, func(o *Options) {
		o.Publish = func(_ context.Context, replyTo string, outcomes []contact.Outcome) error {
			if replyTo == "api-1" {
				told <- outcomes[0]
			}
			return nil
		}
	})
	f.drained(t, 30*time.Second)
	e := f.stop(t, numbers[0])
	e.ReplyTo = "api-1"
	if _, errs := f.appender.AppendEvents(t.Context(), []*contact.Event{e}); errs[0] != nil {
		t.Fatal(errs[0])
	}
	select {
	case o := <-told:
		if o.WriteID != e.ID || o.State != contact.Applied {
			t.Errorf("told %+v", o)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was told")
	}
	f.seen(t, contacts[0], time.Second)
}
