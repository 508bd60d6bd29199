package store

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// keepEvery is about how often a Keeper looks. Months are made a year ahead and
// go by months, so it may fail for long before anybody notices; the metric tells.
const keepEvery = 10 * time.Minute

// upkeepTimeout ends a look, and with it a connection that does not answer.
const upkeepTimeout = 15 * time.Minute

// KeeperConfig says how a Keeper works.
type KeeperConfig struct {
	Retention Retention
	// Registerer takes the metrics; nil: they are kept nowhere.
	Registerer prometheus.Registerer
	// Logger is nil for none.
	Logger *slog.Logger
}

// Keeper looks after the age of the data, beside the writes: partitions of the
// coming months, and the end of what is older than its retention. Any number of
// processes may have one; what one does another finds done. It keeps out of the
// way of the writes: no batch waits for it longer than about 200 ms.
type Keeper struct {
	store  *Store
	db     *pool
	retain Retention
	// patience is what the write path may be made to wait.
	patience patience
	logger   *slog.Logger
	metrics  *keeperMetrics
}

// keeperMetrics are the figures of one Keeper.
type keeperMetrics struct {
	ahead   prometheus.Gauge
	runs    *prometheus.CounterVec
	emptied prometheus.Counter
	deleted *prometheus.CounterVec
}

// NewKeeper makes a Keeper of the store's database.
func (s *Store) NewKeeper(cfg KeeperConfig) *Keeper {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := promauto.With(cfg.Registerer)
	m := &keeperMetrics{
		ahead: f.NewGauge(prometheus.GaugeOpts{
			Name: "patchlane_store_partitions_ahead_months",
			Help: "Months after this one for which the ledger has a partition; NaN until the first look.",
		}),
		runs: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_store_upkeep_runs_total", Help: "Looks after the age of the data, by how they ended.",
		}, []string{"end"}),
		emptied: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_store_partitions_emptied_total", Help: "Partitions of the ledger emptied by the retention.",
		}),
		deleted: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_store_retention_deleted_total",
			Help: "Rows deleted by the retention one by one, by table; partitions that were emptied are not counted here.",
		}, []string{"table"}),
	}
	m.ahead.Set(math.NaN())
	for _, end := range []string{"ok", "error"} {
		m.runs.WithLabelValues(end)
	}
	for _, table := range []string{"writes", "failed_writes", "webhook_events", "left_addresses"} {
		m.deleted.WithLabelValues(table)
	}
	return &Keeper{store: s, db: s.read, retain: cfg.Retention, patience: politely, logger: cfg.Logger, metrics: m}
}

// Run looks after the data until ctx ends. The first look is soon after the
// start, and two processes that start at once do not look at once.
func (k *Keeper) Run(ctx context.Context) error {
	timer := time.NewTimer(rand.N(5 * time.Second)) //nolint:gosec // jitter is no secret
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := k.Once(ctx); err != nil && ctx.Err() == nil {
			k.logger.WarnContext(ctx, "upkeep of the database was not finished, it will be tried again", "err", err)
		}
		timer.Reset(keepEvery/2 + rand.N(keepEvery)) //nolint:gosec // jitter is no secret
	}
}

// Once is one look. What fails does not keep the rest from being done.
func (k *Keeper) Once(ctx context.Context) error {
	ctx, cancel := withDeadline(ctx, "upkeep", upkeepTimeout)
	defer cancel()
	problems := []error{makePartitions(ctx, k.db, k.patience)}
	if n, err := k.store.PartitionsAhead(ctx); err != nil {
		problems = append(problems, err)
	} else {
		k.metrics.ahead.Set(float64(n))
	}
	if k.retain.Writes > 0 {
		problems = append(problems, k.trimWrites(ctx))
	}
	if k.retain.Events > 0 {
		problems = append(problems, k.trimEvents(ctx))
	}
	problems = append(problems, k.trimLeft(ctx), k.store.FinishErasures(ctx))
	err := errors.Join(problems...)
	end := "ok"
	if err != nil {
		end = "error"
	}
	k.metrics.runs.WithLabelValues(end).Inc()
	return err
}

// errTooMany takes an emptying back that would put too many rows back.
var errTooMany = errors.New("too many failed writes wait in the partition")
