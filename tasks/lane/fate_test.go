package lane_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
	"patchlane/tasks/lane/lanetest"
)

// throughProxy returns a bundle whose client stands behind a proxy, and a bundle
// beside it that reads directly.
func throughProxy(t *testing.T) (behind, direct *bundle, p *lanetest.Proxy) {
	t.Helper()
	s := lanetest.Start(t, false)
	p = lanetest.NewProxy(t, s.Addr())
	return setupOn(t, lanetest.Dial(t, p.Addr())), setupOn(t, s.Client(t)), p
}

// The reply to an append is lost. With an idempotency key there is one entry;
// without, the same write id stands twice, and the ledger drops the second. The
// caller gets its receipt either way, and the lane is rung for.
func TestFateReplyLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*contact.Write)
		twins  int
	}{
		"with key":    {keyed("k", "body"), 1},
		"without key": {func(*contact.Write) {}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, direct, p := throughProxy(t)
			a := b.appender(t)
			mustAppend(t, a, write(t, b)) // the script is known from now on
			w := write(t, b, c.change)
			p.LoseReplies(string(w.ID[:]), 1)
			r := mustAppend(t, a, w)
			if p.Left() != 0 {
				t.Fatal("no reply was lost")
			}
			if r.WriteID != w.ID || r.Replayed {
				t.Errorf("receipt %+v, want the write's own", r)
			}
			found := 0
			for _, e := range direct.all(t) {
				if e.ID == w.ID {
					found++
				}
			}
			if found != c.twins {
				t.Errorf("%d entries with the write's id, want %d", found, c.twins)
			}
			eventually(t, "a ring for the repeat", time.Second, func() bool {
				rung := b.bell.rung()
				return len(rung) > 0 && rung[len(rung)-1] == 2
			})
		})
	}
}

// A reply that is lost again and again ends in "unknown", and the same key then
// finds the write.
func TestFateStaysUnknown(t *testing.T) {
	t.Parallel()
	b, direct, p := throughProxy(t)
	a := b.appender(t, func(c *lane.AppenderConfig) { c.RepeatTime = 300 * time.Millisecond })
	mustAppend(t, a, write(t, b)) // the script is known from now on
	ref := newRef()
	w := write(t, b, to(ref), keyed("k", "body"))
	p.LoseReplies(string(w.ID[:]), 1_000_000)
	_, err := a.Append(t.Context(), w)
	e := wantCode(t, err, contact.CodeQueueUnavailable)
	if e.RetryAfter == 0 || e.Message == "" {
		t.Errorf("no instruction in %+v", e)
	}
	p.LoseReplies("", 0)
	r := mustAppend(t, a, write(t, b, to(ref), keyed("k", "body")))
	if !r.Replayed || r.WriteID != w.ID {
		t.Errorf("receipt %+v, want a replay of %s", r, w.ID)
	}
	if n := len(direct.all(t)); n != 2 {
		t.Errorf("%d entries, want 2", n)
	}
}

// The first run filled the lane: its repeat passes the limit.
func TestFateRepeatPassesLimit(t *testing.T) {
	t.Parallel()
	s := lanetest.Start(t, false)
	p := lanetest.NewProxy(t, s.Addr())
	b := setupOn(t, lanetest.Dial(t, p.Addr()), func(c *lane.Config) { c.Limit, c.Share = 2, 1 })
	a := b.appender(t)
	mustAppend(t, a, write(t, b))
	w := write(t, b)
	p.LoseReplies(string(w.ID[:]), 1)
	mustAppend(t, a, w)
	_, err := a.Append(t.Context(), write(t, b))
	wantCode(t, err, contact.CodeOverloaded)
}

func TestFateRedisAway(t *testing.T) {
	t.Parallel()
	s := lanetest.Start(t, false)
	b := setupOn(t, s.Client(t))
	a := b.appender(t)
	s.Kill()
	start := time.Now()
	_, err := a.Append(t.Context(), write(t, b))
	wantCode(t, err, contact.CodeQueueUnavailable)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("refused after %v", took)
	}
	if _, err := b.lanes.Born(t.Context(), newRef()); contact.CodeOf(err) != contact.CodeQueueUnavailable {
		t.Errorf("born: %v", err)
	}
	if _, _, err := b.lanes.Find(t.Context(), uuid.New(), write(t, b).ID); contact.CodeOf(err) != contact.CodeQueueUnavailable {
		t.Errorf("find: %v", err)
	}
	s.Restart()
	eventually(t, "appended after the restart", 5*time.Second, func() bool {
		_, err := a.Append(t.Context(), write(t, b))
		return err == nil
	})
}

// Answers that prove that nothing ran are given at once.
func TestFateRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	mustAppend(t, a, write(t, b))
	b.rdb.ConfigSet(t.Context(), "maxmemory", "1")
	start := time.Now()
	_, err := a.Append(t.Context(), write(t, b))
	wantCode(t, err, contact.CodeQueueUnavailable)
	if took := time.Since(start); took > time.Second {
		t.Errorf("out of memory: refused after %v", took)
	}
	b.rdb.ConfigSet(t.Context(), "maxmemory", "0")
	if n := len(b.all(t)); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
	b.rdb.ScriptFlush(t.Context())
	mustAppend(t, a, write(t, b))
}

// Redis is killed under load and restarted: everything acknowledged is there, in
// order, and whatever is there was sent.
func TestFateKilledRedis(t *testing.T) {
	t.Parallel()
	s := lanetest.Start(t, true)
	b := setupOn(t, s.Client(t))
	a := b.appender(t)
	stop := make(chan struct{})
	const clients = 16
	acked := make([][]uuid.UUID, clients)
	var total atomic.Int64
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				w := write(t, b)
				if _, err := a.Append(t.Context(), w); err == nil {
					acked[c] = append(acked[c], w.ID)
					total.Add(1)
				} else if contact.CodeOf(err) != contact.CodeQueueUnavailable {
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	for round := int64(1); round <= 3; round++ {
		eventually(t, "appends", 10*time.Second, func() bool { return total.Load() >= round*500 })
		s.Kill()
		s.Restart()
	}
	close(stop)
	wg.Wait()
	// A pool that saw many failed dials goes on refusing for up to a second.
	eventually(t, "ping", 10*time.Second, func() bool { return b.rdb.Ping(t.Context()).Err() == nil })
	place := map[uuid.UUID]int{}
	for i, e := range b.all(t) {
		if _, twin := place[e.ID]; !twin {
			place[e.ID] = i
		}
	}
	for c, ids := range acked {
		last := -1
		for _, id := range ids {
			at, there := place[id]
			if !there {
				t.Fatalf("client %d: acknowledged write %s is lost", c, id)
			}
			if at <= last {
				t.Fatalf("client %d: write %s stands before an earlier one", c, id)
			}
			last = at
		}
	}
}

// A server that answers nothing (a half-open partition) is given up in bounded
// time, by those on their way and by those who wait behind them.
func TestFateNoAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t, func(c *lane.AppenderConfig) {
		c.CallTime, c.RepeatTime = 50*time.Millisecond, 200*time.Millisecond
	})
	mustAppend(t, a, write(t, b))
	pause := b.rdb.Do(t.Context(), "CLIENT", "PAUSE", "2000", "ALL")
	if err := pause.Err(); err != nil {
		t.Fatalf("pause: %v", err)
	}
	start := time.Now()
	var wg sync.WaitGroup
	for range 50 {
		w := write(t, b)
		wg.Go(func() {
			if _, err := a.Append(t.Context(), w); contact.CodeOf(err) != contact.CodeQueueUnavailable {
				t.Errorf("append: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > time.Second {
		t.Errorf("given up after %v", took)
	}
	eventually(t, "appended after the pause", 10*time.Second, func() bool {
		_, err := a.Append(t.Context(), write(t, b))
		return err == nil
	})
}
