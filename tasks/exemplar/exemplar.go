// Package exemplar ties a measured duration to the trace that it was measured
// in: a histogram in OpenMetrics form carries the trace id of one observation a
// bucket, which a dashboard shows as a dot that leads to the trace.
package exemplar

import "github.com/prometheus/client_golang/prometheus"

// label is the name under which Grafana and its kin look for a trace id.
const label = "trace_id"

// Observe counts seconds, with the trace id of a W3C traceparent when it has
// one. What else stands in the header never reaches a metric.
func Observe(o prometheus.Observer, seconds float64, traceParent string) {
	id := TraceID(traceParent)
	if e, ok := o.(prometheus.ExemplarObserver); ok && id != "" {
		e.ObserveWithExemplar(seconds, prometheus.Labels{label: id})
		return
	}
	o.Observe(seconds)
}

// The places of a traceparent: version-traceid-parentid-flags.
const (
	idBegins = 3
	idEnds   = 35
)

// TraceID reads the trace id of a traceparent. It is empty when there is none,
// which the specification also says of an id of zeros.
func TraceID(traceParent string) string {
	if len(traceParent) <= idEnds || traceParent[idBegins-1] != '-' || traceParent[idEnds] != '-' {
		return ""
	}
	id, zeros := traceParent[idBegins:idEnds], true
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
		zeros = zeros && c == '0'
	}
	if zeros {
		return ""
	}
	return id
}
