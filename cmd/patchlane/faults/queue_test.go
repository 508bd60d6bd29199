package faults

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks"
	"patchlane/tasks/contact"
)

// queueFaults put into Redis what nobody of ours would, and break asynq's state
// by hand: 16 and 24.
func queueFaults() []fault {
	return []fault{
		{number: 16, name: "poison put straight into the stream", brief: true, run: poison},
		{number: 24, name: "leases of lanes deleted by hand", recovers: 3 * time.Second, run: leasesGone},
		{number: 24, name: "asynq queue paused", recovers: 3 * time.Second, brief: true, run: paused},
		{number: 24, name: "asynq tasks archived, their leases removed", recovers: 3 * time.Second, run: archived},
	}
}

// poison adds entries that nobody can read, or that Postgres cannot store,
// between those of the clients. Each is recorded as failed; its neighbours are
// applied.
func poison(r *run) {
	apis, _ := r.processes(1, 2)
	rdb, db := r.direct(r.t), r.postgres(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	for range r.rounds(1, 10) {
		for _, spoil := range spoilers() {
			values := r.anyEntry(rdb)
			raw, _ := values["e"].(string)
			stamp, _ := values["t"].(string)
			e := []byte(raw)
			for i := 1; i < min(17, len(e)); i++ {
				e[i] = byte(r.dice.IntN(256)) // an id of its own
			}
			stamp, e = spoil(stamp, e)
			log := fmt.Sprintf("{c:%03d}:log", r.dice.IntN(contactLanes))
			if err := rdb.XAdd(r.t.Context(), &redis.XAddArgs{Stream: log, Values: []any{"t", stamp, "e", e}}).Err(); err != nil {
				r.t.Fatal(err)
			}
			r.injected(1)
		}
	}
	h := tr.end()
	r.settled(30 * time.Second)
	var failed int
	if err := db.QueryRow(r.t.Context(), `SELECT count(*) FROM failed_writes`).Scan(&failed); err != nil {
		r.t.Fatal(err)
	}
	if failed != r.row.times {
		r.t.Errorf("%d of %d poisonous entries are recorded as failed", failed, r.row.times)
	}
	r.judge(h)
}

// spoilers make an entry unreadable, each in its way.
func spoilers() []func(stamp string, e []byte) (string, []byte) {
	text := []byte(canary)
	return []func(string, []byte) (string, []byte){
		func(t string, e []byte) (string, []byte) { return t, bytes.Replace(e, text, []byte("zq7n\x00te"), 1) },
		func(t string, e []byte) (string, []byte) { return t, bytes.Replace(e, text, []byte("zq7n\xffte"), 1) },
		func(t string, e []byte) (string, []byte) { e[0] = 0x7f; return t, e },
		func(t string, e []byte) (string, []byte) { e[49] = 0xee; return t, e },
		func(t string, e []byte) (string, []byte) { return t, e[:len(e)-3] },
		func(t string, e []byte) (string, []byte) { return t, append(e, 7) },
		func(t string, _ []byte) (string, []byte) { return t, []byte{} },
		func(_ string, e []byte) (string, []byte) { return "99999999999999999999", e },
		func(_ string, e []byte) (string, []byte) { return "-1", e },
	}
}

// underLoad runs what breaks the queue, some times, while clients write.
func (r *run) underLoad(rounds int, do func()) []*process {
	apis, workers := r.processes(1, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	for range rounds {
		r.pass(500 * time.Millisecond)
		do()
		r.pass(r.fault.recovers)
	}
	h := tr.end()
	r.settled(30 * time.Second)
	r.recovered(w.standstill())
	r.judge(h)
	return workers
}

// inspector is asynq's own tool.
func (r *run) inspector() *asynq.Inspector {
	i := asynq.NewInspector(asynq.RedisClientOpt{Addr: r.redis.Addr()})
	r.t.Cleanup(func() { _ = i.Close() })
	return i
}

// paused pauses our queues behind our back.
func paused(r *run) {
	i := r.inspector()
	workers := r.underLoad(r.rounds(1, 5), func() {
		for _, queue := range tasks.Queues() {
			if err := i.PauseQueue(queue); err == nil {
				r.injected(1)
			}
		}
	})
	if n := counters(workers, "patchlane_worker_queues_unpaused_total"); n == 0 {
		r.t.Error("nobody counted that queues were unpaused")
	}
}

// archived moves waiting tasks to asynq's archive, and takes the leases of those
// at work away, so that asynq never ends them.
func archived(r *run) {
	i, rdb := r.inspector(), r.direct(r.t)
	r.underLoad(r.rounds(1, 5), func() {
		for range 20 {
			for _, queue := range tasks.Queues() {
				if n, err := i.ArchiveAllPendingTasks(queue); err == nil {
					r.injected(n)
				}
				if n, err := rdb.Del(r.t.Context(), "asynq:{"+queue+"}:lease").Result(); err == nil {
					r.injected(int(n))
				}
			}
			r.pass(5 * time.Millisecond)
		}
	})
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
