package worker

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

func TestDrainAppliesALaneInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(1200)
		w := f.worker(t)
		next, why := w.drains.drain(t.Context(), testLane, 1)
		if why != endEmpty || next != 0 {
			t.Errorf("ended %q with generation %d, want empty and none", why, next)
		}
		f.allApplied(t, 1200)
		if want := []int{16, 32, 64, 128, 256, 500, 204}; !slices.Equal(f.sizes, want) {
			t.Errorf("batches of %v, want %v", f.sizes, want)
		}
		if took := time.Since(f.began); took != linger {
			t.Errorf("lingered %s at the empty lane, want %s", took, linger)
		}
		if n := count(t, w.metrics.trimmed); n != 1200 {
			t.Errorf("counted %d trimmed entries, want 1200", n)
		}
		if n := count(t, w.metrics.outcomes.WithLabelValues("applied", "")); n != 1200 {
			t.Errorf("counted %d applied writes, want 1200", n)
		}
	})
}

func TestDrainServesWhatComesWhileItLingers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(1)
		done := background(func() { f.worker(t).drains.drain(t.Context(), testLane, 1) })
		synctest.Wait()
		f.add(1)
		<-done
		f.allApplied(t, 2)
	})
}

func TestDrainEndsWithItsSlice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(5000)
		f.takes = 300 * time.Millisecond
		next, why := f.worker(t).drains.drain(t.Context(), testLane, 1)
		if why != endSlice || next != 2 {
			t.Errorf("ended %q with generation %d, want slice and 2", why, next)
		}
		if !slices.Equal(f.rung, []int64{2}) {
			t.Errorf("rang for %v, want the next generation", f.rung)
		}
		if took := time.Since(f.began); took != 2100*time.Millisecond {
			t.Errorf("held its slot for %s, want the slice and the batch in flight", took)
		}
		if renewals := f.times("renew"); len(renewals) != 2 {
			t.Errorf("renewed the lease at %v, want each second", renewals)
		}
	})
}

func TestDrainHasNothingToDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		set  func(*fakes)
	}{
		{"the generation was served", func(f *fakes) { f.served = 1 }},
		{"a live drain owns the lane", func(f *fakes) { f.owner = "another" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes(3)
				c.set(f)
				if _, why := f.worker(t).drains.drain(t.Context(), testLane, 1); why != endServed {
					t.Errorf("ended %q, want served", why)
				}
				if len(f.calls) != 1 {
					t.Errorf("called %v, want enter alone", f.calls)
				}
			})
		})
	}
}

func TestDrainStopsAfterTheBatchInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(100)
		f.takes = time.Second
		f.entries[0].ReplyTo = "api-1"
		ctx, cancel := context.WithCancel(t.Context())
		var next int64
		var why end
		done := background(func() { next, why = f.worker(t).drains.drain(ctx, testLane, 1) })
		elapse(t.Context(), 500*time.Millisecond)
		cancel()
		<-done
		if why != endStopped || next != 2 {
			t.Errorf("ended %q with generation %d, want stopped and 2", why, next)
		}
		if took := time.Since(f.began); took != time.Second {
			t.Errorf("stopped after %s, want the end of the batch in flight", took)
		}
		if len(f.applied) != 16 || f.depth() != 84 || f.owner != "" {
			t.Errorf("applied %d, left %d, owner %q: want 16, 84 and nobody", len(f.applied), f.depth(), f.owner)
		}
		if len(f.replies["api-1"]) != 1 || !slices.Equal(f.rung, []int64{2}) {
			t.Errorf("replied %v, rang %v: want both done although the worker stops", f.replies, f.rung)
		}
	})
}

func TestDrainStopsAtOnceWhenToldBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(3)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		next, why := f.worker(t).drains.drain(ctx, testLane, 1)
		if why != endStopped || next != 2 || len(f.applied) != 0 {
			t.Errorf("ended %q with generation %d and %d applied, want the ring passed on", why, next, len(f.applied))
		}
	})
}

func TestDrainRepeatsAnEnterWhoseReplyWasLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(3)
		f.lostReply["enter"] = true
		f.on = failFirst("enter", 1)
		if _, why := f.worker(t).drains.drain(t.Context(), testLane, 1); why != endEmpty {
			t.Errorf("ended %q, want empty", why)
		}
		f.allApplied(t, 3)
	})
}

func TestDrainRepeatsALeaveWhoseReplyIsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(3)
		f.on = failFirst("leave", 3)
		f.worker(t).drains.drain(t.Context(), testLane, 1)
		f.allApplied(t, 3)
		if n := len(f.times("leave")); n != 4 {
			t.Errorf("left %d times, want until it succeeded", n)
		}
	})
}

func TestDrainLeavesARingItCannotMakeToTheSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(3)
		f.on = func(_ context.Context, name string) error {
			if name == "ring" {
				return errAway
			}
			return nil
		}
		w := f.worker(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w.drains.drain(ctx, testLane, 1)
		if n := count(t, w.metrics.unrung); n != 1 {
			t.Errorf("counted %d lost rings, want 1", n)
		}
	})
}

func TestDrainAppliesAgainWhatWasNotTrimmed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(10)
		f.entries[4].ReplyTo = "api-1"
		f.on = failFirst("trim", 2)
		w := f.worker(t)
		w.drains.drain(t.Context(), testLane, 1)
		f.allApplied(t, 10)
		if n := count(t, w.metrics.replays); n != 20 {
			t.Errorf("counted %d replays, want 20", n)
		}
		if n := count(t, w.metrics.outcomes.WithLabelValues("applied", "")); n != 10 {
			t.Errorf("counted %d applied writes, want 10: replays are no outcomes", n)
		}
		if want := []uuid.UUID{id(4), id(4), id(4)}; !slices.Equal(f.replies["api-1"], want) {
			t.Errorf("told the waiter %v, want also of replays", f.replies["api-1"])
		}
	})
}

func TestDrainSettlesACommitWhoseReplyWasLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(10)
		f.lostReply["apply"] = true
		f.on = failFirst("apply", 1)
		f.worker(t).drains.drain(t.Context(), testLane, 1)
		f.allApplied(t, 10)
	})
}

func TestDrainStepsAreNamedWhenTheyAreLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pass{drains: newFakes(0).worker(t).drains, lane: testLane, lease: newLease()}
		err := p.step(t.Context(), "apply", storeStep, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if err == nil || !strings.Contains(err.Error(), "apply lane c017: no answer within 10s") {
			t.Errorf("said %v, want the step, the lane and the limit", err)
		}
	})
}

func TestPublishGroupsByTheWaitingProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(6)
		for i, to := range []string{"api-1", "", "api-2", "api-1", "", "api-2"} {
			f.entries[i].ReplyTo = to
		}
		f.worker(t).drains.drain(t.Context(), testLane, 1)
		if !slices.Equal(f.replies["api-1"], []uuid.UUID{id(0), id(3)}) ||
			!slices.Equal(f.replies["api-2"], []uuid.UUID{id(2), id(5)}) || len(f.replies) != 2 {
			t.Errorf("replied %v", f.replies)
		}
		if n := len(f.times("publish")); n != 2 {
			t.Errorf("published %d messages, want one a process", n)
		}
	})
}

func TestPublishThatFailsIsDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(6)
		f.entries[0].ReplyTo = "api-1"
		f.on = func(_ context.Context, name string) error {
			if name == "publish" {
				return errAway
			}
			return nil
		}
		w := f.worker(t)
		w.drains.drain(t.Context(), testLane, 1)
		f.allApplied(t, 6)
		if n := count(t, w.metrics.unpublished); n != 1 {
			t.Errorf("counted %d unpublished outcomes, want 1", n)
		}
	})
}

func TestFreshOutcomesAreThoseOfTheBatch(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := contact.AppliedBatch{Consumed: 3, Replays: 1, Outcomes: []contact.Outcome{
		{WriteID: id(0), AppliedAt: now.Add(-time.Second)}, {WriteID: id(1), AppliedAt: now}, {WriteID: id(2), AppliedAt: now},
	}}
	got := fresh(b)
	if !slices.Equal(got, []int{1, 2}) {
		t.Errorf("fresh outcomes are at %v, want the two that the batch made", got)
	}
}

// failFirst makes the first n calls of a name fail.
func failFirst(name string, n int) func(context.Context, string) error {
	return func(_ context.Context, called string) error {
		if called == name && n > 0 {
			n--
			return errAway
		}
		return nil
	}
}
