package limit_test

import (
	"context"
	"log/slog"
	"slices"
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

func TestChargeSettleRelease(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.set(5)
	first, g := d.charge(1, 2)
	if g.Paid != 1 || g.Credits != 3 || !g.Metered {
		t.Fatalf("first %+v", g)
	}
	second, g := d.charge(2, 2)
	if g.Allowed != 2 || g.Paid != 1 || g.Credits != 1 {
		t.Fatalf("second %+v", g)
	}
	if _, g := d.charge(1, 2); g.Paid != 0 || g.Credits != 1 {
		t.Fatalf("third %+v", g)
	}
	// Asking again with the same id charges nothing again.
	again := &contact.Toll{Account: d.account, Units: 1, Cost: 2, Holds: first}
	if g := d.take(d.Limiter, again); g.Paid != 1 || g.Credits != 1 {
		t.Fatalf("again %+v", g)
	}
	d.Settle(t.Context(), d.account, first)
	for range 2 {
		left, err := d.Release(t.Context(), d.account, slices.Concat(first, second))
		if err != nil || left != 3 {
			t.Fatalf("released: %d, %v; want 3: a settled charge stands, and none is given back twice", left, err)
		}
	}
	if got := d.rdb.Keys(t.Context(), "*:holds").Val(); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestNotMetered(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for range 3 {
		ids, g := d.charge(3, 2)
		if g.Paid != 3 || g.Credits != contact.Unmetered || g.Metered {
			t.Fatalf("granted %+v", g)
		}
		if left, err := d.Release(t.Context(), d.account, ids); err != nil || left != contact.Unmetered {
			t.Fatalf("released %d, %v", left, err)
		}
	}
	if d.books.asked != 1 || d.left() != contact.Unmetered {
		t.Errorf("Postgres was asked %d times, left %d", d.books.asked, d.left())
	}
	d.set(1)
	if _, g := d.charge(1, 2); g.Paid != 0 || g.Credits != 1 {
		t.Errorf("credits do not count from the next call on: %+v", g)
	}
}

// Any interleaving of charges, settlements, releases and new figures keeps the
// balance at what was given less what stands, never below zero, and refuses
// exactly what cannot be paid.
func TestCreditsProperty(t *testing.T) {
	t.Parallel()
	d := setup(t)
	replicas := []*limit.Limiter{d.Limiter, d.replica()}
	rapid.Check(t, func(r *rapid.T) {
		d.account = uuid.New()
		left := rapid.Int64Range(0, 12).Draw(r, "given")
		d.set(left)
		open := map[uuid.UUID]int64{} // of the present figure
		var closed []uuid.UUID        // settled, released, refused or of an older figure
		pick := func() uuid.UUID {
			ids := slices.Clone(closed)
			for id := range open {
				ids = append(ids, id)
			}
			if len(ids) == 0 {
				return uuid.New()
			}
			slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
			return rapid.SampledFrom(ids).Draw(r, "id")
		}
		r.Repeat(map[string]func(*rapid.T){
			"charge": func(r *rapid.T) {
				l := rapid.SampledFrom(replicas).Draw(r, "replica")
				cost, units := rapid.IntRange(1, 2).Draw(r, "cost"), rapid.IntRange(1, 4).Draw(r, "units")
				ids := make([]uuid.UUID, units)
				want := 0
				for i := range ids {
					ids[i] = uuid.New()
					if want == i && left >= int64(cost) {
						left, want, open[ids[i]] = left-int64(cost), want+1, int64(cost)
					} else {
						closed = append(closed, ids[i])
					}
				}
				g := d.take(l, &contact.Toll{Account: d.account, Units: units, Cost: cost, Holds: ids})
				if g.Paid != want || g.Credits != left {
					r.Fatalf("paid %d with %d left, want %d with %d", g.Paid, g.Credits, want, left)
				}
			},
			"settle": func(r *rapid.T) {
				id := pick()
				delete(open, id)
				closed = append(closed, id)
				l := rapid.SampledFrom(replicas).Draw(r, "replica")
				l.Settle(t.Context(), d.account, []uuid.UUID{id})
				_, _ = l.Release(t.Context(), d.account, nil) // behind it in line
			},
			"release": func(r *rapid.T) {
				id := pick()
				left += open[id]
				delete(open, id)
				closed = append(closed, id)
				l := rapid.SampledFrom(replicas).Draw(r, "replica")
				if got, err := l.Release(t.Context(), d.account, []uuid.UUID{id}); err != nil || got != left {
					r.Fatalf("left %d, %v; want %d", got, err, left)
				}
			},
			"set": func(r *rapid.T) {
				left = rapid.Int64Range(0, 12).Draw(r, "given")
				d.set(left)
				for id := range open {
					closed = append(closed, id)
				}
				clear(open)
			},
			"": func(r *rapid.T) {
				if got := d.left(); got != left || got < 0 {
					r.Fatalf("left %d, want %d", got, left)
				}
			},
		})
	})
}

// Many callers on two replicas: what was paid is exactly what was given, whatever
// was given back meanwhile.
func TestCreditsAreExactAcrossReplicas(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.set(501)
	replicas := []*limit.Limiter{d.Limiter, d.replica()}
	var kept atomic.Int64
	var callers sync.WaitGroup
	for i := range 32 {
		callers.Go(func() {
			for n := range 40 {
				l, id := replicas[i%2], []uuid.UUID{uuid.New()}
				g := d.take(l, &contact.Toll{Account: d.account, Units: 1, Cost: 2, Holds: id})
				if g.Credits < 0 {
					t.Errorf("below zero: %+v", g)
				}
				switch {
				case g.Paid == 0:
				case n%3 == 0:
					if _, err := l.Release(t.Context(), d.account, id); err != nil {
						t.Error(err)
					}
				default:
					kept.Add(2)
					l.Settle(t.Context(), d.account, id)
				}
			}
		})
	}
	callers.Wait()
	if got := d.left(); got != 501-kept.Load() || got > 1 {
		t.Errorf("%d left after %d were charged", got, kept.Load())
	}
}

// A reply that is lost after the charge was made: the repeat is not charged.
func TestALostReplyIsNotChargedTwice(t *testing.T) {
	t.Parallel()
	server := lanetest.Start(t, false)
	proxy := lanetest.NewProxy(t, server.Addr())
	d := setupOn(t, lanetest.Dial(t, proxy.Addr()))
	d.set(10)
	d.charge(1, 2) // the server knows the script now
	toll := &contact.Toll{Account: d.account, Units: 1, Cost: 2, Holds: []uuid.UUID{uuid.New()}}
	proxy.LoseReplies("evalsha", 1)
	if g, err := d.Take(t.Context(), toll); err == nil {
		t.Fatalf("granted %+v; want the reply lost", g)
	}
	var g contact.Grant
	for err := errAway; err != nil; { // a pause follows an outage
		g, err = d.Take(t.Context(), toll)
	}
	if g.Paid != 1 || g.Credits != 6 {
		t.Errorf("repeat %+v", g)
	}
}

// What a lost process left behind is decided by whether the write came in.
func TestKeeperDecides(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.set(10)
	clock := d.watch()
	old, _ := d.charge(2, 2)
	clock.advance(limit.OrphanAge + time.Second)
	young, _ := d.charge(1, 1)
	keeper := limit.NewKeeper(limit.KeeperConfig{
		Limiter: d.Limiter, Logger: slog.New(slog.DiscardHandler),
		CameIn: func(_ context.Context, account, id uuid.UUID) (bool, error) {
			if account != d.account || id == young[0] {
				t.Errorf("asked for %s of %s", id, account)
			}
			return id == old[0], nil
		},
	})
	for range 2 {
		if err := keeper.Turn(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left := d.left(); left != 7 {
			t.Errorf("%d left, want 7: one of two old charges stands, and the young one", left)
		}
	}
}

// Nothing is decided while somebody who may know cannot be asked.
func TestKeeperWaitsForAnAnswer(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.set(10)
	clock := d.watch()
	d.charge(1, 2)
	clock.advance(limit.OrphanAge + time.Second)
	keeper := limit.NewKeeper(limit.KeeperConfig{
		Limiter: d.Limiter, Logger: slog.New(slog.DiscardHandler),
		CameIn: func(context.Context, uuid.UUID, uuid.UUID) (bool, error) { return false, errAway },
	})
	if err := keeper.Turn(t.Context()); err == nil || d.left() != 8 {
		t.Errorf("turn: %v, left %d", err, d.left())
	}
}

func TestKeeperCopiesAndRefills(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.set(10)
	keeper := limit.NewKeeper(limit.KeeperConfig{
		Limiter: d.Limiter, Logger: slog.New(slog.DiscardHandler),
		CameIn: func(context.Context, uuid.UUID, uuid.UUID) (bool, error) { return true, nil },
	})
	turn := func() {
		t.Helper()
		if err := keeper.Turn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d.charge(3, 2)
	turn()
	if got := d.books.rows[d.account].Left; got != 4 {
		t.Fatalf("%d in Postgres, want 4", got)
	}
	// Redis comes up empty: the first call already finds the copy.
	d.rdb.FlushAll(t.Context())
	if _, g := d.charge(1, 2); g.Paid != 1 || g.Credits != 2 {
		t.Fatalf("after the loss: %+v", g)
	}
	turn()
	if got := d.books.rows[d.account].Left; got != 2 {
		t.Errorf("%d in Postgres, want 2", got)
	}
	// A figure that reached Postgres alone reaches Redis too.
	d.books.give(d.account, 100)
	turn()
	if d.left() != 100 {
		t.Errorf("%d left, want 100", d.left())
	}
	// An older one does not come back.
	if err := d.SetBalance(t.Context(), contact.Balance{Account: d.account, Left: 5, Epoch: 1}); err != nil || d.left() != 100 {
		t.Errorf("%d left, %v", d.left(), err)
	}
}

func TestPostgresAway(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.set(5)
	d.books.set(func() { d.books.away = true })
	if _, g := d.charge(1, 2); g.Paid != 1 || g.Credits != 3 {
		t.Errorf("charged %+v", g)
	}
	d.account = uuid.New()
	if _, g := d.charge(2, 2); g.Paid != 2 || g.Metered || g.Credits != contact.Unmetered {
		t.Errorf("nobody knows the account: %+v", g)
	}
	// It is not remembered as not metered.
	d.books.set(func() { d.books.away = false })
	d.books.give(d.account, 1)
	if _, g := d.charge(1, 2); g.Paid != 0 || g.Credits != 1 {
		t.Errorf("Postgres is back: %+v", g)
	}
}

func TestRedisAway(t *testing.T) {
	t.Parallel()
	server := lanetest.Start(t, true)
	d := setupOn(t, server.Client(t))
	d.set(10)
	key := uuid.New()
	toll := func() *contact.Toll {
		return &contact.Toll{
			Account: d.account, Key: key, Rates: []contact.Rate{perDay(5)},
			Units: 1, Cost: 2, Holds: []uuid.UUID{uuid.New()},
		}
	}
	for n := range 2 {
		if g := d.take(d.Limiter, toll()); g.Credits != int64(8-2*n) || g.Quotas[0].Remaining != 4-n {
			t.Fatalf("granted %+v", g)
		}
	}
	server.Kill()
	for range 3 {
		started := time.Now()
		if g, err := d.Take(t.Context(), toll()); err == nil {
			t.Errorf("granted %+v", g)
		}
		if took := time.Since(started); took > 2*time.Second {
			t.Errorf("an outage holds a request up for %s", took)
		}
	}
	server.Restart()
	// Balance and rates were on disk; of the rates but the last second.
	var g contact.Grant
	for err := errAway; err != nil; {
		g, err = d.Take(t.Context(), toll())
	}
	if g.Credits != 4 || g.Quotas[0].Remaining != 2 && g.Quotas[0].Remaining != 3 {
		t.Errorf("after the restart %+v", g)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	d := setup(t)
	if err := d.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	ids := []uuid.UUID{uuid.New()}
	if _, err := d.Take(t.Context(), &contact.Toll{Account: d.account, Units: 1, Cost: 1, Holds: ids}); err == nil {
		t.Error("a closed limiter grants")
	}
	d.Settle(t.Context(), d.account, ids)
}
