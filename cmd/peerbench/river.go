package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	// riverWorkers is what River's documentation starts with.
	riverWorkers = 100
	// riverInsert is how many jobs are inserted by one call.
	riverInsert = 500
)

// updateJob is the arguments of a River job.
type updateJob struct {
	Update update `json:"update"`
}

// Kind names the job to River.
func (updateJob) Kind() string { return "contact_update" }

// updateWorker applies one job.
type updateWorker struct {
	river.WorkerDefaults[updateJob]

	plain   *plain
	counter *counter
}

// Work applies the update of a job.
func (w *updateWorker) Work(ctx context.Context, job *river.Job[updateJob]) error {
	if err := w.plain.apply(ctx, &job.Args.Update); err != nil {
		return err
	}
	w.counter.add()
	return nil
}

// riverJobs inserts one job a write, many by a call. A cooldown of 0 is River's
// own, 100 ms; a shorter one lets it fetch more often.
func riverJobs(cooldown time.Duration) runner {
	return func(ctx context.Context, e environment, w workload) error {
		return runRiver(ctx, e, w, cooldown)
	}
}

func runRiver(ctx context.Context, e environment, w workload, cooldown time.Duration) error {
	p, err := openPlain(e.database, connections)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer p.close()
	pool, err := pgxpool.New(ctx, e.database+"&pool_max_conns=16")
	if err != nil {
		return fmt.Errorf("open pool: %w", err)
	}
	defer pool.Close()
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet()})
	if err != nil {
		return fmt.Errorf("make river's migrator: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate river: %w", err)
	}
	counter := newCounter(w.Writes)
	workers := river.NewWorkers()
	river.AddWorker(workers, &updateWorker{plain: p, counter: counter})
	client, err := river.NewClient(driver, &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: riverWorkers}},
		FetchCooldown: cooldown,
		Workers:       workers, Logger: quiet(),
	})
	if err != nil {
		return fmt.Errorf("make river's client: %w", err)
	}
	if err := client.Start(ctx); err != nil {
		return fmt.Errorf("start river: %w", err)
	}
	defer func() { _ = client.StopAndCancel(context.WithoutCancel(ctx)) }()
	e.begin()
	if err := insertJobs(ctx, client, w); err != nil {
		return err
	}
	return counter.wait(ctx)
}

// insertJobs inserts the workload in order.
func insertJobs(ctx context.Context, client *river.Client[pgx.Tx], w workload) error {
	jobs := make([]river.InsertManyParams, 0, riverInsert)
	for u := range w.share(0, 1) {
		jobs = append(jobs, river.InsertManyParams{Args: updateJob{Update: u}})
		if len(jobs) == riverInsert || u.N == w.Writes-1 {
			if _, err := client.InsertManyFast(ctx, jobs); err != nil {
				return fmt.Errorf("insert jobs: %w", err)
			}
			jobs = jobs[:0]
		}
	}
	return nil
}
