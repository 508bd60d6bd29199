package limit_test

import (
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane/lanetest"
	"patchlane/tasks/limit"
)

func perMinute(n int) contact.Rate {
	return contact.Rate{Name: "minute", Limit: n, Period: time.Minute}
}

func perDay(n int) contact.Rate { return contact.Rate{Name: "day", Limit: n, Period: 24 * time.Hour} }

func perSecond(n int) contact.Rate {
	return contact.Rate{Name: "second", Limit: n, Period: time.Second}
}

// watch is a clock that tests turn.
type watch struct{ now atomic.Int64 }

func (w *watch) time() time.Time         { return time.UnixMicro(w.now.Load()) }
func (w *watch) advance(d time.Duration) { w.now.Add(d.Microseconds()) }

func (d *desk) watch() *watch {
	w := &watch{}
	w.now.Store(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC).UnixMicro())
	d.SetClock(w.time)
	return w
}

func TestWholeAllowanceAtOnceThenEvenly(t *testing.T) {
	t.Parallel()
	for _, rate := range []contact.Rate{
		perSecond(300), perMinute(1), perMinute(7), perMinute(60), perDay(10_000), perDay(9973), perMinute(1_000_000),
	} {
		d := setup(t)
		clock := d.watch()
		toll := contact.Toll{Account: d.account, Key: uuid.New(), Rates: []contact.Rate{rate}, Units: 1}
		all := toll
		all.Units = rate.Limit + 1
		g := d.take(d.Limiter, &all)
		every := time.Duration(int64(rate.Period) / int64(rate.Limit))
		if g.Allowed != rate.Limit || g.Quotas[0].Remaining != 0 || g.Quotas[0].Reset != rate.Period ||
			g.RetryAfter < every-time.Microsecond || g.RetryAfter > every+time.Millisecond {
			t.Errorf("%v: granted %+v", rate, g)
		}
		if g := d.take(d.Limiter, &toll); g.Allowed != 0 || g.RetryAfter == 0 {
			t.Errorf("%v: one more: %+v", rate, g)
		}
		clock.advance(g.RetryAfter - 2*time.Millisecond)
		if g := d.take(d.Limiter, &toll); every > 2*time.Millisecond && g.Allowed != 0 {
			t.Errorf("%v: too soon: %+v", rate, g)
		}
		clock.advance(3 * time.Millisecond)
		if g := d.take(d.Limiter, &toll); g.Allowed != 1 {
			t.Errorf("%v: after the pause: %+v", rate, g)
		}
		clock.advance(rate.Period + time.Millisecond)
		if g := d.take(d.Limiter, &all); g.Allowed != rate.Limit {
			t.Errorf("%v: after a period: %+v", rate, g)
		}
	}
}

// A request has room in every rate or is counted in none.
func TestTwoRates(t *testing.T) {
	t.Parallel()
	d := setup(t)
	clock := d.watch()
	toll := contact.Toll{Account: d.account, Key: uuid.New(), Rates: []contact.Rate{perMinute(5), perDay(8)}, Units: 4}
	if g := d.take(d.Limiter, &toll); g.Allowed != 4 || g.Quotas[0].Remaining != 1 || g.Quotas[1].Remaining != 4 {
		t.Fatalf("first %+v", g)
	}
	if g := d.take(d.Limiter, &toll); g.Allowed != 1 || g.Quotas[1].Remaining != 3 || g.RetryAfter > 13*time.Second {
		t.Fatalf("second %+v", g)
	}
	clock.advance(time.Minute)
	g := d.take(d.Limiter, &toll)
	if g.Allowed != 3 || g.Quotas[0].Remaining != 2 || g.Quotas[1].Remaining != 0 || g.RetryAfter < time.Hour {
		t.Fatalf("third %+v", g)
	}
	other := toll
	other.Key = uuid.New()
	if g := d.take(d.Limiter, &other); g.Allowed != 4 {
		t.Errorf("another key shares the allowance: %+v", g)
	}
}

// A clock that is set back costs nothing that was used and does not stop the
// refill.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	d := setup(t)
	clock := d.watch()
	toll := contact.Toll{Account: d.account, Key: uuid.New(), Rates: []contact.Rate{perMinute(2)}, Units: 2}
	d.take(d.Limiter, &toll)
	clock.advance(-time.Hour)
	if g := d.take(d.Limiter, &toll); g.Allowed != 0 {
		t.Errorf("set back: %+v", g)
	}
	clock.advance(time.Minute)
	if g := d.take(d.Limiter, &toll); g.Allowed != 0 && g.Allowed != 2 {
		t.Errorf("a minute later: %+v", g)
	}
	clock.advance(time.Minute)
	if g := d.take(d.Limiter, &toll); g.Allowed == 0 {
		t.Errorf("two minutes later: %+v", g)
	}
}

// The script against GCRA as it is written in books, in exact numbers: a
// theoretical arrival time that each request moves by period/limit and that may
// run ahead of the clock by a period.
func TestRatesEqualTheModel(t *testing.T) {
	t.Parallel()
	d := setup(t)
	clock := d.watch()
	rapid.Check(t, func(r *rapid.T) {
		rates := []contact.Rate{perMinute(rapid.IntRange(1, 200).Draw(r, "minute")), perDay(rapid.IntRange(1, 400).Draw(r, "day"))}
		toll := contact.Toll{Account: d.account, Key: uuid.New(), Rates: rates}
		arrival := []*big.Rat{new(big.Rat), new(big.Rat)}
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			clock.advance(time.Duration(rapid.IntRange(0, 90_000).Draw(r, "pause")) * time.Millisecond)
			toll.Units = rapid.IntRange(1, 60).Draw(r, "units")
			want := 0
			for ; want < toll.Units; want++ {
				next := []*big.Rat{}
				for i, rate := range rates {
					now := big.NewRat(clock.now.Load()/1000, 1)
					if arrival[i].Cmp(now) < 0 {
						arrival[i].Set(now)
					}
					moved := new(big.Rat).Add(arrival[i], big.NewRat(rate.Period.Milliseconds(), int64(rate.Limit)))
					ahead := new(big.Rat).Sub(moved, now)
					if ahead.Cmp(big.NewRat(rate.Period.Milliseconds(), 1)) <= 0 {
						next = append(next, moved)
					}
				}
				if len(next) < len(rates) {
					break
				}
				arrival = next
			}
			if g := d.take(d.Limiter, &toll); g.Allowed != want {
				r.Fatalf("allowed %d, want %d: %+v", g.Allowed, want, g)
			}
		}
	})
}

// Two replicas and many callers at once: exactly the allowance is granted.
func TestExactAcrossReplicas(t *testing.T) {
	t.Parallel()
	d := setup(t)
	replicas := []*limit.Limiter{d.Limiter, d.replica()}
	key := uuid.New()
	var allowed atomic.Int64
	var callers sync.WaitGroup
	for i := range 64 {
		callers.Go(func() {
			for range 20 {
				toll := &contact.Toll{Account: d.account, Key: key, Rates: []contact.Rate{perMinute(100_000), perDay(777)}, Units: 1}
				allowed.Add(int64(d.take(replicas[i%2], toll).Allowed))
			}
		})
	}
	callers.Wait()
	if allowed.Load() != 777 {
		t.Errorf("%d allowed, want 777", allowed.Load())
	}
}

func TestRatesOnACluster(t *testing.T) {
	t.Parallel()
	d := setupOn(t, lanetest.Cluster(t))
	for range 20 {
		account := uuid.New()
		g := d.take(d.Limiter, &contact.Toll{
			Account: account, Key: uuid.New(), Rates: []contact.Rate{perMinute(3), perDay(2)}, Units: 3,
			Cost: 2, Holds: []uuid.UUID{uuid.New(), uuid.New(), uuid.New()},
		})
		if g.Allowed != 2 || g.Paid != 2 || g.Credits != contact.Unmetered {
			t.Errorf("granted %+v", g)
		}
	}
}
