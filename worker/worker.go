package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"patchlane/tasks"
	"patchlane/tasks/contact"
)

// Options say what a Worker works with. Lanes, Store, Optouts, Publish, Sweeper,
// Offsets, Ring, Redis and Logger are required.
type Options struct {
	// Lanes is the worker's side of the lanes.
	Lanes laneLog
	// Store applies batches of writes, Optouts those of events.
	Store, Optouts applier
	// Publish sends outcomes to the API process that waits for them. A message
	// that is lost costs the waiter a look at the ledger, nothing else.
	Publish func(ctx context.Context, replyTo string, outcomes []contact.Outcome) error
	// Sweeper finds lanes that nobody drains.
	Sweeper sweeper
	// Offsets reads the committed offset of every lane.
	Offsets func(ctx context.Context) (map[contact.Lane]contact.Offset, error)
	// Ring enqueues the drain task of one generation; repeating it is free.
	Ring func(ctx context.Context, lane contact.Lane, generation int64) error
	// Redis is where asynq works. It gets a connection pool of its own.
	Redis asynq.RedisConnOpt

	Logger *slog.Logger
	// Registerer takes the worker's metrics; nil: nobody sees them.
	Registerer prometheus.Registerer

	// Traces makes the spans of batches and of their entries; nil: there are none,
	// at no cost.
	Traces trace.TracerProvider

	// Name is shown as the owner of a lane; default: the host's name.
	Name string
	// Concurrency is how many lanes are drained at once; default: 32, the
	// default number of contact lanes. With fewer slots than lanes a lane
	// waits for another one's slice to end.
	Concurrency int
	// OptoutConcurrency is the same for address lanes, which have slots of their
	// own; default: 8, the default number of them.
	OptoutConcurrency int
	// BatchSize is the largest number of entries in one transaction; default: 500.
	BatchSize int
	// BatchBytes is about the largest size of the entries read at once, in
	// bytes; default: 4 MiB. An entry is never split.
	BatchBytes int
	// Slice is how long a drain holds its slot; default: 2 s.
	Slice time.Duration
	// StopTimeout bounds Stop; default: 25 s, longer than the slowest batch.
	StopTimeout time.Duration
}

// The asynq settings; each was measured.
const (
	// taskCheckInterval is the idle poll: a ring is picked up after 6 ms (p50)
	// instead of 572 ms at asynq's default of 1 s.
	taskCheckInterval        = 10 * time.Millisecond
	delayedTaskCheckInterval = time.Second
	// retryDelay is for tasks whose handler died: drains themselves never fail.
	retryDelay = time.Second
	// fetchPatience bounds the wait for asynq's fetch loop, which cannot be
	// interrupted while Redis does not answer.
	fetchPatience = 2 * time.Second
)

// Worker drains lanes.
type Worker struct {
	o       Options
	metrics *metrics
	drains  *drains
	sweep   *sweep
	// inflight counts the handlers and take-overs that run. asynq does not
	// wait for a handler that it has given up, so the worker does.
	inflight inflight

	mu        sync.Mutex
	servers   servers
	inspector *asynq.Inspector
	cancel    context.CancelFunc
	stopped   bool

	stopOnce sync.Once
	stopErr  error
}

// New checks the options and returns a worker that does nothing yet.
func New(o Options) (*Worker, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("make worker: %w", err)
	}
	w := &Worker{o: o, metrics: newMetrics(o.Registerer)}
	w.drains = newDrains(o, w.metrics)
	w.sweep = newSweep(o, w.metrics, w.drains, &w.inflight)
	return w, nil
}

// complete fills in the defaults and reports everything that is missing.
func (o *Options) complete() error {
	var errs []error
	for _, r := range []struct {
		name    string
		missing bool
	}{
		{"Lanes", o.Lanes == nil},
		{"Store", o.Store == nil},
		{"Optouts", o.Optouts == nil},
		{"Publish", o.Publish == nil},
		{"Sweeper", o.Sweeper == nil},
		{"Offsets", o.Offsets == nil},
		{"Ring", o.Ring == nil},
		{"Redis", o.Redis == nil},
		{"Logger", o.Logger == nil},
	} {
		if r.missing {
			errs = append(errs, fmt.Errorf("option %s is missing", r.name))
		}
	}
	if min(o.Concurrency, o.OptoutConcurrency, o.BatchSize, o.BatchBytes) < 0 || min(o.Slice, o.StopTimeout) < 0 {
		errs = append(errs, errors.New("an option is negative"))
	}
	orDefault(&o.Concurrency, 32)
	orDefault(&o.OptoutConcurrency, 8)
	orDefault(&o.BatchSize, 500)
	orDefault(&o.BatchBytes, 4<<20)
	orDefault(&o.Slice, 2*time.Second)
	orDefault(&o.StopTimeout, 25*time.Second)
	if o.Name == "" {
		// A name is for people; an unknown host is no reason to refuse.
		if o.Name, _ = os.Hostname(); o.Name == "" {
			o.Name = "worker"
		}
	}
	return errors.Join(errs...)
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Start begins to drain and to sweep, and returns at once. It succeeds while
// Redis or Postgres is away; work begins when they answer. When ctx ends every
// drain leaves its lane after the batch in flight; Stop is still to be called.
func (w *Worker) Start(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.servers != nil || w.stopped {
		return errors.New("start worker: it was started or stopped before")
	}
	running, cancel := context.WithCancel(ctx)
	// The context of asynq's handlers goes on when the worker is told to stop,
	// on purpose: asynq gives a task back as soon as its context ends, while
	// its handler still works. Drains watch the running context themselves.
	work := context.WithoutCancel(ctx)
	// A queue has a server of its own: with one for both a backlog of writes
	// would hold the slots that an opt-out waits for.
	w.servers = servers{
		w.newServer(work, tasks.QueueOptouts, w.o.OptoutConcurrency),
		w.newServer(work, tasks.QueueWrites, w.o.Concurrency),
	}
	w.cancel, w.inspector = cancel, asynq.NewInspector(w.o.Redis)
	if err := w.servers.start(w.handler(running)); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	w.inflight.run(func() { w.sweep.run(running) })
	w.inflight.run(func() { w.sweep.watchQueues(running, w.inspector) })
	return nil
}

// newServer makes the asynq server of one queue.
func (w *Worker) newServer(work context.Context, queue string, slots int) *asynq.Server {
	return asynq.NewServer(w.o.Redis, asynq.Config{
		BaseContext:              func() context.Context { return work },
		Concurrency:              slots,
		Queues:                   map[string]int{queue: 1},
		TaskCheckInterval:        taskCheckInterval,
		DelayedTaskCheckInterval: delayedTaskCheckInterval,
		RetryDelayFunc:           func(int, error, *asynq.Task) time.Duration { return retryDelay },
		ShutdownTimeout:          w.o.StopTimeout,
		Logger:                   newAsynqLog(w.o.Logger),
		LogLevel:                 asynq.InfoLevel,
	})
}

// handler returns what asynq calls for a drain task. It always returns nil:
// whatever happened, the next ring is the drain's or the sweep's to make, and
// asynq's own retry, archive and back-off play no part.
func (w *Worker) handler(running context.Context) asynq.Handler {
	return asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		lane, generation, err := tasks.ParseDrain(task)
		if task.Type() != tasks.TypeDrain || err != nil {
			w.metrics.strangers.Inc()
			w.o.Logger.ErrorContext(ctx, "task is none of ours", "type", task.Type(), "err", err)
			return nil
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(running, cancel)()
		w.inflight.do(func() { w.drains.drain(ctx, lane, generation) })
		return nil
	})
}

// Stop ends the worker in order: no more tasks are fetched, the batches in
// flight are finished, their lanes are left so that others take them over at
// once, then asynq and its connections go. It takes at most StopTimeout, or
// until ctx ends, and names each step that did not end by then. Calling it
// again returns the first call's result.
func (w *Worker) Stop(ctx context.Context) error {
	w.stopOnce.Do(func() { w.stopErr = w.stop(ctx) })
	return w.stopErr
}

func (w *Worker) stop(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.servers == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.o.StopTimeout)
	defer cancel()
	// Fetching ends before drains leave: a lane that is left rings, and this
	// worker must not be the one that answers. When Redis is away the fetch
	// loop hangs; then the drains, which hang too, are told all the same.
	fetched := background(w.servers.stop)
	awaitFor(ctx, fetched, fetchPatience)
	w.cancel()
	return errors.Join(
		await(ctx, "fetch of tasks", fetched),
		await(ctx, "asynq", background(w.servers.shutdown)),
		await(ctx, "drains in flight", background(w.inflight.close)),
		w.closeInspector(),
	)
}

func (w *Worker) closeInspector() error {
	if err := w.inspector.Close(); err != nil {
		return fmt.Errorf("stop worker: close inspector: %w", err)
	}
	return nil
}
