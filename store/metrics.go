package store

import (
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"patchlane/tasks/contact"
)

// The steps of an Apply, as the label of its histogram.
const (
	stepLock    = "lock"
	stepRead    = "read"
	stepFold    = "fold"
	stepWrite   = "write"
	stepCommit  = "commit"
	stepRecheck = "recheck"
	stepFind    = "find"
)

// The label values of events that come from no provider, and from one that
// nobody named: what an entry says of itself must not make a series.
const (
	ownEvents     = "own"
	otherProvider = "other"
)

// metrics are the figures of one Store.
type metrics struct {
	step           *prometheus.HistogramVec
	redone         prometheus.Counter
	unknownCommits prometheus.Counter
	fenceLosses    prometheus.Counter
	replays        prometheus.Counter
	stale          prometheus.Counter
	events         *prometheus.CounterVec
	rechecked      prometheus.Counter
	// providers are the label values that an event may choose.
	providers []string
}

// newMetrics registers the figures; the gauges of the pools are read when they
// are scraped.
func newMetrics(reg prometheus.Registerer, pools map[string]*pgxpool.Pool, providers []string) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		providers: providers,
		step: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "patchlane_store_apply_seconds",
			Help:    "Time of each step of the transaction that applies a batch.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2.5, 11),
		}, []string{"step"}),
		redone: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_store_apply_redone_total",
			Help: "Batches redone after a serialization failure or a deadlock.",
		}),
		unknownCommits: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_store_unknown_commits_total",
			Help: "Commits whose answer was lost and that were settled by the ledger.",
		}),
		fenceLosses: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_store_fence_losses_total",
			Help: "Batches rolled back because the offset of their lane had moved.",
		}),
		replays: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_store_replays_total",
			Help: "Entries dropped because the ledger knew them.",
		}),
		stale: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_store_stale_entries_total",
			Help: "Entries dropped because they came back and are older than the ledger reaches: Redis was restored from an old file.",
		}),
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_store_events_total",
			Help: "Events of address lanes by provider and what became of them; stale: something newer stands; " +
				"own: suppressions, unsubscribe links and reviews.",
		}, []string{"provider", "result"}),
		rechecked: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_store_rechecked_contacts_total",
			Help: "Contacts opted out by the look after the commit that gave them an address.",
		}),
	}
	for _, result := range []string{
		contact.ResultApplied, contact.ResultStale, contact.ResultRecorded, contact.ResultReview,
		contact.ResultQuarantined, resultDuplicate,
	} {
		for _, provider := range append([]string{ownEvents, otherProvider}, providers...) {
			m.events.WithLabelValues(provider, result)
		}
	}
	for _, step := range []string{stepLock, stepRead, stepFold, stepWrite, stepCommit, stepRecheck, stepFind} {
		m.step.WithLabelValues(step)
	}
	for name, pool := range pools {
		poolMetrics(f, name, pool)
	}
	return m
}

// event counts an event by what became of it.
func (m *metrics) event(provider, result string) {
	switch {
	case provider == "":
		provider = ownEvents
	case !slices.Contains(m.providers, provider):
		provider = otherProvider
	}
	m.events.WithLabelValues(provider, result).Inc()
}

// poolMetrics exposes one pool.
func poolMetrics(f promauto.Factory, name string, pool *pgxpool.Pool) {
	labels := prometheus.Labels{"pool": name}
	gauge := func(metric, help string, value func(*pgxpool.Stat) float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: metric, Help: help, ConstLabels: labels},
			func() float64 { return value(pool.Stat()) })
	}
	gauge("patchlane_store_pool_max_connections", "Connections that the pool may open.",
		func(s *pgxpool.Stat) float64 { return float64(s.MaxConns()) })
	gauge("patchlane_store_pool_connections", "Connections that the pool has open.",
		func(s *pgxpool.Stat) float64 { return float64(s.TotalConns()) })
	gauge("patchlane_store_pool_used_connections", "Connections that are in use.",
		func(s *pgxpool.Stat) float64 { return float64(s.AcquiredConns()) })
	f.NewCounterFunc(prometheus.CounterOpts{
		Name: "patchlane_store_pool_waits_total", Help: "Calls that waited for a connection.", ConstLabels: labels,
	}, func() float64 { return float64(pool.Stat().EmptyAcquireCount()) })
	f.NewCounterFunc(prometheus.CounterOpts{
		Name: "patchlane_store_pool_wait_seconds_total", Help: "Time that calls waited for a connection.",
		ConstLabels: labels,
	}, func() float64 { return pool.Stat().EmptyAcquireWaitTime().Seconds() })
}
