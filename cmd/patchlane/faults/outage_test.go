package faults

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// outageFaults take a server away, in whole or in part: 9, 10, 11.
func outageFaults() []fault {
	return []fault{
		{number: 9, name: "Redis disk full", recovers: 2 * time.Second, brief: true, run: redisDiskFull},
		{number: 10, name: "Postgres down", recovers: 2 * time.Second, brief: true, run: postgresDown},
		{number: 10, name: "Postgres read-only", recovers: 2 * time.Second, run: postgresReadOnly},
		{number: 10, name: "Postgres disk full", recovers: 2 * time.Second, run: postgresDiskFull},
		{number: 11, name: "no connection left at Postgres", recovers: 2 * time.Second, run: noConnections},
	}
}

// fullDisk lets a process write nothing more into any file, as a full disk does.
// The limit of a process is set by its own user, or by a root that may do anything,
// which that of a container may not.
func (r *run) fullDisk(pid int) error {
	r.t.Helper()
	owner, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(r.t.Context(), "prlimit", "--pid", strconv.Itoa(pid), "--fsize=1:unlimited")
	if at, ok := owner.Sys().(*syscall.Stat_t); ok && os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: at.Uid, Gid: at.Gid}}
		cmd.Dir = "/"
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("prlimit: %w: %s", err, out)
	}
	return nil
}

// answers is how often a request was answered with each status, and the slowest.
type answers struct {
	status  map[int]int
	slowest time.Duration
	// unpaused are answers 503 without Retry-After.
	unpaused int
}

func (a *answers) String() string {
	return fmt.Sprintf("%v, slowest %.2fs", a.status, a.slowest.Seconds())
}

// ask repeats a request for a while.
func (r *run) ask(method, url, body string, d time.Duration) *answers {
	r.t.Helper()
	a := &answers{status: map[int]int{}}
	for end := time.Now().Add(d); time.Now().Before(end); r.pass(5 * time.Millisecond) {
		status, after, took := r.once(method, url, body)
		a.status[status]++
		a.slowest = max(a.slowest, took)
		if status == http.StatusServiceUnavailable && after == "" {
			a.unpaused++
		}
	}
	return a
}

// once sends one request and returns its status, its Retry-After and its time.
func (r *run) once(method, url, body string) (status int, retryAfter string, took time.Duration) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	req.Header.Set("Prefer", "respond-async")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	began := time.Now()
	res, err := r.client.Do(req)
	if err != nil {
		return 0, "", time.Since(began)
	}
	_ = res.Body.Close()
	return res.StatusCode, res.Header.Get("Retry-After"), time.Since(began)
}

// only wants every answer to have one status, and to come within a time.
func (r *run) only(what string, a *answers, status int, within time.Duration) {
	r.t.Helper()
	r.note("%s: %s", what, a)
	if a.status[status] == 0 || len(a.status) != 1 || a.unpaused > 0 {
		r.t.Errorf("%s: %s, %d without Retry-After; want %d alone", what, a, a.unpaused, status)
	}
	if r.brief {
		within += crowded
	}
	if a.slowest > within {
		r.t.Errorf("%s: answered after %s, want within %s", what, a.slowest, within)
	}
}

// title changes one field of a contact that no client of the traffic has.
const title = `{"job_title":"outage"}`

// outsider makes a contact beside those of the traffic and returns its address.
func (r *run) outsider(api *process) string {
	r.t.Helper()
	return api.url + "/v1/contacts/" + r.createContacts(r.t, api.url, 1)[0].id
}

// redisDiskFull fills the disk of Redis. With appendfsync always a Redis that
// cannot write ends itself; it comes back when there is room.
func redisDiskFull(r *run) {
	apis, _ := r.processes(2, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	other := r.outsider(apis[0])
	for range r.rounds(1, 3) {
		r.pass(time.Second)
		if err := r.fullDisk(r.redis.PID()); err != nil {
			r.t.Fatal(err)
		}
		<-r.redis.Done()
		r.injected(1)
		r.pass(2 * time.Second) // what was under way has its answer
		r.only("write", r.ask(http.MethodPatch, other, title, 2*time.Second), http.StatusServiceUnavailable, time.Second)
		r.only("GET", r.ask(http.MethodGet, other, "", time.Second), http.StatusOK, time.Second)
		if err := r.redis.Restart(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
		w.since(time.Now())
		r.pass(r.fault.recovers + time.Second)
		r.recovered(w.standstill())
	}
	r.judge(tr.end())
}

// postgresDown takes Postgres away for a minute, or for seconds in the brief run.
// Writes are accepted meanwhile, and the limit of a key and credits hold.
func postgresDown(r *run) {
	apis, _ := r.processes(2, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	other := r.outsider(apis[0])
	limited := r.newKey(r.account, "--per-minute", "5")
	r.pass(time.Second)
	r.endPostgres()
	r.injected(1)
	away := time.Duration(r.rounds(5, 60)) * time.Second
	began := time.Now()
	r.only("write", r.ask(http.MethodPatch, other, title, 2*time.Second), http.StatusAccepted, time.Second)
	r.only("GET", r.ask(http.MethodGet, other, "", time.Second), http.StatusServiceUnavailable, time.Second)
	counts := map[int]int{}
	for range 8 {
		status, _, err := r.callAs(r.t.Context(), limited, http.MethodPatch, other, http.Header{"Prefer": {"respond-async"}}, []byte(title))
		if err != nil {
			r.t.Fatal(err)
		}
		counts[status]++
	}
	if counts[http.StatusAccepted] != 5 || counts[http.StatusTooManyRequests] != 3 {
		r.t.Errorf("a key of five requests a minute: %v", counts)
	}
	r.pass(time.Until(began.Add(away)))
	goroutines := r.goroutines(apis[0])
	r.startPostgres()
	w.since(time.Now())
	r.pass(r.fault.recovers + time.Second)
	r.recovered(w.standstill())
	r.note("goroutines of an API at the end of the outage %d", goroutines)
	if goroutines > 500 {
		r.t.Errorf("an API has %d goroutines at the end of the outage", goroutines)
	}
	r.judge(tr.end())
}

// goroutines reads the figure of a process.
func (r *run) goroutines(p *process) (n int) {
	r.t.Helper()
	_, body := p.probe("/metrics")
	for line := range strings.Lines(body) {
		if _, err := fmt.Sscanf(line, "go_goroutines %d", &n); err == nil {
			return n
		}
	}
	r.t.Fatal("no figure of goroutines")
	return 0
}

// endPostgres ends Postgres at once, with every connection.
func (r *run) endPostgres() {
	r.t.Helper()
	if err := syscall.Kill(r.pg.PID(), syscall.SIGQUIT); err != nil {
		r.t.Fatal(err)
	}
	<-r.pg.Done()
}

func (r *run) startPostgres() {
	r.t.Helper()
	if err := r.pg.Restart(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// postgresReadOnly makes every new transaction a read-only one, as a standby or
// an operator's brake does.
func postgresReadOnly(r *run) {
	apis, _ := r.processes(2, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	other := r.outsider(apis[0])
	db := r.postgres(r.t)
	r.sql(db, `SET default_transaction_read_only = off`)
	for range r.rounds(1, 2) {
		r.pass(time.Second)
		r.sql(db, `ALTER SYSTEM SET default_transaction_read_only = on`)
		r.sql(db, `SELECT pg_reload_conf()`)
		r.injected(1)
		r.only("write", r.ask(http.MethodPatch, other, title, 3*time.Second), http.StatusAccepted, time.Second)
		r.only("GET", r.ask(http.MethodGet, other, "", time.Second), http.StatusOK, time.Second)
		r.pass(time.Duration(r.rounds(2, 12)) * time.Second)
		r.sql(db, `ALTER SYSTEM RESET default_transaction_read_only`)
		r.sql(db, `SELECT pg_reload_conf()`)
		w.since(time.Now())
		r.pass(r.fault.recovers + time.Second)
		r.recovered(w.standstill())
	}
	r.judge(tr.end())
}

func (r *run) sql(db *pgx.Conn, sql string) {
	r.t.Helper()
	if _, err := db.Exec(r.t.Context(), sql); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
}

// postgresDiskFull lets Postgres write nothing any more, its log included: it
// panics, cannot recover, and ends. It comes back when there is room.
func postgresDiskFull(r *run) {
	apis, _ := r.processes(2, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	other := r.outsider(apis[0])
	r.pass(time.Second)
	db := r.postgres(r.t)
	rows, err := db.Query(r.t.Context(), `SELECT pid FROM pg_stat_activity`)
	if err != nil {
		r.t.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.fullDisk(r.pg.PID()); err != nil {
		r.t.Fatal(err)
	}
	for _, pid := range pids {
		// The first that writes takes the others along.
		if err := r.fullDisk(pid); err != nil {
			r.t.Logf("a backend has ended: %v", err)
			break
		}
	}
	r.injected(1)
	r.only("write", r.ask(http.MethodPatch, other, title, 3*time.Second), http.StatusAccepted, time.Second)
	select {
	case <-r.pg.Done():
	case <-time.After(20 * time.Second):
		r.t.Error("Postgres goes on with a full disk: nothing was tested")
	}
	r.only("write after the end", r.ask(http.MethodPatch, other, title, 2*time.Second), http.StatusAccepted, time.Second)
	r.startPostgres()
	w.since(time.Now())
	r.pass(r.fault.recovers + time.Second)
	r.recovered(w.standstill())
	r.judge(tr.end())
}

// noConnections takes every connection that Postgres has left and keeps those that
// come free. What the processes hold goes on; nobody is refused a GET.
func noConnections(r *run) {
	apis, workers := r.processes(2, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	other := r.outsider(apis[0])
	r.ask(http.MethodGet, other, "", time.Second)
	var taken []*pgx.Conn
	free := func() {
		for _, c := range taken {
			_ = c.Close(context.WithoutCancel(r.t.Context()))
		}
		taken = nil
	}
	defer free()
	for range 400 {
		c, err := pgx.Connect(r.t.Context(), r.pg.URL())
		if err != nil {
			if !strings.Contains(err.Error(), "53300") {
				r.t.Fatal(err)
			}
			r.injected(1)
			break
		}
		taken = append(taken, c)
	}
	// A worker that starts now has no connection at all.
	workers[0].kill()
	workers[0].restart("")
	r.only("GET", r.ask(http.MethodGet, other, "", 2*time.Second), http.StatusOK, 2*time.Second)
	r.only("write", r.ask(http.MethodPatch, other, title, 2*time.Second), http.StatusAccepted, time.Second)
	r.note("%d connections held", len(taken))
	free()
	w.since(time.Now())
	r.pass(r.fault.recovers + time.Second)
	// The leases of the worker that was killed live for 5 s; they began before.
	r.recovered(w.standstill())
	r.judge(tr.end())
}
