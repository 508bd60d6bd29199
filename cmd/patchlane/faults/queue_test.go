package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks"
	"patchlane/tasks/contact"
)

// queueFaults break what stands in Redis by hand: 24.
func queueFaults() []fault {
	return []fault{
		{number: 24, name: "leases deleted by hand", recovers: 3 * time.Second, run: leasesGone},
	}
}

// leasesGone takes the leases away from drains at work.
func leasesGone(r *run) {
	apis, _ := r.processes(1, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	r.injected(r.loseLeases(r.t, time.Duration(r.rounds(2, 8))*time.Second))
	h := tr.end()
	r.settled(30 * time.Second)
	r.recovered(w.standstill())
	r.judge(h)
}

// contactLane is a lane of writes.
func contactLane(n int) contact.Lane { return contact.Lane{Kind: 'c', N: n} }

// asynqClient enqueues past every wire.
func (r *run) asynqClient() *asynq.Client {
	r.t.Helper()
	c := asynq.NewClient(asynq.RedisClientOpt{Addr: r.redis.Addr()})
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// ring enqueues the drain task of one generation.
func (r *run) ring(bell *asynq.Client, lane contact.Lane, generation int64) {
	r.t.Helper()
	if err := tasks.Ring(bell)(r.t.Context(), lane, generation); err != nil {
		r.t.Fatal(err)
	}
}

// xadd adds an entry to a stream as it stands in another one.
func xadd(log string, values map[string]any) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: log, Values: []any{"t", values["t"], "e", values["e"]}}
}

// loseLeases deletes the leases of all lanes again and again, so that several
// drains work on one lane at the same time.
func (s *stack) loseLeases(t *testing.T, d time.Duration) (deleted int) {
	t.Helper()
	rdb, keys := s.direct(t), make([]string, 0, contactLanes)
	for n := range contactLanes {
		keys = append(keys, fmt.Sprintf("{c:%03d}:owner", n))
	}
	end := time.After(d)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return deleted
		case <-tick.C:
			n, err := rdb.Del(t.Context(), keys...).Result()
			if err != nil {
				t.Fatal(err)
			}
			deleted += int(n)
		}
	}
}
