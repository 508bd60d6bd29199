package lane

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The outcomes of an append, as values of a label.
const (
	outcomeAccepted    = "accepted"
	outcomeReplayed    = "replayed"
	outcomeKeyReused   = "key_reused"
	outcomeOverloaded  = "overloaded"
	outcomeUnavailable = "unavailable"
	outcomeUnknown     = "unknown"
)

// metrics are the figures of one Lanes and its Appender.
type metrics struct {
	appends  *prometheus.CounterVec
	gathered prometheus.Histogram
	pipeline prometheus.Histogram
	repeats  prometheus.Counter
	rings    *prometheus.CounterVec
	raises   prometheus.Counter
	sweeps   prometheus.Counter
	cured    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		appends: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_lane_appends_total",
			Help: "Appends asked for, by outcome.",
		}, []string{"outcome"}),
		gathered: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "patchlane_lane_gathered_entries",
			Help:    "Entries sent in one pipeline.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		}),
		pipeline: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "patchlane_lane_pipeline_seconds",
			Help:    "Time from sending a pipeline of appends to its last reply.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 14),
		}),
		repeats: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_lane_append_repeats_total",
			Help: "Calls that were repeated because their fate was unknown.",
		}),
		rings: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_lane_rings_total",
			Help: "Attempts to ring for a lane, by result.",
		}, []string{"result"}),
		raises: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_lane_guard_raises_total",
			Help: "Lanes whose last id lay behind the committed offset: Redis lost data.",
		}),
		sweeps: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_lane_sweeps_found_total",
			Help: "Stalled lanes found by the sweep.",
		}),
		cured: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_lane_cured_keys_total",
			Help: "Leases and claims without a proper end that the sweep deleted.",
		}),
	}
	for _, o := range []string{
		outcomeAccepted, outcomeReplayed, outcomeKeyReused,
		outcomeOverloaded, outcomeUnavailable, outcomeUnknown,
	} {
		m.appends.WithLabelValues(o)
	}
	m.rings.WithLabelValues("ok")
	m.rings.WithLabelValues("error")
	return m
}

// scrapeTimeout bounds what a scrape waits for Redis.
const scrapeTimeout = 2 * time.Second

// collector describes the lanes at scrape time, so that the figures are those
// of Redis, not of this process.
type collector struct{ lanes *Lanes }

func (c *collector) descs() (up, depth, oldest, owned *prometheus.Desc) {
	lane := []string{"lane"}
	up = prometheus.NewDesc("patchlane_lanes_up",
		"1 when Redis described the lanes for this scrape.", nil, nil)
	depth = prometheus.NewDesc("patchlane_lane_depth", "Entries in the lane.", lane, nil)
	oldest = prometheus.NewDesc("patchlane_lane_oldest_seconds",
		"Age of the lane's oldest entry; 0 when it is empty.", lane, nil)
	owned = prometheus.NewDesc("patchlane_lane_owned",
		"1 while a drain holds the lane's lease.", lane, nil)
	return up, depth, oldest, owned
}

// pauseDescs describe what operators paused.
func (c *collector) pauseDescs() (aside, rests, accounts *prometheus.Desc) {
	lane := []string{"lane"}
	aside = prometheus.NewDesc("patchlane_lane_aside",
		"Entries of paused accounts that were put aside in the lane.", lane, nil)
	rests = prometheus.NewDesc("patchlane_lane_paused", "1 while operators keep drains out of the lane.", lane, nil)
	accounts = prometheus.NewDesc("patchlane_paused_accounts", "Accounts that operators paused.", nil, nil)
	return aside, rests, accounts
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	up, depth, oldest, owned := c.descs()
	ch <- up
	ch <- depth
	ch <- oldest
	ch <- owned
	aside, rests, accounts := c.pauseDescs()
	ch <- aside
	ch <- rests
	ch <- accounts
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	// The interface of a collector has no context to pass on.
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	up, depth, oldest, owned := c.descs()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	aside, rests, accounts := c.pauseDescs()
	stats, err := c.lanes.Stats(ctx)
	pauses, pauseErr := c.lanes.Pauses(ctx)
	if err != nil || pauseErr != nil {
		gauge(up, 0)
		return
	}
	gauge(up, 1)
	paused := 0.0
	for _, p := range pauses {
		paused += truth(p.Account != uuid.Nil)
	}
	gauge(accounts, paused)
	for _, s := range stats {
		lane := s.Lane.String()
		gauge(depth, float64(s.Depth), lane)
		gauge(oldest, s.Oldest.Seconds(), lane)
		gauge(owned, truth(s.Owner != ""), lane)
		gauge(aside, float64(s.Aside), lane)
		gauge(rests, truth(s.Paused), lane)
	}
}

// truth is 1 or 0.
func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
