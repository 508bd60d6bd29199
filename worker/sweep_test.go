package worker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"patchlane/tasks"
	"patchlane/tasks/contact"
)

// net is a sweeper with scripted findings.
type net struct {
	mu      sync.Mutex
	stalled []contact.Stalled
	err     error
	raised  []contact.Lane
	raises  int
}

func (n *net) Sweep(context.Context) ([]contact.Stalled, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stalled, n.err
}

func (n *net) Raise(_ context.Context, offsets map[contact.Lane]contact.Offset) ([]contact.Lane, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.raises++
	if len(offsets) == 0 {
		return nil, nil
	}
	return n.raised, nil
}

// queues are those of asynq.
type queues struct{ paused []string }

func (q *queues) UnpauseQueue(queue string) error {
	i := slices.Index(q.paused, queue)
	if i < 0 {
		return errors.New("queue is not paused")
	}
	q.paused = slices.Delete(q.paused, i, i+1)
	return nil
}

func newSweeping(t *testing.T, f *fakes, n *net) *Worker {
	t.Helper()
	o := f.options()
	o.Sweeper = n
	o.Offsets = func(ctx context.Context) (map[contact.Lane]contact.Offset, error) {
		if err := f.called(ctx, "offsets"); err != nil {
			return nil, err
		}
		return map[contact.Lane]contact.Offset{testLane: {Ms: 9}}, nil
	}
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestSweepRingsForAStalledLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(3)
		w := newSweeping(t, f, &net{stalled: []contact.Stalled{{Lane: testLane, Generation: 7, Looks: 1}}})
		w.sweep.once(t.Context())
		if !slices.Equal(f.rung, []int64{7}) || count(t, w.metrics.finds) != 1 || count(t, w.metrics.takeovers) != 0 {
			t.Errorf("rang for %v, want generation 7 and no take-over", f.rung)
		}
	})
}

func TestSweepDrainsALaneThatNoRingHelps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(3000)
		f.takes = 500 * time.Millisecond
		w := newSweeping(t, f, &net{stalled: []contact.Stalled{{Lane: testLane, Generation: 1, Looks: 3}}})
		w.sweep.once(t.Context())
		w.inflight.close()
		f.allApplied(t, 3000)
		if n := count(t, w.metrics.takeovers); n < 2 {
			t.Errorf("drained %d slices, want one after the other until the lane was empty", n)
		}
	})
}

func TestSweepBoundsItsTakeOvers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(1)
		f.takes = time.Second
		stalled := make([]contact.Stalled, 0, maxTakeovers+5)
		for i := range maxTakeovers + 5 {
			stalled = append(stalled, contact.Stalled{Lane: contact.Lane{Kind: 'c', N: i}, Generation: 1, Looks: 9})
		}
		w := newSweeping(t, f, &net{stalled: stalled})
		// They hang before they enter, so that none of them makes room.
		f.on = func(ctx context.Context, name string) error {
			if name == "enter" {
				elapse(ctx, time.Second)
			}
			return nil
		}
		w.sweep.once(t.Context())
		synctest.Wait()
		if entered, rung := len(f.times("enter")), len(f.rung); entered != maxTakeovers || rung != 5 {
			t.Errorf("drains %d lanes and rang for %d, want %d and 5", entered, rung, maxTakeovers)
		}
		w.inflight.close()
	})
}

func TestGuardRaisesStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakes(0), &net{raised: []contact.Lane{testLane}}
		w := newSweeping(t, f, n)
		ctx, cancel := context.WithCancel(t.Context())
		done := background(func() { w.sweep.run(ctx) })
		elapse(ctx, 11*time.Second+time.Millisecond)
		cancel()
		<-done
		if n.raises != 3 || count(t, w.metrics.alarms) != 3 {
			t.Errorf("guarded %d times with %d alarms, want at the start and each 5 s", n.raises, count(t, w.metrics.alarms))
		}
	})
}

func TestGuardLooksAtOnceWhenRedisIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakes(0), &net{}
		w := newSweeping(t, f, n)
		w.sweep.once(t.Context())
		n.err = errAway
		w.sweep.once(t.Context())
		n.err = nil
		w.sweep.once(t.Context())
		if n.raises != 2 {
			t.Errorf("guarded %d times, want again as soon as Redis answered", n.raises)
		}
	})
}

func TestGuardWaitsForPostgres(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakes(0), &net{}
		f.on = failFirst("offsets", 1)
		w := newSweeping(t, f, n)
		w.sweep.once(t.Context())
		if n.raises != 0 {
			t.Error("guarded without knowing the offsets")
		}
		w.sweep.once(t.Context())
		if n.raises != 1 {
			t.Errorf("guarded %d times, want at the next look", n.raises)
		}
	})
}

func TestSweepUnpausesOurQueues(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newSweeping(t, newFakes(0), &net{})
		q := &queues{paused: []string{tasks.QueueWrites, "somebody-else"}}
		w.sweep.unpause(t.Context(), q)
		if !slices.Equal(q.paused, []string{"somebody-else"}) || count(t, w.metrics.unpaused) != 1 {
			t.Errorf("left %v paused and counted %d, want only the queue of others", q.paused, count(t, w.metrics.unpaused))
		}
	})
}
