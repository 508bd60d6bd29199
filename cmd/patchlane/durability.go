package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
)

const (
	// durabilityInterval is how often the settings of Redis are looked at.
	durabilityInterval = 10 * time.Second
	// firstWait and mostWait are the back-off while a server is away.
	firstWait = 100 * time.Millisecond
	mostWait  = time.Second
)

// durability knows whether Redis keeps what it acknowledged. Until the first
// look succeeded, and while the settings do not keep it, nothing is accepted,
// unless the operator allowed a volatile queue: a 202 means durable.
type durability struct {
	rdb      redis.UniversalClient
	volatile bool
	logger   *slog.Logger
	gauge    prometheus.Gauge
	state    atomic.Uint32
	// looked is closed after the first answer of Redis.
	looked chan struct{}
}

// The states of durability.
const (
	unknownYet uint32 = iota
	durable
	notDurable
)

func newDurability(rdb redis.UniversalClient, allowVolatile bool, logger *slog.Logger, reg prometheus.Registerer) *durability {
	return &durability{
		rdb: rdb, volatile: allowVolatile, logger: logger, looked: make(chan struct{}),
		gauge: promauto.With(reg).NewGauge(prometheus.GaugeOpts{
			Name: "patchlane_queue_durable",
			Help: "1: Redis fsyncs every write before it acknowledges it; 0: it does not, or it was not asked yet.",
		}),
	}
}

// durable tells whether accepted writes survive.
func (d *durability) durable() bool { return d.state.Load() == durable }

// usable tells whether writes may be accepted.
func (d *durability) usable() bool {
	s := d.state.Load()
	return s == durable || (s == notDurable && d.volatile)
}

// wait waits for the first answer of Redis.
func (d *durability) wait(ctx context.Context) error {
	select {
	case <-d.looked:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watch looks until ctx ends. It returns a configError when the first answer
// of Redis is that it is not durable; later, when somebody changed the settings
// of a running server, it stops accepting and says so instead of dying.
func (d *durability) watch(ctx context.Context) error {
	wait := backOff{wait: firstWait, most: mostWait}
	for {
		found, err := d.look(ctx)
		if err == nil {
			if err := d.note(ctx, found); err != nil {
				return err
			}
			wait = backOff{wait: durabilityInterval, most: durabilityInterval}
		} else if ctx.Err() == nil && d.state.Load() == unknownYet {
			d.logger.WarnContext(ctx, "waiting for redis", "err", err)
		}
		if !wait.pause(ctx) {
			return nil
		}
	}
}

func (d *durability) look(ctx context.Context) (lane.Durability, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return lane.CheckDurability(ctx, d.rdb)
}

// note takes an answer over and refuses a first one that is bad.
func (d *durability) note(ctx context.Context, found lane.Durability) error {
	was := d.state.Load()
	if found.Durable {
		d.state.Store(durable)
		d.gauge.Set(1)
		if was == notDurable {
			d.logger.InfoContext(ctx, "queue is durable again")
		}
	} else {
		if was == unknownYet && !d.volatile {
			return refusal(found)
		}
		d.state.Store(notDurable)
		d.gauge.Set(0)
		if was != notDurable {
			d.logger.ErrorContext(ctx, "QUEUE IS NOT DURABLE: acknowledged writes can be lost with redis",
				"problems", found.Problems, "settings_hidden", found.Unknown, "accepting", d.volatile)
		}
	}
	if was == unknownYet {
		close(d.looked)
	}
	return nil
}

// refusal says which settings to change.
func refusal(found lane.Durability) error {
	return &configError{fmt.Errorf("refusing to start: redis could lose acknowledged writes. %s "+
		"Change its settings (appendonly yes, appendfsync always, no-appendfsync-on-rewrite no, maxmemory-policy noeviction), "+
		"or say --allow-volatile-queue", strings.Join(found.Problems, " "))}
}

// guard refuses appends that would not be durable.
type guard struct {
	queue *durability
	next  interface {
		Append(ctx context.Context, w *contact.Write) (contact.Receipt, error)
		AppendAll(ctx context.Context, writes []*contact.Write) ([]contact.Receipt, []error)
		AppendEvents(ctx context.Context, events []*contact.Event) ([]contact.Receipt, []error)
	}
}

var errNotDurable = errors.New("queue is not durable, or was not asked yet")

// Append appends if what is acknowledged is kept.
func (g guard) Append(ctx context.Context, w *contact.Write) (contact.Receipt, error) {
	if !g.queue.usable() {
		return contact.Receipt{}, notKept()
	}
	return g.next.Append(ctx, w)
}

// AppendAll is Append for many writes.
func (g guard) AppendAll(ctx context.Context, writes []*contact.Write) ([]contact.Receipt, []error) {
	if g.queue.usable() {
		return g.next.AppendAll(ctx, writes)
	}
	errs := make([]error, len(writes))
	for i := range errs {
		errs[i] = notKept()
	}
	return make([]contact.Receipt, len(writes)), errs
}

// AppendEvents is Append for what is about an address.
func (g guard) AppendEvents(ctx context.Context, events []*contact.Event) ([]contact.Receipt, []error) {
	if g.queue.usable() {
		return g.next.AppendEvents(ctx, events)
	}
	errs := make([]error, len(events))
	for i := range errs {
		errs[i] = notKept()
	}
	return make([]contact.Receipt, len(events)), errs
}

// notKept refuses a write that would not be kept.
func notKept() error {
	return &contact.Error{
		Code:       contact.CodeQueueUnavailable,
		Message:    "The queue cannot keep writes at the moment.",
		Fix:        "Send the same request again after the time in Retry-After.",
		RetryAfter: mostWait,
		Err:        errNotDurable,
	}
}
