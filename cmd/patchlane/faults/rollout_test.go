package faults

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// rolloutFaults are what operators do on a day with a release: 23 and 25.
func rolloutFaults() []fault {
	return []fault{
		{number: 23, name: "SIGTERM rolling restart", recovers: 2500 * time.Millisecond, brief: true, run: rollingRestart},
		{number: 23, name: "old and new version of entries side by side", recovers: time.Second, run: twoVersions},
		{number: 25, name: "migration killed half-way, then two at once", brief: true, run: killedMigration},
	}
}

// rollingRestart ends every API and every worker in turn, while clients write
// over connections that they keep, to whichever API says that it is ready, as a
// load balancer does. Nobody sees an error.
func rollingRestart(r *run) {
	apis, workers := make([]*process, 2), make([]*process, 2)
	for i := range apis {
		apis[i], workers[i] = r.prepare("api"), r.prepare("worker")
		apis[i].args = append(apis[i].args, "--stop-delay", "1s")
		apis[i].restart("")
		workers[i].restart("")
	}
	for _, p := range slices.Concat(apis, workers) {
		p.ready()
	}
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	for range r.rounds(1, 4) {
		for i := range apis {
			r.roll(apis[i], tr)
			r.roll(workers[i], nil)
		}
	}
	h := tr.end()
	if h.broken > 0 {
		r.t.Errorf("%d requests met a broken connection, the first with %v", h.broken, h.firstBroken)
		r.row.others += h.broken
	}
	r.note("%d answers of 503", h.unavailable)
	r.settled(30 * time.Second)
	r.recovered(w.standstill())
	r.judge(h)
}

// roll ends a process in order and starts it again. Clients go on with an API
// until its readiness says no, and a little longer, as a load balancer's do.
func (r *run) roll(p *process, tr *traffic) {
	r.t.Helper()
	p.signal(syscall.SIGTERM)
	if tr != nil {
		eventually(r.t, 5*time.Second, func() error {
			if status, _ := p.probe("/readyz"); status == http.StatusOK {
				return errors.New("a process that was told to stop says that it is ready")
			}
			return nil
		})
		r.pass(200 * time.Millisecond)
		tr.avoid(p.url)
	}
	if err := p.ended(40 * time.Second); err != nil {
		r.t.Errorf("%s: %v", p.role, err)
	}
	r.injected(1)
	p.restart("")
	p.ready()
	if tr != nil {
		tr.avoid("")
	}
	r.pass(300 * time.Millisecond)
}

// killedMigration kills the migration of a new database at many moments, then
// starts two at once, which both succeed.
func killedMigration(r *run) {
	db := r.postgres(r.t)
	for n := range r.rounds(3, 25) {
		name := fmt.Sprintf("migrated_%d", n)
		if _, err := db.Exec(r.t.Context(), "CREATE DATABASE "+name); err != nil {
			r.t.Fatal(err)
		}
		at, err := url.Parse(r.pg.URL())
		if err != nil {
			r.t.Fatal(err)
		}
		at.Path = "/" + name
		env := append(slices.Clip(r.env), "DATABASE_URL="+at.String())
		cmd := exec.CommandContext(r.t.Context(), r.bin, "migrate")
		cmd.Env = env
		if err := cmd.Start(); err != nil {
			r.t.Fatal(err)
		}
		r.pass(time.Duration(20+r.dice.IntN(280)) * time.Millisecond)
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err != nil {
			r.injected(1)
		}
		r.migrateTwice(env)
	}
}

// migrateTwice runs two migrations at once; afterwards the schema is current.
func (r *run) migrateTwice(env []string) {
	r.t.Helper()
	var wg sync.WaitGroup
	var problems [2]error
	for i := range problems {
		wg.Go(func() { problems[i] = r.migrate(env) })
	}
	wg.Wait()
	r.injected(1)
	if err := errors.Join(problems[0], problems[1], r.migrate(env, "status")); err != nil {
		r.t.Error(err)
	}
}

func (r *run) migrate(env []string, args ...string) error {
	cmd := exec.CommandContext(r.t.Context(), r.bin, append([]string{"migrate"}, args...)...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("migrate %v: %w\n%s", args, err, out)
	}
	return nil
}
