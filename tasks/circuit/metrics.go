package circuit

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the figures of one circuit.
type metrics struct {
	open              prometheus.Gauge
	openings, refused prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, server string) *metrics {
	f := promauto.With(reg)
	labels := prometheus.Labels{"server": server}
	return &metrics{
		open: f.NewGauge(prometheus.GaugeOpts{
			Name: "patchlane_circuit_open", ConstLabels: labels,
			Help: "1: the server does not answer, and calls to it are refused at once.",
		}),
		openings: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_circuit_openings_total", ConstLabels: labels,
			Help: "Times that the server stopped answering.",
		}),
		refused: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_circuit_refused_total", ConstLabels: labels,
			Help: "Calls that were refused at once because the server did not answer.",
		}),
	}
}
