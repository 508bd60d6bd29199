package api

import (
	"crypto/sha256"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"patchlane/api/signature"
	"patchlane/tasks/contact"
)

// events makes the events of the address lanes out of what a provider said, and
// one for each element that could not be read.
func (h *hook) events(d *signature.Decoded) ([]*contact.Event, error) {
	events := make([]*contact.Event, 0, len(d.Events)+len(d.Quarantined))
	for i := range d.Events {
		e := newEvent(&d.Events[i])
		events = append(events, &e)
	}
	for i := range d.Quarantined {
		e := quarantined(&d.Quarantined[i], h)
		events = append(events, &e)
	}
	now, trace := h.server.now(), h.x.traceParent()
	for _, e := range events {
		e.Account, e.Endpoint, e.Provider = h.record.Account, h.record.ID, h.record.Provider
		e.Source, e.TraceParent = contact.SourceWebhook, trace
		if err := e.Mint(now, h.server.opt.Lanes.Address); err != nil {
			return nil, fmt.Errorf("mint event: %w", err)
		}
	}
	return events, nil
}

// newEvent translates an event.
func newEvent(e *signature.Event) contact.Event {
	out := contact.Event{
		Channel: channelOf(e.Channel), Address: e.Address, Action: actionOf(e), Cause: e.Cause,
		At: e.At, WholeSeconds: e.WholeSeconds, Ambiguous: e.Ambiguous,
		Reason: e.Reason, Type: e.Kind, ProviderID: e.ProviderID, Evidence: e.Evidence,
	}
	if key, ok := contact.ParseEventKey(e.DedupID); ok {
		out.Dedup = key
	}
	return out
}

// quarantined translates an element that could not be read. The same bytes at
// the same endpoint are one such element, however often they come.
func quarantined(q *signature.Quarantined, h *hook) contact.Event {
	sum := sha256.New()
	sum.Write(h.record.ID[:])
	sum.Write(q.Raw)
	out := contact.Event{
		Channel: contact.EmailChannel, Action: contact.Quarantine,
		Reason: q.Reason, Type: q.Detail, Evidence: q.Raw,
	}
	copy(out.Dedup[:], sum.Sum(nil))
	return out
}

func channelOf(c signature.Channel) contact.Channel {
	if c == signature.SMS {
		return contact.SMSChannel
	}
	return contact.EmailChannel
}

// actionOf says what an event asks its address lane for.
func actionOf(e *signature.Event) contact.Action {
	switch {
	case e.Action == signature.OptOut:
		return contact.OptOut
	case e.Action == signature.OptIn && e.Channel == signature.SMS:
		return contact.Start
	case e.Action == signature.OptIn:
		return contact.Resubscribe
	case e.Action == signature.Review:
		return contact.Review
	case e.OptInIfStopped:
		return contact.StartIfStopped
	default:
		return contact.Note
	}
}

// The outcomes of a request of a provider, as label values.
const (
	hookAccepted   = "accepted"
	hookChallenge  = "challenge"
	hookRefused    = "refused"
	hookOverloaded = "overloaded"
)

// hookIgnored counts elements that were read and have no address to be about.
const hookIgnored = "ignored"

// hookMetrics are those of the webhooks of one server.
type hookMetrics struct {
	requests    *prometheus.CounterVec
	refusals    *prometheus.CounterVec
	events      *prometheus.CounterVec
	quarantined *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	feedsCut    prometheus.Counter
	clicks      prometheus.Counter
}

// newHookMetrics registers them and gives every label value its zero.
func newHookMetrics(reg prometheus.Registerer) *hookMetrics {
	f := promauto.With(reg)
	m := &hookMetrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_webhook_requests_total",
			Help: "Requests of providers by outcome: accepted, challenge, refused, overloaded.",
		}, []string{"provider", "outcome"}),
		refusals: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_webhook_refusals_total",
			Help: "Requests that could not prove to come from the provider, by reason.",
		}, []string{"provider", "reason"}),
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_webhook_events_total",
			Help: "Events that were made durable by what they ask for; ignored: elements without meaning for consent.",
		}, []string{"provider", "action"}),
		quarantined: f.NewCounterVec(prometheus.CounterOpts{
			Name: "patchlane_webhook_quarantined_total",
			Help: "Elements that could not be read after a good signature, by reason.",
		}, []string{"provider", "reason"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "patchlane_webhook_seconds",
			Help:    "Time from a provider's headers to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"provider"}),
		feedsCut: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_webhook_feeds_cut_total",
			Help: "SNS subscriptions that were ended: opt-outs of their topics do not come any more.",
		}),
		clicks: f.NewCounter(prometheus.CounterOpts{
			Name: "patchlane_unsubscribe_clicks_total",
			Help: "Unsubscribe links that were used.",
		}),
	}
	for _, p := range signature.Providers() {
		m.initialise(string(p))
	}
	return m
}

// initialise gives the label values of a provider their zeros.
func (m *hookMetrics) initialise(provider string) {
	for _, outcome := range []string{hookAccepted, hookChallenge, hookRefused, hookOverloaded} {
		m.requests.WithLabelValues(provider, outcome)
	}
	for _, reason := range []signature.Reason{
		signature.RefusedNoSecret, signature.RefusedMethod, signature.RefusedTooLarge, signature.RefusedMissingSignature,
		signature.RefusedBadSignature, signature.RefusedCredentials, signature.RefusedStale, signature.RefusedFuture,
		signature.RefusedDuplicateKey, signature.RefusedUnreadable, signature.RefusedTopic, signature.RefusedCertificate,
		signature.RefusedUnsigned, signature.RefusedReplay, signature.RefusedProvider,
	} {
		m.refusals.WithLabelValues(provider, string(reason))
	}
	for _, action := range []contact.Action{
		contact.OptOut, contact.Start, contact.Resubscribe, contact.StartIfStopped, contact.Review, contact.Note,
	} {
		m.events.WithLabelValues(provider, action.String())
	}
	m.events.WithLabelValues(provider, hookIgnored)
	for _, reason := range []string{
		signature.QuarantineMalformed, signature.QuarantineDuplicateKey, signature.QuarantineUnknownType,
		signature.QuarantineBadAddress,
	} {
		m.quarantined.WithLabelValues(provider, reason)
	}
	m.seconds.WithLabelValues(provider)
}

// count counts what a request held, once all of it was made durable.
func (h *hook) count(d *signature.Decoded) {
	p := string(h.provider)
	for i := range d.Events {
		h.metrics.events.WithLabelValues(p, actionOf(&d.Events[i]).String()).Inc()
	}
	for i := range d.Quarantined {
		h.metrics.quarantined.WithLabelValues(p, d.Quarantined[i].Reason).Inc()
	}
	h.metrics.events.WithLabelValues(p, hookIgnored).Add(float64(len(d.Ignored)))
	h.x.notes = append(h.x.notes, slog.Int("events", len(d.Events)), slog.Int("quarantined", len(d.Quarantined)))
}
