package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"patchlane/cmd/patchlane/bench"
	"patchlane/store"
)

// demoCmd is `patchlane demo`.
type demoCmd struct {
	Writes int `name:"writes" default:"20000" help:"Writes of the verified load at the end."`
}

// Help is the long text of --help.
func (*demoCmd) Help() string {
	return `Starts a Postgres, a Redis, an API process and a worker process of its own, sends real requests, kills the worker with
SIGKILL in mid-run, lets somebody text STOP while a sync runs, and checks every word of the promise against what is stored. Exit 0 only if all of it held.`
}

// demo is a running demonstration.
type demo struct {
	out    io.Writer
	env    []string
	api    *child
	worker *child
	client *demoClient
	// failed counts the checks that did not hold.
	failed int
	began  time.Time
}

// Run shows everything and checks it.
func (c *demoCmd) Run(ctx context.Context, s streams) (err error) {
	d := &demo{out: s.out, began: time.Now()}
	d.say("patchlane demo: Postgres, Redis, an API process and a worker process of its own\n")
	st, err := startStack(ctx, "", slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.stop()) }()
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.setUp(ctx, s, st); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	d.say("   ready after %s\n", d.since())
	shown := time.Now()
	people, err := d.tour(ctx)
	if err != nil {
		return err
	}
	if err := d.killWorker(ctx); err != nil {
		return fmt.Errorf("kill the worker: %w", err)
	}
	if err := d.show(ctx, people); err != nil {
		return fmt.Errorf("show the contacts: %w", err)
	}
	if err := d.optOut(ctx); err != nil {
		return fmt.Errorf("opt out: %w", err)
	}
	if err := d.measure(ctx, c.Writes); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if d.failed > 0 {
		return fmt.Errorf("the demo took %s and %d of its checks did not hold", time.Since(shown).Round(time.Second), d.failed)
	}
	d.say("\nEverything held. %s after set-up, %s in all.\n", time.Since(shown).Round(100*time.Millisecond), d.since())
	return nil
}

// setUp migrates, makes an account and a key, and starts both processes.
func (d *demo) setUp(ctx context.Context, s streams, st *stack) error {
	if err := store.Migrate(ctx, st.postgres.URL(), store.MigrateOptions{}); err != nil {
		return err
	}
	d.env = []string{"DATABASE_URL=" + st.postgres.URL(), "REDIS_URL=" + st.redis.URL()}
	if !st.redis.Durable() {
		d.say("   NOT DURABLE: no redis-server on this machine, a stand-in serves\n")
		d.env = append(d.env, "PATCHLANE_ALLOW_VOLATILE_QUEUE=true")
	}
	base := adminBase{
		backends:      backends{DatabaseURL: st.postgres.URL(), RedisURL: st.redis.URL()},
		processConfig: processConfig{LogLevel: "warn", LogFormat: "text"},
	}
	err := base.open(ctx, s, func(ctx context.Context, desk *desk) error {
		account, secret, err := desk.beginner(ctx, "demo")
		d.client = newDemoClient(secret)
		d.say("   account %s with a key of every scope\n", account.ID)
		return err
	})
	if err != nil {
		return err
	}
	if d.api, err = startChild(ctx, d.env, "api", "--listen", "127.0.0.1:0"); err != nil {
		return err
	}
	d.client.url = d.api.at.API
	if err := d.startWorker(ctx); err != nil {
		return err
	}
	d.say("   API %s (process %d), worker (process %d)\n", d.api.at.API, d.api.pid(), d.worker.pid())
	return d.client.awaitReady(ctx, d.api.at.API)
}

// startWorker starts a worker and waits until it drains.
func (d *demo) startWorker(ctx context.Context) error {
	w, err := startChild(ctx, d.env, "worker")
	if err != nil {
		return err
	}
	d.worker = w
	return d.client.awaitReady(ctx, w.at.Ops)
}

// stop ends both processes.
func (d *demo) stop() error {
	var problems []error
	for _, c := range []*child{d.api, d.worker} {
		if c != nil {
			problems = append(problems, c.stop(20*time.Second))
		}
	}
	if d.client != nil {
		d.client.http.CloseIdleConnections()
	}
	return errors.Join(problems...)
}

// measure runs a short load that verifies what it wrote.
func (d *demo) measure(ctx context.Context, writes int) error {
	d.say("\n5. A short verified load: %d writes to 1000 contacts in requests of 200\n", writes)
	load := bench.Command{
		URL: d.client.url, Key: d.client.key, Batch: 200, Concurrency: 8, Writes: writes, Contacts: 1000, Verify: true,
	}
	report, err := load.Measure(ctx, io.Discard)
	if err != nil {
		return err
	}
	d.say("   accepted %d at %.0f a second (p50 %.1f ms, p99 %.1f ms a request)\n",
		report.Accepted, report.AcceptedPerS, report.Accept.P50, report.Accept.P99)
	d.say("   applied at %.0f a second (accepted to applied: p50 %.0f ms, p99 %.0f ms)\n",
		report.AppliedPerS, report.Apply.P50, report.Apply.P99)
	d.check(report.Err() == nil, "lost %d, doubled %d, disordered %d", report.Lost, report.Doubled, report.Disordered)
	if err := report.Err(); err != nil {
		d.say("         %v\n", err)
	}
	return nil
}

func (d *demo) since() time.Duration { return time.Since(d.began).Round(100 * time.Millisecond) }

// say prints; whoever closed the output does not want to know.
func (d *demo) say(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format, args...) }

// check prints one thing that has to hold and remembers whether it does.
func (d *demo) check(holds bool, format string, args ...any) {
	mark := "ok  "
	if !holds {
		mark = "FAIL"
		d.failed++
	}
	d.say("   %s  %s\n", mark, fmt.Sprintf(format, args...))
}
