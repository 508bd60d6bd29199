package worker

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"patchlane/tasks/contact"
)

func TestBisectEndsAtTheRefusedEntry(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ n, bad int }{{1, 0}, {2, 0}, {2, 1}, {3, 1}, {16, 15}, {100, 0}, {100, 63}, {500, 499}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakes(c.n)
			f.refused[id(c.bad)] = true
			w := f.worker(t)
			w.drains.drain(t.Context(), testLane, 1)
			f.allApplied(t, c.n)
			if !slices.Equal(f.failed, []uuid.UUID{id(c.bad)}) {
				t.Errorf("%d entries: failed %v, want entry %d alone", c.n, f.failed, c.bad)
			}
			if n := count(t, w.metrics.failures); n != 1 {
				t.Errorf("counted %d recorded failures, want 1", n)
			}
			if took := time.Since(f.began); took != linger {
				t.Errorf("%d entries: looked for the bad one for %s, want no back-off", c.n, took-linger)
			}
		})
	}
}

// TestDrainSurvivesAnything drains lanes with any number of refused entries,
// any cuts and any failures of any step: every entry is applied once, in
// order, and exactly the refused ones are recorded as failed.
func TestDrainSurvivesAnything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 120).Draw(rt, "entries")
		bad := rapid.SliceOfDistinct(rapid.IntRange(0, 119), rapid.ID[int]).Draw(rt, "refused")
		cuts := rapid.SliceOf(rapid.IntRange(0, 119)).Draw(rt, "cuts")
		faults := rapid.SliceOfN(rapid.SampledFrom([]string{"", "", "", "read", "apply", "trim", "fail", "leave", "publish"}), 0, 60).
			Draw(rt, "faults")
		lost := rapid.Bool().Draw(rt, "commits happen although their reply is lost")
		synctest.Test(t, func(t *testing.T) {
			f := newFakes(n)
			var want []uuid.UUID
			slices.Sort(bad)
			for _, i := range bad {
				if f.refused[id(i)] = true; i < n {
					want = append(want, id(i))
				}
			}
			for _, i := range cuts {
				f.cutBefore[id(i)] = true
			}
			f.lostReply["apply"] = lost
			f.on = func(_ context.Context, name string) error {
				if len(faults) == 0 {
					return nil
				}
				fault := faults[0]
				faults = faults[1:]
				if fault == name {
					return errAway
				}
				return nil
			}
			w := f.worker(t)
			for generation := int64(1); f.depth() > 0 || generation == 1; generation = f.gen {
				w.drains.drain(t.Context(), testLane, generation)
				f.mu.Lock()
				f.gen++
				f.mu.Unlock()
			}
			f.allApplied(t, n)
			if !slices.Equal(f.failed, want) {
				t.Errorf("recorded %v as failed, want %v", f.failed, want)
			}
		})
	})
}

func TestDrainWaitsOutAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(20)
		f.on = failFirst("apply", 10)
		w := f.worker(t)
		if _, why := w.drains.drain(t.Context(), testLane, 1); why != endSlice {
			t.Errorf("ended %q, want slice: the outage took longer", why)
		}
		f.allApplied(t, 20)
		tries := f.times("apply")
		gaps := make([]time.Duration, 0, 10)
		for i := range 10 {
			gaps = append(gaps, tries[i+1]-tries[i])
		}
		ms := time.Millisecond
		most := []time.Duration{50 * ms, 100 * ms, 200 * ms, 400 * ms, 500 * ms, 500 * ms, 500 * ms, 500 * ms, 500 * ms, 500 * ms}
		for i, gap := range gaps {
			if gap < most[i]/2 || gap > most[i] {
				t.Errorf("tried again after %v, want half of %v up to all of it", gaps, most)
				break
			}
		}
		outage := tries[10] - tries[0]
		if n := len(f.times("renew")); n < int(outage/time.Second)-1 || n == 0 {
			t.Errorf("renewed the lease %d times in %s, want each second of the outage", n, outage)
		}
		if n := count(t, w.metrics.outages); n != 10 {
			t.Errorf("counted %d failed rounds, want 10", n)
		}
	})
}

// Lanes that meet an outage together do not come back together: of many that wait
// for the same time no two wait equally long.
func TestOutageIsJittered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		waits := map[time.Duration]bool{}
		for range 50 {
			o, began := outage{tries: 4}, time.Now()
			o.since = began
			if !o.wait(t.Context(), newLease()) {
				t.Fatal("gave up")
			}
			waits[time.Since(began)] = true
		}
		if len(waits) < 45 {
			t.Errorf("50 waits of %d lengths", len(waits))
		}
	})
}

func TestDrainLeavesALaneItCannotServe(t *testing.T) {
	t.Parallel()
	broken := &contact.DataError{Code: contact.CodeDataError, Err: errBadRow}
	for _, c := range []struct {
		name  string
		step  string
		err   error
		want  end
		pause time.Duration
		after time.Duration
	}{
		{"postgres away", "apply", errAway, endOutage, 100 * time.Millisecond, patience},
		{"lane read in vain", "read", errAway, endOutage, 100 * time.Millisecond, patience},
		{"lane held", "apply", contact.ErrLaneHeld, endHeld, 500 * time.Millisecond, 0},
		{"fenced", "apply", contact.ErrFenced, endFenced, 0, 0},
		{"a failure that cannot be recorded", "fail", broken, endOutage, 100 * time.Millisecond, patience},
		{"lane held while recording", "fail", contact.ErrLaneHeld, endHeld, 500 * time.Millisecond, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes(1)
				f.refused[id(0)] = c.step == "fail"
				f.on = func(_ context.Context, name string) error {
					if name == c.step {
						return c.err
					}
					return nil
				}
				w := f.worker(t)
				_, why := w.drains.drain(t.Context(), testLane, 1)
				if why != c.want || f.pause != c.pause || f.owner != "" {
					t.Errorf("ended %q, pause %s, owner %q: want %q, %s and nobody", why, f.pause, f.owner, c.want, c.pause)
				}
				if took := time.Since(f.began); took < c.after || took > c.after+time.Second {
					t.Errorf("held on for %s, want about %s", took, c.after)
				}
				if n := count(t, w.metrics.drains.WithLabelValues(string(c.want))); n != 1 {
					t.Errorf("counted %d drains that ended %q, want 1", n, c.want)
				}
				if f.depth() != 1 || len(f.ledger) != 0 {
					t.Errorf("%d entries left, %d in the ledger: want the write untouched", f.depth(), len(f.ledger))
				}
			})
		})
	}
}

func TestDrainDoesNotHoldOnWhenTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(1)
		f.on = failFirst("apply", 1000)
		ctx, cancel := context.WithCancel(t.Context())
		var why end
		done := background(func() { _, why = f.worker(t).drains.drain(ctx, testLane, 1) })
		elapse(t.Context(), 5*time.Second)
		cancel()
		<-done
		if took := time.Since(f.began); why != endStopped || took > 5*time.Second {
			t.Errorf("ended %q after %s, want stopped in mid-wait", why, took)
		}
	})
}

func TestDrainLeavesALaneThatPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(1)
		f.on = func(_ context.Context, name string) error {
			if name == "apply" {
				panic("a bug")
			}
			return nil
		}
		if _, why := f.worker(t).drains.drain(t.Context(), testLane, 1); why != endBug || f.owner != "" || f.pause == 0 {
			t.Errorf("ended %q, owner %q, pause %s: want the lane left with a pause", why, f.owner, f.pause)
		}
	})
}

// misled is a store that answers nonsense.
type misled struct {
	*fakes
	answer contact.AppliedBatch
}

func (m misled) Apply(context.Context, contact.Lane, []contact.Entry) (contact.AppliedBatch, error) {
	return m.answer, nil
}

func TestDrainRefusesAnUnsoundAnswer(t *testing.T) {
	t.Parallel()
	for _, answer := range []contact.AppliedBatch{
		{},
		{Consumed: 2, Outcomes: make([]contact.Outcome, 2)},
		{Consumed: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakes(1)
			o := f.options()
			o.Store = misled{f, answer}
			w, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			if _, why := w.drains.drain(t.Context(), testLane, 1); why != endOutage || f.depth() != 1 {
				t.Errorf("ended %q with %d entries left, want an outage and nothing trimmed", why, f.depth())
			}
		})
	}
}
