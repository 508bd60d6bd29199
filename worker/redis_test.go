package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
	"patchlane/tasks/lane/lanetest"
)

// stack is a real Redis with lanes, an appender, and workers over a store.
type stack struct {
	server   *lanetest.Server
	rdb      *redis.Client
	lanes    *lane.Lanes
	asynq    asynq.RedisClientOpt
	appender *lane.Appender
	store    applier
	optouts  applier
	offsets  func(context.Context) (map[contact.Lane]contact.Offset, error)
	counts   contact.LaneCounts
	account  uuid.UUID

	mu sync.Mutex
	// swallow makes the rings of the appender get lost.
	swallow bool
	rung    []int64
}

// newStack starts a Redis. The store is memory unless set before the first worker.
func newStack(tb testing.TB, counts contact.LaneCounts) (*stack, *memory) {
	tb.Helper()
	m := newMemory()
	s := &stack{store: m, optouts: m, offsets: m.Offsets, counts: counts, account: uuid.New()}
	s.server = lanetest.Start(tb, true)
	s.rdb = s.server.Client(tb)
	s.asynq = asynq.RedisClientOpt{Addr: s.server.Addr()}
	s.lanes = lane.New(s.rdb, lane.Config{Counts: counts})
	ring := tasks.Ring(s.client(tb))
	s.appender = lane.NewAppender(s.lanes, lane.AppenderConfig{
		Ring: func(ctx context.Context, l contact.Lane, generation int64) error {
			s.mu.Lock()
			swallow := s.swallow
			s.rung = append(s.rung, generation)
			s.mu.Unlock()
			if swallow {
				return nil
			}
			return ring(ctx, l, generation)
		},
	})
	tb.Cleanup(func() {
		if err := s.appender.Close(context.WithoutCancel(tb.Context())); err != nil {
			tb.Errorf("close appender: %v", err)
		}
	})
	return s, m
}

func (s *stack) client(tb testing.TB) *asynq.Client {
	tb.Helper()
	c := asynq.NewClient(s.asynq)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// options are those of a worker over the stack.
func (s *stack) options(tb testing.TB) Options {
	tb.Helper()
	return Options{
		Lanes: s.lanes, Store: s.store, Optouts: s.optouts, Publish: s.lanes.Publish, Sweeper: s.lanes, Offsets: s.offsets,
		Ring: tasks.Ring(s.client(tb)), Redis: s.asynq, Logger: slog.New(slog.DiscardHandler),
		Concurrency: s.counts.Contact,
	}
}

// start starts a worker that ends with the test.
func (s *stack) start(tb testing.TB, change ...func(*Options)) *Worker {
	tb.Helper()
	o := s.options(tb)
	for _, c := range change {
		c(&o)
	}
	w, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	if err := w.Start(context.WithoutCancel(tb.Context())); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.stop(tb, w) })
	return w
}

func (s *stack) stop(tb testing.TB, w *Worker) {
	tb.Helper()
	if err := w.Stop(context.WithoutCancel(tb.Context())); err != nil {
		tb.Errorf("stop: %v", err)
	}
}

// patch makes a write that appends a token to a contact's notes.
func (s *stack) patch(tb testing.TB, to uuid.UUID, token string) *contact.Write {
	tb.Helper()
	id, err := contact.NewWriteID(time.Now(), s.lanes.Lane(to))
	if err != nil {
		tb.Fatal(err)
	}
	w := &contact.Write{
		ID: id, Account: s.account, Contact: to, Kind: contact.KindPatch, Source: contact.SourcePatch, Actor: "test",
	}
	w.Patch.NotesAppend = &token
	return w
}

// append adds n tokens to each contact, in order within each, and returns the
// write ids of each contact.
func (s *stack) append(tb testing.TB, contacts []uuid.UUID, n int) map[uuid.UUID][]uuid.UUID {
	tb.Helper()
	sent := make(map[uuid.UUID][]uuid.UUID, len(contacts))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, c := range contacts {
		wg.Go(func() {
			var ids []uuid.UUID
			for i := range n {
				w := s.patch(tb, c, fmt.Sprintf("t%d", i))
				if _, err := s.appender.Append(tb.Context(), w); err != nil {
					tb.Errorf("append: %v", err)
					return
				}
				ids = append(ids, w.ID)
			}
			mu.Lock()
			defer mu.Unlock()
			sent[c] = ids
		})
	}
	wg.Wait()
	return sent
}

// drained waits until every lane is empty and left.
func (s *stack) drained(tb testing.TB, limit time.Duration) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	for {
		stats, err := s.lanes.Stats(ctx)
		if err == nil && !slices.ContainsFunc(stats, func(l lane.Stat) bool { return l.Depth > 0 }) {
			return
		}
		if elapse(ctx, 10*time.Millisecond); ctx.Err() != nil {
			tb.Fatalf("lanes not empty within %s: %+v, %v", limit, stats, err)
		}
	}
}

// loseRings makes every ring of the appender get lost from now on.
func (s *stack) loseRings() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swallow = true
}

// rang waits until the appender has rung for these generations.
func (s *stack) rang(tb testing.TB, want []int64) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Second)
	defer cancel()
	for {
		s.mu.Lock()
		rung := slices.Clone(s.rung)
		s.mu.Unlock()
		if slices.Equal(rung, want) {
			return
		}
		if elapse(ctx, 10*time.Millisecond); ctx.Err() != nil {
			tb.Fatalf("rang for %v, want %v", rung, want)
		}
	}
}

func newContacts(n int) []uuid.UUID {
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.New()
	}
	return ids
}

// inOrder checks that each contact's writes were applied as they were sent.
func (m *memory) inOrder(tb testing.TB, sent map[uuid.UUID][]uuid.UUID) {
	tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for c, ids := range sent {
		if !slices.Equal(m.order[c], ids) {
			tb.Errorf("contact %s: applied %d writes, not the %d sent in their order", c, len(m.order[c]), len(ids))
		}
	}
	if m.crossed > 0 {
		tb.Errorf("%d contacts were applied by two transactions at once", m.crossed)
	}
}

func TestTwoWorkersKeepTheOrder(t *testing.T) {
	t.Parallel()
	s, m := newStack(t, contact.LaneCounts{Contact: 8, Address: 1})
	s.start(t)
	s.start(t)
	sent := s.append(t, newContacts(50), 100)
	m.await(t, 5000, 20*time.Second)
	m.inOrder(t, sent)
	s.drained(t, 5*time.Second)
}

func TestIdleWriteIsAppliedAtOnce(t *testing.T) {
	t.Parallel()
	s, m := newStack(t, contact.LaneCounts{Contact: 4, Address: 1})
	s.start(t)
	s.append(t, newContacts(1), 1) // warm
	m.await(t, 1, 5*time.Second)
	s.drained(t, 5*time.Second)
	best := time.Hour
	for i := range 5 {
		began := time.Now()
		s.append(t, newContacts(1), 1)
		m.await(t, i+2, 5*time.Second)
		best = min(best, time.Since(began))
	}
	if best > 100*time.Millisecond {
		t.Errorf("an idle lane answers after %s at best: is asynq polled every 10 ms?", best)
	}
}

func TestSweepCuresALostRing(t *testing.T) {
	t.Parallel()
	s, m := newStack(t, contact.LaneCounts{Contact: 4, Address: 1})
	s.start(t)
	s.loseRings()
	began := time.Now()
	s.append(t, newContacts(1), 3)
	m.await(t, 3, 10*time.Second)
	if took := m.last.Sub(began); took > 3*time.Second {
		t.Errorf("cured after %s, want 3 s", took)
	}
}

func TestSweepCuresAPausedQueue(t *testing.T) {
	t.Parallel()
	s, m := newStack(t, contact.LaneCounts{Contact: 4, Address: 1})
	w := s.start(t)
	inspector := asynq.NewInspector(s.asynq)
	t.Cleanup(func() { _ = inspector.Close() })
	if err := inspector.PauseQueue(tasks.QueueWrites); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.append(t, newContacts(1), 3)
	m.await(t, 3, 10*time.Second)
	if took := m.last.Sub(began); took > 3*time.Second {
		t.Errorf("cured after %s, want 3 s", took)
	}
	if n := count(t, w.metrics.unpaused); n != 1 {
		t.Errorf("counted %d unpaused queues, want 1", n)
	}
}

func TestSweepDrainsWhenAsynqIsBroken(t *testing.T) {
	t.Parallel()
	s, m := newStack(t, contact.LaneCounts{Contact: 4, Address: 1})
	s.loseRings()
	w := s.start(t, func(o *Options) {
		o.Ring = func(context.Context, contact.Lane, int64) error { return nil }
	})
	sent := s.append(t, newContacts(4), 10)
	m.await(t, 40, 15*time.Second)
	m.inOrder(t, sent)
	s.stop(t, w) // a take-over is counted when it ends
	if n := count(t, w.metrics.takeovers); n == 0 {
		t.Error("counted no take-over")
	}
}

// quiet is a sweeper that finds nothing, so that a ring alone must do.
type quiet struct{}

func (quiet) Sweep(context.Context) ([]contact.Stalled, error) { return nil, nil }

func (quiet) Raise(context.Context, map[contact.Lane]contact.Offset) ([]contact.Lane, error) {
	return nil, nil
}

func TestOlderGenerationIsServed(t *testing.T) {
	t.Parallel()
	s, m := newStack(t, contact.LaneCounts{Contact: 1, Address: 1})
	s.loseRings()
	s.append(t, newContacts(1), 1)
	elapse(t.Context(), lane.ClaimTTL+50*time.Millisecond) // now the next append rings a newer one
	s.append(t, newContacts(1), 1)
	s.rang(t, []int64{1, 2})
	s.start(t, func(o *Options) { o.Sweeper = quiet{} })
	if err := tasks.Ring(s.client(t))(t.Context(), contact.Lane{Kind: 'c', N: 0}, 1); err != nil {
		t.Fatal(err)
	}
	m.await(t, 2, 5*time.Second)
}

func TestStopUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	s, m := newStack(t, contact.LaneCounts{Contact: 8, Address: 1})
	first := s.start(t)
	var sent map[uuid.UUID][]uuid.UUID
	done := background(func() { sent = s.append(t, newContacts(20), 150) })
	m.await(t, 500, 20*time.Second)
	second := s.start(t)
	s.stop(t, first)
	s.stop(t, first)
	m.await(t, 1500, 20*time.Second)
	third := s.start(t)
	s.stop(t, second)
	<-done
	began := time.Now()
	m.await(t, 3000, 20*time.Second)
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("the rest took %s: lanes that are left must be taken over at once", took)
	}
	s.stop(t, third)
	m.inOrder(t, sent)
}

func TestRedisIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s, m := newStack(t, contact.LaneCounts{Contact: 4, Address: 1})
	s.start(t)
	contacts := newContacts(8)
	sent := s.append(t, contacts, 200)
	s.server.Kill()
	s.server.Restart()
	back := time.Now()
	m.await(t, 1600, 20*time.Second)
	if took := m.last.Sub(back); took > 3*time.Second {
		t.Errorf("went on %s after Redis was back", took)
	}
	m.inOrder(t, sent)
	s.drained(t, 10*time.Second)
}
