package api

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// TestEndpointsAreReadAgain: what was changed in the store alone, by a command
// whose Redis was away, is in force within five seconds; an outage of either
// side is made up for.
func TestEndpointsAreReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newHookWorld()
		d := newDirectory(&Options{Optouts: w.options(), Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		defer d.known.StopAllGoroutines()
		var running sync.WaitGroup
		running.Go(func() { d.run(ctx, time.Now) })
		defer running.Wait()
		defer cancel()
		e := contact.Endpoint{ID: uuid.New(), Account: uuid.New(), Provider: "twilio", Secrets: []string{"old"}}
		w.set(func() { w.endpoints[e.ID], w.mirrored[e.ID] = e, e })
		change := func(edit func(e *contact.Endpoint)) {
			edit(&e)
			w.set(func() { w.endpoints[e.ID] = e })
		}
		secret := func() string {
			t.Helper()
			found, err := d.find(ctx, e.ID)
			if err != nil {
				return string(contact.CodeOf(err))
			}
			return found.Secrets[0]
		}
		pass := func(poll time.Duration) {
			<-time.After(poll)
			synctest.Wait()
		}

		change(func(e *contact.Endpoint) { e.Secrets = []string{"new"} })
		pass(keyPoll - time.Millisecond)
		if got := secret(); got != "old" {
			t.Errorf("before the poll: %s", got)
		}
		pass(2 * time.Millisecond)
		if got := secret(); got != "new" {
			t.Errorf("after the poll: %s", got)
		}
		change(func(e *contact.Endpoint) { e.Secrets = []string{"newest"} })
		w.set(func() { w.storeErr = errAway })
		pass(keyPoll)
		w.set(func() { w.storeErr, w.mirrorErr = nil, errAway })
		pass(keyPoll)
		w.set(func() { w.mirrorErr = nil })
		pass(keyPoll)
		if got := secret(); got != "newest" {
			t.Errorf("after the outages: %s", got)
		}
		change(func(e *contact.Endpoint) { at := time.Now(); e.DeletedAt = &at })
		pass(keyPoll)
		if got := secret(); got != string(contact.CodeNotFound) {
			t.Errorf("after the deletion: %s", got)
		}
	})
}
