package conn

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are those of the guarded listener of a process.
type Metrics struct {
	open       prometheus.Gauge
	evicted    prometheus.Counter
	turnedAway prometheus.Counter
	refused    *prometheus.CounterVec
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		open: f.NewGauge(prometheus.GaugeOpts{
			Name: "patchlane_http_connections",
			Help: "Open connections of the public listener.",
		}),
		evicted: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_http_connections_evicted_total",
			Help: "Idle connections that were closed to make room.",
		}),
		turnedAway: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_http_connections_refused_total",
			Help: "Connections that found no place.",
		}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_http_framing_refusals_total",
			Help: "Requests whose end two parsers may see in two places, by reason.",
		}, []string{"reason"}),
	}
	for _, r := range reasons() {
		m.refused.WithLabelValues(string(r))
	}
	return m
}

func (m *Metrics) refusal(err error) {
	if r, ok := errors.AsType[*refusal](err); ok {
		m.refused.WithLabelValues(string(r.reason)).Inc()
	}
}
