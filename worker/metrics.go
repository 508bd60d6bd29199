package worker

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"patchlane/tasks/contact"
)

// metrics are those of one worker. Every label value is there from the start,
// so that a rate can be taken of the first event too.
type metrics struct {
	drains      *prometheus.CounterVec
	batch       prometheus.Histogram
	latency     prometheus.Histogram
	outcomes    *prometheus.CounterVec
	replays     prometheus.Counter
	fenced      prometheus.Counter
	held        prometheus.Counter
	outages     prometheus.Counter
	bisections  prometheus.Counter
	failures    prometheus.Counter
	trimmed     prometheus.Counter
	unpublished prometheus.Counter
	unrung      prometheus.Counter
	strangers   prometheus.Counter
	finds       prometheus.Counter
	takeovers   prometheus.Counter
	alarms      prometheus.Counter
	unpaused    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{
			Namespace: "patchlane", Subsystem: "worker", Name: name, Help: help,
		})
	}
	m := &metrics{
		drains: f.NewCounterVec(prometheus.CounterOpts{
			Namespace: "patchlane", Subsystem: "worker", Name: "drains_total",
			Help: "Drains by the reason of their end.",
		}, []string{"end"}),
		batch: f.NewHistogram(prometheus.HistogramOpts{
			Namespace: "patchlane", Subsystem: "worker", Name: "batch_entries",
			Help:    "Entries committed by one transaction.",
			Buckets: []float64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000},
		}),
		latency: f.NewHistogram(prometheus.HistogramOpts{
			Namespace: "patchlane", Subsystem: "worker", Name: "accept_to_applied_seconds",
			Help:    "Time from the acceptance of a write to its outcome.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600},
		}),
		outcomes: f.NewCounterVec(prometheus.CounterOpts{
			Namespace: "patchlane", Subsystem: "worker", Name: "outcomes_total",
			Help: "Outcomes of writes by state and, for failed ones, code.",
		}, []string{"state", "code"}),
		replays:     counter("replays_dropped_total", "Entries that the ledger knew already."),
		fenced:      counter("fence_losses_total", "Batches rolled back because the lane's offset had moved."),
		held:        counter("lane_held_total", "Batches given up because another transaction held the lane."),
		outages:     counter("outage_retries_total", "Rounds that failed because Redis or Postgres did not answer."),
		bisections:  counter("bisections_total", "Batches that were cut in half to find a refused entry."),
		failures:    counter("failures_recorded_total", "Entries recorded as failed because the store refused them."),
		trimmed:     counter("trimmed_entries_total", "Entries removed from the lanes after their commit."),
		unpublished: counter("outcomes_unpublished_total", "Waited outcomes whose message was not sent."),
		unrung:      counter("rings_lost_total", "Rings that could not be made and were left to the sweep."),
		strangers:   counter("strange_tasks_total", "Tasks in our queues that are none of ours."),
		finds:       counter("sweep_finds_total", "Lanes that a sweep found with work and without a drain."),
		takeovers:   counter("takeovers_total", "Lanes that the sweep drained itself."),
		alarms:      counter("guard_alarms_total", "Streams found behind their committed offset, and raised."),
		unpaused:    counter("queues_unpaused_total", "Queues of ours that were found paused."),
	}
	for _, e := range ends() {
		m.drains.WithLabelValues(string(e))
	}
	m.outcomes.WithLabelValues(string(contact.Applied), "")
	m.outcomes.WithLabelValues(string(contact.Unchanged), "")
	for _, code := range failureCodes() {
		m.outcomes.WithLabelValues(string(contact.Failed), string(code))
	}
	return m
}

// failureCodes lists what a write can fail with after it was accepted.
func failureCodes() []contact.Code {
	return []contact.Code{
		contact.CodeNotFound, contact.CodeArchived, contact.CodeDuplicate, contact.CodeLimitExceeded,
		contact.CodeConsentLocked, contact.CodePreconditionFailed, contact.CodeValidationFailed,
		contact.CodeUnreadable, contact.CodeDataError,
	}
}

// applied counts what one transaction did.
func (m *metrics) applied(b contact.AppliedBatch) {
	m.batch.Observe(float64(b.Consumed))
	m.replays.Add(float64(b.Replays))
	for _, o := range fresh(b) {
		m.outcomes.WithLabelValues(string(o.State), string(o.Code)).Inc()
		m.latency.Observe(max(0, o.AppliedAt.Sub(o.AcceptedAt).Seconds()))
	}
}
