package faults

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// serverFaults kill Redis and Postgres, and take Redis' durability away: 3 to 5.
func serverFaults() []fault {
	return []fault{
		{number: 3, name: "kill -9 Redis", recovers: 2 * time.Second, brief: true, run: killRedis},
		{number: 4, name: "Redis not durable", run: volatileRedis},
		{number: 5, name: "kill -9 a Postgres backend in a commit", recovers: 2 * time.Second, run: killBackend},
		{number: 5, name: "kill -9 the postmaster", recovers: 2 * time.Second, run: killPostmaster},
	}
}

// killRedis kills Redis under load and starts it again: what it had answered
// for is there.
func killRedis(r *run) {
	apis, _ := r.processes(2, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	for range r.rounds(1, 5) {
		r.pass(time.Duration(500+r.dice.IntN(1500)) * time.Millisecond)
		r.restartRedis(func() {})
		w.since(time.Now())
		r.injected(1)
		r.pass(r.fault.recovers + time.Second)
		r.recovered(w.standstill())
	}
	r.judge(tr.end())
}

// restartRedis kills Redis, does something to its files, and starts it again.
func (r *run) restartRedis(between func()) {
	r.t.Helper()
	if err := syscall.Kill(r.redis.PID(), syscall.SIGKILL); err != nil {
		r.t.Fatal(err)
	}
	<-r.redis.Done()
	between()
	if err := r.redis.Restart(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// volatileRedis sets Redis up so that it may lose what it acknowledged. A
// process refuses to start then, unless it was told otherwise, and says so.
func volatileRedis(r *run) {
	rdb := r.direct(r.t)
	for _, c := range []struct{ setting, volatile, durable string }{
		{"appendfsync", "everysec", "always"},
		{"no-appendfsync-on-rewrite", "yes", "no"},
		{"maxmemory-policy", "allkeys-lru", "noeviction"},
		{"appendonly", "no", "yes"},
	} {
		if err := rdb.ConfigSet(r.t.Context(), c.setting, c.volatile).Err(); err != nil {
			r.t.Fatal(err)
		}
		for _, role := range []string{"api", "worker"} {
			r.injected(1)
			refused := r.start(role)
			if err := refused.died(20 * time.Second); err != nil {
				r.t.Errorf("%s runs on a Redis with %s %s", role, c.setting, c.volatile)
			}
			refused.kill()
			told := r.prepare(role)
			told.args = append(told.args, "--allow-volatile-queue")
			told.restart("")
			_, body := told.ready().probe("/readyz")
			if _, metrics := told.probe("/metrics"); !strings.Contains(body, `"durable":false`) || !strings.Contains(metrics, "patchlane_queue_durable 0") {
				r.t.Errorf("%s with %s %s says %s", role, c.setting, c.volatile, body)
			}
			told.kill()
		}
		if err := rdb.ConfigSet(r.t.Context(), c.setting, c.durable).Err(); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, role := range []string{"api", "worker"} {
		if status, body := r.start(role).ready().probe("/readyz"); status != http.StatusOK || !strings.Contains(body, `"durable":true`) {
			r.t.Errorf("%s on a durable Redis: %d %s", role, status, body)
		}
	}
}

// killBackend kills a backend that is about to commit. Postgres then ends all
// others, too, and recovers by itself.
func killBackend(r *run) {
	apis, _ := r.processes(1, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	for range r.rounds(1, 4) {
		pid := r.committing()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			r.t.Fatal(err)
		}
		r.injected(1)
		r.postgresBack()
		w.since(time.Now())
		r.pass(r.fault.recovers + time.Second)
		r.recovered(w.standstill())
	}
	r.judge(tr.end())
}

// committing returns the process id of a backend that runs a COMMIT.
func (r *run) committing() (pid int) {
	r.t.Helper()
	db := r.postgres(r.t)
	eventually(r.t, 20*time.Second, func() error {
		return db.QueryRow(r.t.Context(), `SELECT pid FROM pg_stat_activity
			WHERE pid <> pg_backend_pid() AND state = 'active' AND query ILIKE 'commit%' LIMIT 1`).Scan(&pid)
	})
	return pid
}

// postgresBack waits until Postgres answers.
func (r *run) postgresBack() {
	r.t.Helper()
	eventually(r.t, time.Minute, func() error {
		db, err := pgx.Connect(r.t.Context(), r.pg.URL())
		if err != nil {
			return err
		}
		return db.Close(r.t.Context())
	})
}

// killPostmaster kills the first process of Postgres; its backends follow.
func killPostmaster(r *run) {
	apis, _ := r.processes(1, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	for range r.rounds(1, 3) {
		r.pass(time.Duration(500+r.dice.IntN(1500)) * time.Millisecond)
		r.restartPostgres()
		r.injected(1)
		w.since(time.Now())
		r.pass(r.fault.recovers + time.Second)
		r.recovered(w.standstill())
	}
	r.judge(tr.end())
}

// restartPostgres kills the postmaster and starts Postgres again; it refuses
// for as long as an orphaned backend lives.
func (s *stack) restartPostgres() {
	s.t.Helper()
	if err := syscall.Kill(s.pg.PID(), syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	<-s.pg.Done()
	eventually(s.t, time.Minute, func() error { return s.pg.Restart(s.t.Context()) })
}

// counter reads the sum of a counter over all its labels from the metrics of a
// process.
func (p *process) counter(name string) (sum float64) {
	_, body := p.probe("/metrics")
	for line := range strings.Lines(body) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if metric, _, _ := strings.Cut(series, "{"); ok && metric == name {
			v, err := strconv.ParseFloat(value, 64)
			if err == nil {
				sum += v
			}
		}
	}
	return sum
}

// counters sums a counter over processes.
func counters(list []*process, name string) (sum float64) {
	for _, p := range list {
		sum += p.counter(name)
	}
	return sum
}
