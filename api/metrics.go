package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
	"patchlane/tasks/exemplar"
)

// The outcomes of accepting, as label values.
const (
	acceptNew         = "accepted"
	acceptReplayed    = "replayed"
	acceptRefused     = "refused"
	acceptUnavailable = "unavailable"
)

// metrics are those of one server.
type metrics struct {
	accepts       *prometheus.CounterVec
	acceptSeconds prometheus.Histogram
	applied       prometheus.Histogram
	requests      *prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	inFlight      prometheus.Gauge
	limited       *prometheus.CounterVec
	unpaid        *prometheus.CounterVec
}

// newMetrics registers the metrics and gives every label value its zero, so
// that a rate is right from the first event on.
func newMetrics(reg prometheus.Registerer, routes []route) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		accepts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_api_accepts_total",
			Help: "Writes by what came of accepting them: accepted, replayed, refused, unavailable.",
		}, []string{"dialect", "outcome"}),
		acceptSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "patchlane_api_accept_seconds",
			Help:    "Time from the request's headers to the write being durable.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		applied: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "patchlane_api_waited_seconds",
			Help:    "Time from the request's headers to the outcome of a write that was waited for.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_api_requests_total", Help: "Requests by route and class of status.",
		}, []string{"route", "class"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "patchlane_api_request_seconds",
			Help:    "Time from a request's headers to its answer, waits included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"route"}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "patchlane_api_in_flight_requests", Help: "Requests under way.",
		}),
		limited: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_api_rate_limited_total", Help: "Requests and rows of batches refused for the limits of their key.",
		}, []string{"dialect"}),
		unpaid: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_api_credits_refused_total", Help: "Requests and rows of batches refused for want of credits.",
		}, []string{"dialect"}),
	}
	for _, d := range dialect.All() {
		for _, outcome := range []string{acceptNew, acceptReplayed, acceptRefused, acceptUnavailable} {
			m.accepts.WithLabelValues(d.Traits().Name, outcome)
		}
		m.limited.WithLabelValues(d.Traits().Name)
		m.unpaid.WithLabelValues(d.Traits().Name)
	}
	labels := append(make([]string, 0, len(routes)+1), "unknown")
	for i := range routes {
		labels = append(labels, routes[i].label())
	}
	for _, label := range labels {
		m.seconds.WithLabelValues(label)
		for class := 2; class <= 5; class++ {
			m.requests.WithLabelValues(label, strconv.Itoa(class)+"xx")
		}
	}
	return m
}

// request counts an answered request.
func (m *metrics) request(x *exchange, took time.Duration) {
	class := strconv.Itoa(max(x.status, http.StatusOK)/100) + "xx"
	m.requests.WithLabelValues(x.label(), class).Inc()
	exemplar.Observe(m.seconds.WithLabelValues(x.label()), took.Seconds(), x.traceParent())
}

// countRefusal counts what was refused for the limits of its key or for want of
// credits.
func (m *metrics) countRefusal(x *exchange, err error) {
	switch contact.CodeOf(err) {
	case contact.CodeRateLimited:
		m.limited.WithLabelValues(x.key.Dialect).Inc()
	case contact.CodeInsufficientCredits:
		m.unpaid.WithLabelValues(x.key.Dialect).Inc()
	default:
	}
}

// countAccept counts one write by what came of accepting it.
func (m *metrics) countAccept(x *exchange, receipt contact.Receipt, err error) {
	outcome := acceptNew
	switch code := contact.CodeOf(err); {
	case code == contact.CodeOverloaded, err != nil && unavailable(err):
		outcome = acceptUnavailable
	case err != nil:
		outcome = acceptRefused
	case receipt.Replayed:
		outcome = acceptReplayed
	}
	if x.outcome == "" && err == nil {
		x.outcome = outcome
	}
	m.accepts.WithLabelValues(x.key.Dialect, outcome).Inc()
}
