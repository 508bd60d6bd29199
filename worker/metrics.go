package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"patchlane/tasks/contact"
	"patchlane/tasks/exemplar"
)

// metrics are those of one worker. Every label value is there from the start,
// so that a rate can be taken of the first event too.
type metrics struct {
	drains      *prometheus.CounterVec
	batch       prometheus.Histogram
	latency     *prometheus.HistogramVec
	optouts     *prometheus.HistogramVec
	skips       *prometheus.CounterVec
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
	yields      prometheus.Counter
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
		latency: f.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "patchlane", Subsystem: "worker", Name: "accept_to_applied_seconds",
			Help:    "Time from the acceptance of a write or an event to its outcome, by the way it came in.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600},
		}, []string{"source"}),
		optouts: f.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "patchlane", Subsystem: "worker", Name: "optout_applied_seconds",
			Help: "Time from the acceptance of an opt-out, by the clock of Redis, until every contact with its address shows it, " +
				"by the clock of the worker.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600},
		}, []string{"channel"}),
		skips: f.NewCounterVec(prometheus.CounterOpts{
			Namespace: "patchlane", Subsystem: "worker", Name: "skipped_fields_total",
			Help: "Members of writes that were not applied on purpose, by the reason; newer_consent: a newer opt-out or opt-in stands.",
		}, []string{"reason"}),
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
		yields:      counter("yields_total", "Batches of writes that let a batch of events go first."),
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
	for _, source := range sources() {
		m.latency.WithLabelValues(source)
	}
	for _, channel := range contact.Channels() {
		m.optouts.WithLabelValues(channel.String())
	}
	for _, reason := range skipReasons() {
		m.skips.WithLabelValues(reason)
	}
	return m
}

// otherSource stands for every source that is none of ours: what an entry says
// of itself must not make a series.
const otherSource = "other"

// sources lists the values of the label.
func sources() []string {
	return []string{
		string(contact.SourcePatch), string(contact.SourceBatch), string(contact.SourceBulk), string(contact.SourceAdmin),
		string(contact.SourceWebhook), string(contact.SourceSuppression), string(contact.SourceUnsubscribe),
		string(contact.SourceReview), otherSource,
	}
}

// sourceLabel returns the label of an entry.
func sourceLabel(e *contact.Entry) string {
	switch e.Source {
	case contact.SourcePatch, contact.SourceBatch, contact.SourceBulk, contact.SourceAdmin,
		contact.SourceWebhook, contact.SourceSuppression, contact.SourceUnsubscribe, contact.SourceReview:
		return string(e.Source)
	default:
		return otherSource
	}
}

// skipReasons lists why a member of a write is left out.
func skipReasons() []string {
	return []string{contact.SkipNewerConsent, contact.SkipChangedSince, contact.SkipSuppressedAddress}
}

// failureCodes lists what a write can fail with after it was accepted.
func failureCodes() []contact.Code {
	return []contact.Code{
		contact.CodeNotFound, contact.CodeArchived, contact.CodeDuplicate, contact.CodeLimitExceeded,
		contact.CodeConsentLocked, contact.CodePreconditionFailed, contact.CodeValidationFailed,
		contact.CodeUnreadable, contact.CodeDataError,
	}
}

// applied counts what one transaction did with the head of a batch.
func (m *metrics) applied(batch []contact.Entry, b contact.AppliedBatch, now time.Time) {
	m.batch.Observe(float64(b.Consumed))
	m.replays.Add(float64(b.Replays))
	for _, i := range fresh(b) {
		o, entry := &b.Outcomes[i], &batch[i]
		m.outcomes.WithLabelValues(string(o.State), string(o.Code)).Inc()
		took := max(0, o.AppliedAt.Sub(o.AcceptedAt).Seconds())
		exemplar.Observe(m.latency.WithLabelValues(sourceLabel(entry)), took, entry.TraceParent)
		for _, s := range o.Skipped {
			m.skips.WithLabelValues(s.Reason).Inc()
		}
		if e := entry.Event; e != nil && e.Action == contact.OptOut {
			took := max(0, now.Sub(o.AcceptedAt).Seconds())
			exemplar.Observe(m.optouts.WithLabelValues(e.Channel.String()), took, e.TraceParent)
		}
	}
}
