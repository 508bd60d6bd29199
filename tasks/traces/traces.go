// Package traces holds what the API and the worker have in common about
// OpenTelemetry: how the trace of a request travels in an entry, and how the
// members of spans are called. It knows no SDK: without one configured nothing
// here is ever called.
//
// A trace goes from the request over its lane to the row of the change log:
//
//	PATCH /v1/contacts/{id}     server span, child of the client's if it sent one
//	  append lane               until the entry is durable; its id is in the entry
//	    apply write             in the transaction that made the write visible
//
// The id of the write on the last of them is the id on the rows of the ledger and
// of the change log. A batch serves many traces, so it is the root of one of its
// own, "apply batch", linked with each of them.
//
// No member of a span holds what a client or a provider sent: no address, no
// value, no text of an error.
package traces

import (
	"context"
	"encoding/hex"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"patchlane/tasks/contact"
)

// Scope is the name of the instrumentation.
const Scope = "patchlane"

// The names of the spans beside those of requests, which are called as their
// method and route.
const (
	// AppendLane makes writes or events durable.
	AppendLane = "append lane"
	// ApplyBatch is one transaction of a lane, or the try of one.
	ApplyBatch = "apply batch"
	// ApplyWrite and ApplyEvent are one entry in it.
	ApplyWrite = "apply write"
	ApplyEvent = "apply event"
)

// Member is one member of a span.
type Member = attribute.KeyValue

// The members of spans that no convention names.
const (
	Account    = attribute.Key("patchlane.account_id")
	Contact    = attribute.Key("patchlane.contact_id")
	Write      = attribute.Key("patchlane.write_id")
	Version    = attribute.Key("patchlane.version")
	State      = attribute.Key("patchlane.state")
	Outcome    = attribute.Key("patchlane.outcome")
	Source     = attribute.Key("patchlane.source")
	Generation = attribute.Key("patchlane.generation")
	Consumed   = attribute.Key("patchlane.consumed")
	Replays    = attribute.Key("patchlane.replays")
	Replayed   = attribute.Key("patchlane.replayed")
	// Queued is the time from acceptance to the batch, in milliseconds.
	Queued = attribute.Key("patchlane.queued_ms")
)

// Messaging are the members that messaging spans share.
func Messaging(operation string, kind Member) []Member {
	return append(make([]Member, 0, 12),
		semconv.MessagingSystemKey.String("patchlane"), semconv.MessagingOperationName(operation), kind)
}

// ID is a member that is an id of ours.
func ID(key attribute.Key, id uuid.UUID) Member { return key.String(id.String()) }

// Destination is the lane that a span is about.
func Destination(lane contact.Lane) Member {
	return semconv.MessagingDestinationName(lane.String())
}

// Parent writes a span as the traceparent of an entry.
func Parent(span trace.SpanContext) string {
	id, at := span.TraceID(), span.SpanID()
	b := append(make([]byte, 0, length), "00-"...)
	b = hex.AppendEncode(b, id[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, at[:])
	b = append(b, '-')
	return string(hex.AppendEncode(b, []byte{byte(span.TraceFlags())}))
}

// The places of a traceparent: version-traceid-parentid-flags.
const (
	idBegins, idEnds     = 3, 35
	spanBegins, spanEnds = 36, 52
	length               = 55
)

// Remote reads the traceparent of an entry. What is none makes a span context
// that is not valid.
func Remote(traceParent string) trace.SpanContext {
	if len(traceParent) != length {
		return trace.SpanContext{}
	}
	id, err := trace.TraceIDFromHex(traceParent[idBegins:idEnds])
	if err != nil {
		return trace.SpanContext{}
	}
	span, err := trace.SpanIDFromHex(traceParent[spanBegins:spanEnds])
	if err != nil {
		return trace.SpanContext{}
	}
	flags, err := hex.DecodeString(traceParent[spanEnds+1:])
	if err != nil {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags[0]) & trace.FlagsSampled, Remote: true,
	})
}

// Within returns a context in which spans are children of a remote one. It holds
// no other span.
func Within(ctx context.Context, parent trace.SpanContext) context.Context {
	return trace.ContextWithRemoteSpanContext(ctx, parent)
}
