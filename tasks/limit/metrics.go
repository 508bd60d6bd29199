package limit

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are those of one limiter.
type metrics struct {
	gathered prometheus.Histogram
	seconds  prometheus.Histogram
	failures prometheus.Counter
	orphans  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		gathered: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "patchlane_limit_gathered_requests",
			Help:    "Requests whose limits and credits one round trip to Redis settled.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "patchlane_limit_trip_seconds",
			Help:    "Time of one round trip for limits and credits.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 14),
		}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_limit_failures_total",
			Help: "Accounts whose limits and credits Redis did not answer for in one round trip.",
		}),
		orphans: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_limit_orphans_total",
			Help: "Charges that a lost process left behind, by what became of them: settled, released.",
		}, []string{"outcome"}),
	}
	m.orphans.WithLabelValues("settled")
	m.orphans.WithLabelValues("released")
	return m
}
