package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestLostLeaseEndsTheDrainAfterItsStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(100)
		f.takes = 3 * time.Second
		done := background(func() {
			if _, why := f.worker(t).drains.drain(t.Context(), testLane, 1); why != endLost {
				t.Errorf("ended %q, want lost", why)
			}
		})
		elapse(t.Context(), 500*time.Millisecond)
		f.mu.Lock()
		f.owner = "another"
		f.mu.Unlock()
		<-done
		if len(f.applied) != 16 || f.depth() != 84 {
			t.Errorf("applied %d, left %d: want the step in flight finished and no other begun", len(f.applied), f.depth())
		}
		if f.owner != "another" {
			t.Errorf("took the lane from its owner: %q", f.owner)
		}
		if n := len(f.times("renew")); n != 1 {
			t.Errorf("renewed %d times, want no more once the lease was lost", n)
		}
	})
}

func TestLeaseThatCannotBeRenewedRunsOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(5000)
		f.takes = 100 * time.Millisecond
		f.on = func(_ context.Context, name string) error {
			if name == "renew" || name == "read" && time.Since(f.began) > time.Second {
				return errAway
			}
			return nil
		}
		w := f.worker(t)
		_, why := w.drains.drain(t.Context(), testLane, 1)
		took := time.Since(f.began)
		if why != endLost && why != endOutage || took > leaseTTL+100*time.Millisecond {
			t.Errorf("ended %q after %s, want before the lease may be another's", why, took)
		}
	})
}

func TestLeaseIsNotRenewedForAStuckStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(1)
		f.on = func(ctx context.Context, name string) error {
			if name == "apply" && len(f.times("apply")) == 1 {
				elapse(context.WithoutCancel(ctx), time.Minute) // deaf to its deadline
			}
			return nil
		}
		f.worker(t).drains.drain(t.Context(), testLane, 1)
		for _, at := range f.times("renew") {
			if at > storeStep+renewEvery && at < time.Minute {
				t.Errorf("renewed at %s, past the deadline of the step", at)
			}
		}
	})
}

func TestRenewalThatFailsIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(1)
		f.takes = 4500 * time.Millisecond
		f.on = failFirst("renew", 3)
		if _, why := f.worker(t).drains.drain(t.Context(), testLane, 1); why == endLost {
			t.Error("gave up the lease for renewals whose answer is not known")
		}
		if n := len(f.times("renew")); n != 4 {
			t.Errorf("renewed %d times, want each second", n)
		}
		f.allApplied(t, 1)
	})
}
