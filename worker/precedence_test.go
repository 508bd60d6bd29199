package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"patchlane/tasks/contact"
)

// Writes that are about to begin wait for the events under way, however many,
// and for no longer than the courtesy of one batch.
func TestEventsGoFirst(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		event time.Duration // how long a transaction of events takes
		waits time.Duration
	}{
		"a short event": {20 * time.Millisecond, 20 * time.Millisecond},
		"a long event":  {time.Second, courtesy},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				events, writes := newFakes(1), newFakes(1)
				events.takes = c.event
				e, w := events.worker(t), writes.worker(t)
				w.drains.events = e.drains.events
				heard := background(func() { e.drains.drain(t.Context(), contact.Lane{Kind: 'a', N: 3}, 1) })
				synctest.Wait()
				w.drains.drain(t.Context(), testLane, 1)
				<-heard
				writes.allApplied(t, 1)
				events.allApplied(t, 1)
				if at := writes.times("apply"); len(at) != 1 || at[0] != c.waits {
					t.Errorf("writes were applied after %v, wanted %s", at, c.waits)
				}
				if n := count(t, w.metrics.yields); n != 1 {
					t.Errorf("counted %d yields", n)
				}
			})
		})
	}
}

// Nobody waits where nobody is before him, and who is told to stop waits for
// nothing.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &precedence{}
		if p.give(t.Context()) {
			t.Error("gave way to nobody")
		}
		first, second := p.take(), p.take()
		first()
		given := background(func() { p.give(t.Context()) })
		synctest.Wait()
		select {
		case <-given:
			t.Error("did not wait for the second")
		default:
		}
		second()
		<-given
		if p.give(t.Context()) {
			t.Error("waits for what is over")
		}
		defer p.take()()
		stopped, stop := context.WithCancel(t.Context())
		stop()
		began := time.Now()
		if p.give(stopped); time.Since(began) > 0 {
			t.Error("waits though it was told to stop")
		}
	})
}
