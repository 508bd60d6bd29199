package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// command is the command line.
type command struct {
	Repeat   int      `default:"3" help:"Rounds; each way is run once a round, and its median counts."`
	Contacts int      `default:"100000" help:"Contacts in the table."`
	Scale    float64  `default:"1" help:"Factor on the writes of every way; below 1 for a quick look."`
	Only     []string `placeholder:"WAY" help:"Names of the ways to run; all without it."`
	Chart    string   `type:"path" placeholder:"FILE" help:"Draw the medians into this PNG."`
	Markdown string   `type:"path" placeholder:"FILE" help:"Write the table into this file too."`
}

// environment is what a way runs on, and what it tells about its time.
type environment struct {
	database, redis string
	watch           *watch
}

// begin starts the clock anew, when what a way needs beforehand is made.
func (e environment) begin() { e.watch.start = time.Now() }

// end stops it.
func (e environment) end() { e.watch.took = time.Since(e.watch.start) }

// took sets the time that a way measured by itself.
func (e environment) took(d time.Duration) { e.watch.took = d }

type watch struct {
	start time.Time
	took  time.Duration
}

// runner applies a workload and returns when all of it is committed.
type runner func(ctx context.Context, e environment, w workload) error

// way is one way of applying updates.
type way struct {
	name    string
	ordered bool // it promises the order of each contact's writes
	writes  int
	run     runner
}

// ways lists what is compared. patchlane's come last but one, so that no later
// way profits from a warm machine alone.
func ways(p *product, s *nodeScripts) []way {
	return []way{
		{"transaction, 1 connection", true, 6_000, direct(1)},
		{"transaction, 16 connections", false, 16_000, directMixed},
		{"asynq, 16 workers", false, 6_000, asynqTasks(connections)},
		{"asynq, 1 worker", true, 4_000, asynqTasks(1)},
		{"River as it comes", false, 6_000, riverJobs(0)},
		{"River, fetching every 5 ms", false, 10_000, riverJobs(5 * time.Millisecond)},
		{"graphile-worker", true, 2_000, s.way("graphile.mjs")},
		{"BullMQ", false, 6_000, s.way("bullmq.mjs")},
		{"SQL inside the server", true, 160_000, inside},
		{"patchlane, one PATCH a write", true, 40_000, p.single},
		{"patchlane, batches of 500", true, 120_000, p.batch},
	}
}

func main() {
	var c command
	kong.Parse(&c, kong.Name("peerbench"), kong.Description("Measure patchlane against other ways of applying the same contact updates."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := c.run(ctx, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "peerbench:", err)
		os.Exit(1)
	}
}

// run measures every way and prints the table.
func (c *command) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "peerbench")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(stderr, "building patchlane, starting Postgres and Redis, making", c.Contacts, "contacts ...")
	p, err := buildProduct(ctx, dir)
	if err != nil {
		return err
	}
	s, err := startServers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	d, err := makeTemplate(ctx, s.postgres.URL(), c.Contacts)
	if err != nil {
		return err
	}
	t, err := c.measure(ctx, stderr, s, d, ways(p, &nodeScripts{dir: dir}))
	if err != nil {
		return err
	}
	if err := t.print(stdout); err != nil {
		return err
	}
	return c.keep(t)
}

// measure runs the rounds.
func (c *command) measure(ctx context.Context, stderr io.Writer, s *servers, d *databases, all []way) (*table, error) {
	t := &table{repeat: c.Repeat, contacts: c.Contacts}
	for _, w := range all {
		if len(c.Only) > 0 && !slices.ContainsFunc(c.Only, func(part string) bool { return strings.Contains(w.name, part) }) {
			continue
		}
		w.writes = max(int(float64(w.writes)*c.Scale)/2*2, 2)
		t.rows = append(t.rows, &line{way: w})
	}
	for round := range c.Repeat {
		for _, l := range t.rows {
			if l.skipped != "" {
				continue
			}
			err := c.once(ctx, s, d, l)
			if errors.Is(err, errSkipped) {
				l.skipped = err.Error()
				fmt.Fprintf(stderr, "%-36s %v\n", l.way.name, err)
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.way.name, err)
			}
			fmt.Fprintf(stderr, "round %d  %-36s %9.0f writes/s  %s\n", round+1, l.way.name, l.rates[round], l.verdict())
		}
	}
	return t, nil
}

// once runs one way on a database and a Redis of its own.
func (c *command) once(ctx context.Context, s *servers, d *databases, l *line) (err error) {
	if err := s.clear(ctx); err != nil {
		return err
	}
	at, drop, err := d.fresh(ctx, "peer")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	w := workload{Writes: l.way.writes, Contacts: c.Contacts}
	e := environment{database: at, redis: s.redis.URL(), watch: &watch{}}
	e.begin()
	if err := l.way.run(ctx, e, w); err != nil {
		return err
	}
	if e.watch.took == 0 {
		e.end()
	}
	v, err := judge(ctx, at, w)
	if err != nil {
		return err
	}
	l.add(float64(w.Writes)/e.watch.took.Seconds(), v)
	return nil
}

// keep writes the files that were asked for.
func (c *command) keep(t *table) error {
	if c.Markdown != "" {
		f, err := os.Create(c.Markdown)
		if err != nil {
			return fmt.Errorf("keep the table: %w", err)
		}
		if err := errors.Join(t.print(f), f.Close()); err != nil {
			return err
		}
	}
	if c.Chart != "" {
		return t.draw(c.Chart)
	}
	return nil
}
