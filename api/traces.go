package api

import (
	"context"
	"net/http"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"patchlane/tasks/contact"
	"patchlane/tasks/traces"
)

// tracer makes the spans of a server; nil: there are none, and every method
// returns at once.
type tracer struct{ spans trace.Tracer }

// newTracer takes the provider of the options.
func newTracer(p trace.TracerProvider) *tracer {
	if p == nil {
		return nil
	}
	return &tracer{p.Tracer(traces.Scope)}
}

// request begins the span of a request within the trace that the client sent.
// Probes have none: they would outnumber everything else.
func (t *tracer) request(ctx context.Context, x *exchange) context.Context {
	if t == nil || x.probe() {
		return ctx
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(x.Header))
	name, attrs := methodName(x.Method), make([]traces.Member, 0, 3)
	attrs = append(attrs, methodMember(x.Method), semconv.URLScheme("http"))
	if x.TLS != nil {
		attrs[1] = semconv.URLScheme("https")
	}
	if x.route != nil {
		name += " " + x.label()
		attrs = append(attrs, semconv.HTTPRoute(x.label()))
	}
	ctx, x.span = t.spans.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attrs...))
	x.trace = traces.Parent(x.span.SpanContext())
	return ctx
}

// answered ends the span of a request. Of what went wrong it holds the code,
// never the text.
func (t *tracer) answered(x *exchange) {
	if t == nil || x.span == nil {
		return
	}
	attrs := append(make([]traces.Member, 0, 5), semconv.HTTPResponseStatusCode(max(x.status, http.StatusOK)))
	if x.key != nil {
		attrs = append(attrs, traces.ID(traces.Account, x.key.Account))
	}
	if x.writeID != uuid.Nil {
		attrs = append(attrs, traces.ID(traces.Write, x.writeID))
	}
	if x.outcome != "" {
		attrs = append(attrs, traces.Outcome.String(x.outcome))
	}
	if x.status >= http.StatusInternalServerError {
		attrs = append(attrs, semconv.ErrorTypeKey.String(x.outcome))
		x.span.SetStatus(codes.Error, x.outcome)
	}
	x.span.SetAttributes(attrs...)
	x.span.End()
}

// appending is an append that is under way.
type appending struct {
	span trace.Span
	// parent is what its entries carry.
	parent string
}

// append begins the span of an append of n entries, which the gatherer may send
// together with those of other requests. Its end is that of all n.
func (t *tracer) append(ctx context.Context, n int) (context.Context, appending) {
	if t == nil {
		return ctx, appending{}
	}
	attrs := traces.Messaging("append", semconv.MessagingOperationTypeSend)
	if n != 1 {
		attrs = append(attrs, semconv.MessagingBatchMessageCount(n))
	}
	ctx, span := t.spans.Start(ctx, traces.AppendLane,
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...))
	return ctx, appending{span, traces.Parent(span.SpanContext())}
}

// carryWrites puts the append into the entries, so that the worker goes on in
// its trace.
func (a appending) carryWrites(writes ...*contact.Write) {
	if a.span == nil {
		return
	}
	for _, w := range writes {
		w.TraceParent = a.parent
	}
	if len(writes) == 1 {
		a.name(writes[0].ID, writes[0].Contact)
	}
}

// carryEvents is carryWrites for events.
func (a appending) carryEvents(events []*contact.Event) {
	if a.span == nil {
		return
	}
	for _, e := range events {
		e.TraceParent = a.parent
	}
	if len(events) == 1 {
		a.name(events[0].ID, events[0].Contact)
	}
}

// name says where the only entry goes.
func (a appending) name(id, about uuid.UUID) {
	if lane, ours := contact.LaneOfWrite(id); ours {
		a.span.SetAttributes(traces.Destination(lane))
	}
	if about != uuid.Nil {
		a.span.SetAttributes(traces.ID(traces.Contact, about))
	}
}

// end ends the append. An only entry is named as it is known from now on, which
// is another id than its own when it repeats an earlier one. The first error is
// told by its code.
func (a appending) end(receipts []contact.Receipt, errs ...error) {
	if a.span == nil {
		return
	}
	if len(receipts) == 1 && receipts[0].WriteID != uuid.Nil {
		id := receipts[0].WriteID
		a.span.SetAttributes(semconv.MessagingMessageID(id.String()), traces.ID(traces.Write, id),
			traces.Replayed.Bool(receipts[0].Replayed))
	}
	for _, err := range errs {
		if err != nil {
			code := string(contact.CodeOf(queueError(err)))
			a.span.SetAttributes(semconv.ErrorTypeKey.String(code))
			a.span.SetStatus(codes.Error, code)
			break
		}
	}
	a.span.End()
}

// traceParent is the trace of a request: of its span when it has one, else what
// the client sent.
func (x *exchange) traceParent() string {
	if x.span != nil {
		return x.trace
	}
	return traceParent(x.Header)
}

// probe tells requests of orchestrators.
func (x *exchange) probe() bool {
	return x.route != nil && (x.route.pattern == "/livez" || x.route.pattern == "/readyz")
}

// methodName is what the span of a request is called before its route.
func methodName(method string) string {
	if m := knownMethod(method); m == method {
		return m
	}
	return "HTTP"
}

func methodMember(method string) traces.Member {
	if knownMethod(method) == method {
		return semconv.HTTPRequestMethodKey.String(method)
	}
	return semconv.HTTPRequestMethodOther
}
