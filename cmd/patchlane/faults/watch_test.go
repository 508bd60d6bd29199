package faults

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// lanes of a database that was migrated without saying any.
const (
	contactLanes = 32
	addressLanes = 8
)

// laneLogs lists the streams of all lanes by the lanes' names.
func laneLogs() map[string]string {
	logs := map[string]string{}
	for n := range contactLanes {
		logs[fmt.Sprintf("c%03d", n)] = fmt.Sprintf("{c:%03d}:log", n)
	}
	for n := range addressLanes {
		logs[fmt.Sprintf("a%03d", n)] = fmt.Sprintf("{a:%02d}:log", n)
	}
	return logs
}

// watch looks at the head of every lane, many times a second, and keeps the
// longest time that one of them stood still: what a client of that lane had to
// wait for somebody to take it over.
type watch struct {
	rdb  *redis.Client
	logs map[string]string
	wg   sync.WaitGroup
	stop context.CancelFunc

	mu    sync.Mutex
	heads map[string]head
	// from is the moment from which standstill counts.
	from  time.Time
	worst time.Duration
	where string
}

// head is the first entry of a lane, and since when it is that.
type head struct {
	id    string
	since time.Time
}

// watchEvery is short against what is measured.
const watchEvery = 20 * time.Millisecond

// watch starts to look; the test ends it.
func (s *stack) watch(tb testing.TB) *watch {
	tb.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	w := &watch{rdb: s.direct(tb), logs: laneLogs(), stop: stop, heads: map[string]head{}, from: time.Now()}
	w.wg.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			w.look(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	tb.Cleanup(w.end)
	return w
}

func (w *watch) end() {
	w.stop()
	w.wg.Wait()
}

// since makes standstill count from now on, and forgets what was before.
func (w *watch) since(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from, w.worst, w.where = t, 0, ""
}

// standstill is the longest time that a lane with entries stood still, and the
// lane. A lane that still stands counts up to now.
func (w *watch) standstill() (time.Duration, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for lane, h := range w.heads {
		w.moved(lane, h, time.Now())
	}
	return w.worst, w.where
}

func (w *watch) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	cmds := make(map[string]*redis.XMessageSliceCmd, len(w.logs))
	_, err := w.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for lane, log := range w.logs {
			cmds[lane] = p.XRangeN(ctx, log, "-", "+", 1)
		}
		return nil
	})
	if err != nil {
		return // Redis is away, and so is whoever would move a lane.
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for lane, cmd := range cmds {
		id := ""
		if entries := cmd.Val(); len(entries) > 0 {
			id = entries[0].ID
		}
		was := w.heads[lane]
		if was.id == id {
			continue
		}
		w.moved(lane, was, now)
		if id == "" {
			delete(w.heads, lane)
			continue
		}
		w.heads[lane] = head{id, now}
	}
}

// moved counts for how long a head stood.
func (w *watch) moved(lane string, h head, now time.Time) {
	if h.id == "" {
		return
	}
	since := h.since
	if since.Before(w.from) {
		since = w.from
	}
	if d := now.Sub(since); d > w.worst {
		w.worst, w.where = d, lane
	}
}
