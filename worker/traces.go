package worker

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"patchlane/tasks/contact"
	"patchlane/tasks/traces"
)

// tracer makes the spans of batches; nil: there are none, and every method
// returns at once.
type tracer struct{ spans trace.Tracer }

// newTracer takes the provider of the options.
func newTracer(p trace.TracerProvider) *tracer {
	if p == nil {
		return nil
	}
	return &tracer{p.Tracer(traces.Scope)}
}

// batchSpan is a batch that is under way. The zero value is one without spans.
type batchSpan struct {
	spans   trace.Tracer
	span    trace.Span
	lane    contact.Lane
	entries []contact.Entry
	// parents are the traces of the entries, place by place.
	parents []trace.SpanContext
	began   time.Time
}

// batch begins the span of a batch: the root of a trace of its own, since it
// serves as many as it has entries, and linked with each of them.
func (t *tracer) batch(
	ctx context.Context, lane contact.Lane, generation int64, entries []contact.Entry,
) (context.Context, batchSpan) {
	if t == nil {
		return ctx, batchSpan{}
	}
	b := batchSpan{
		spans: t.spans, lane: lane, entries: entries, began: time.Now(),
		parents: make([]trace.SpanContext, len(entries)),
	}
	links := make([]trace.Link, 0, len(entries))
	linked := make(map[trace.SpanID]bool, len(entries))
	for i := range entries {
		parent := traces.Remote(entries[i].TraceParent)
		b.parents[i] = parent
		// The writes of one request share its append.
		if parent.IsValid() && !linked[parent.SpanID()] {
			linked[parent.SpanID()] = true
			links = append(links, trace.Link{SpanContext: parent})
		}
	}
	attrs := append(traces.Messaging("apply", semconv.MessagingOperationTypeProcess),
		traces.Destination(lane), traces.Generation.Int64(generation),
		semconv.MessagingBatchMessageCount(len(entries)))
	ctx, b.span = t.spans.Start(ctx, traces.ApplyBatch, trace.WithNewRoot(), trace.WithTimestamp(b.began),
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...), trace.WithLinks(links...))
	return ctx, b
}

// end ends the batch, and shows what became of each entry in the entry's own
// trace. Entries that were not applied have their turn in another batch.
func (b batchSpan) end(ctx context.Context, applied contact.AppliedBatch, err error) {
	if b.span == nil {
		return
	}
	outcome := batchOutcome(applied, err)
	b.span.SetAttributes(traces.Outcome.String(outcome),
		traces.Consumed.Int(applied.Consumed), traces.Replays.Int(applied.Replays))
	if outcome != batchApplied {
		b.span.SetAttributes(semconv.ErrorTypeKey.String(outcome))
		b.span.SetStatus(codes.Error, outcome)
	}
	ended := time.Now()
	b.span.End(trace.WithTimestamp(ended))
	if outcome != batchApplied {
		return
	}
	replayed := make(map[int]bool, applied.Replays)
	if applied.Replays > 0 {
		for i := range applied.Consumed {
			replayed[i] = true
		}
		for _, i := range fresh(applied) {
			delete(replayed, i)
		}
	}
	for i := range applied.Outcomes {
		if b.parents[i].IsSampled() {
			b.entry(ctx, i, &applied.Outcomes[i], replayed[i], ended)
		}
	}
}

// entry makes the span of one entry: as long as the transaction that it was
// applied in, a child of the append that made it durable.
func (b batchSpan) entry(ctx context.Context, i int, o *contact.Outcome, replayed bool, ended time.Time) {
	e := &b.entries[i]
	name := traces.ApplyWrite
	if e.Event != nil {
		name = traces.ApplyEvent
	}
	attrs := append(traces.Messaging("apply", semconv.MessagingOperationTypeProcess),
		traces.Destination(b.lane), semconv.MessagingMessageID(o.WriteID.String()),
		traces.ID(traces.Write, o.WriteID), traces.State.String(string(o.State)),
		traces.Version.Int64(o.Version), traces.Source.String(sourceLabel(e)),
		traces.Replayed.Bool(replayed), traces.Queued.Int64(max(0, b.began.Sub(e.AcceptedAt).Milliseconds())))
	for key, id := range map[attribute.Key]uuid.UUID{traces.Account: e.Account, traces.Contact: e.Contact} {
		if id != uuid.Nil {
			attrs = append(attrs, traces.ID(key, id))
		}
	}
	_, span := b.spans.Start(traces.Within(ctx, b.parents[i]), name, trace.WithTimestamp(b.began),
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...),
		trace.WithLinks(trace.Link{SpanContext: b.span.SpanContext()}))
	if o.State == contact.Failed {
		span.SetAttributes(semconv.ErrorTypeKey.String(string(o.Code)))
		span.SetStatus(codes.Error, string(o.Code))
	}
	span.End(trace.WithTimestamp(ended))
}

// The outcomes of a batch.
const (
	batchApplied = "applied"
	batchHeld    = "held"
	batchFenced  = "fenced"
	batchRefused = "refused"
	batchOutage  = "outage"
	batchBug     = "bug"
)

// batchOutcome says in one word how a batch ended: the text of an error may
// quote a value of a contact.
func batchOutcome(applied contact.AppliedBatch, err error) string {
	switch {
	case errors.Is(err, contact.ErrLaneHeld):
		return batchHeld
	case errors.Is(err, contact.ErrFenced):
		return batchFenced
	case refusal(err) != nil:
		return batchRefused
	case err != nil:
		return batchOutage
	case applied.Consumed == 0:
		return batchBug // A panic is on its way.
	default:
		return batchApplied
	}
}
