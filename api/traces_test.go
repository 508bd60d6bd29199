package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"patchlane/tasks/contact"
	"patchlane/tasks/traces"
)

const clientTrace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// kept are the spans of one server.
type kept struct{ *tracetest.InMemoryExporter }

// tracing makes the options of a server keep its spans.
func tracing(t *testing.T, o *Options) kept {
	t.Helper()
	k := kept{tracetest.NewInMemoryExporter()}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(k))
	t.Cleanup(func() { _ = provider.Shutdown(t.Context()) })
	o.Traces = provider
	return k
}

// tracedBench is a bench whose server keeps its spans.
func tracedBench(t *testing.T) (*bench, kept) {
	t.Helper()
	b := setup(t)
	o := b.options(prometheus.NewRegistry())
	k := tracing(t, &o)
	b.server = newServerWith(t, o)
	return b, k
}

// only returns the one span of a name.
func (k kept) only(t *testing.T, name string) *tracetest.SpanStub {
	t.Helper()
	var found []tracetest.SpanStub
	for _, s := range k.GetSpans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans are called %s: %+v", len(found), name, k.GetSpans())
	}
	return &found[0]
}

// text is everything that the spans hold.
func (k kept) text() string { return fmt.Sprintf("%+v", k.GetSpans()) }

// spanMember reads a member of a span as text.
func spanMember(s *tracetest.SpanStub, key string) string {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

func TestTraceOfAWrite(t *testing.T) {
	t.Parallel()
	b, k := tracedBench(t)
	id := b.create(t, `{"first_name":"Ada"}`)
	k.Reset()
	r := b.do(t, "PATCH", "/v1/contacts/"+id, `{"job_title":"Analyst","email":"ada@example.com"}`,
		"Prefer: respond-async", "traceparent: "+clientTrace).want(t, 202, "")
	request, appended := k.only(t, "PATCH /v1/contacts/{id}"), k.only(t, traces.AppendLane)
	if got := traces.Parent(request.Parent); got != clientTrace || request.SpanContext.TraceID() != request.Parent.TraceID() {
		t.Errorf("the request is a child of %s, want %s", got, clientTrace)
	}
	if appended.Parent.SpanID() != request.SpanContext.SpanID() || appended.SpanContext.TraceID() != request.SpanContext.TraceID() {
		t.Error("the append is no child of the request")
	}
	w := b.appended[len(b.appended)-1]
	if w.TraceParent != traces.Parent(appended.SpanContext) {
		t.Errorf("the entry carries %s, not the append", w.TraceParent)
	}
	for _, s := range []*tracetest.SpanStub{request, appended} {
		if got := spanMember(s, "patchlane.write_id"); got != r.str("data.write_id") || got != w.ID.String() {
			t.Errorf("%s names write %q, answered %s", s.Name, got, r.str("data.write_id"))
		}
		if s.Status.Code != codes.Unset {
			t.Errorf("%s: status %+v", s.Name, s.Status)
		}
	}
	for key, want := range map[string]string{
		"http.request.method": "PATCH", "http.route": "/v1/contacts/{id}", "http.response.status_code": "202",
		"patchlane.account_id": b.key.Account.String(),
	} {
		if got := spanMember(request, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	lane, _ := contact.LaneOfWrite(w.ID)
	if spanMember(appended, "messaging.destination.name") != lane.String() || spanMember(appended, "patchlane.contact_id") != id {
		t.Errorf("append: %v", appended.Attributes)
	}
	for _, private := range []string{"Analyst", "ada@example.com", secret} {
		if strings.Contains(k.text(), private) {
			t.Errorf("a span holds %s", private)
		}
	}
	if !strings.Contains(b.log.String(), `"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"`) {
		t.Error("the line of the request has no trace id")
	}
}

func TestTraceWithoutAClientsBegins(t *testing.T) {
	t.Parallel()
	b, k := tracedBench(t)
	b.create(t, `{"first_name":"Ada"}`)
	request := k.only(t, "POST /v1/contacts")
	if request.Parent.IsValid() {
		t.Errorf("the request has a parent: %+v", request.Parent)
	}
	if !strings.Contains(b.log.String(), `"trace_id":"`+request.SpanContext.TraceID().String()+`"`) {
		t.Error("the line of the request does not name its trace")
	}
}

func TestTraceOfARepeatedWriteNamesTheFirst(t *testing.T) {
	t.Parallel()
	b, k := tracedBench(t)
	id := b.create(t, `{"first_name":"Ada"}`)
	var first string
	for n := range 2 {
		k.Reset()
		r := b.do(t, "PATCH", "/v1/contacts/"+id, `{"job_title":"a"}`, "Prefer: respond-async", "Idempotency-Key: k").want(t, 202, "")
		if n == 0 {
			first = r.str("data.write_id")
		}
	}
	s := k.only(t, traces.AppendLane)
	if spanMember(s, "patchlane.write_id") != first || spanMember(s, "patchlane.replayed") != "true" {
		t.Errorf("append: %v, first write %s", s.Attributes, first)
	}
}

func TestTraceOfABatch(t *testing.T) {
	t.Parallel()
	b, k := tracedBench(t)
	before := len(b.appended)
	b.do(t, "POST", "/v1/contacts/batch", `{"writes":[{"patch":{"first_name":"Ada"}},{"patch":{"first_name":"Bob"}}]}`)
	writes := b.appended[before:]
	if len(writes) != 2 {
		t.Fatalf("%d writes were appended: %s", len(writes), b.log.String())
	}
	s := k.only(t, traces.AppendLane)
	if spanMember(s, "messaging.batch.message_count") != "2" || s.Parent.SpanID() != k.only(t, "POST /v1/contacts/batch").SpanContext.SpanID() {
		t.Errorf("append: %v", s.Attributes)
	}
	for _, w := range writes {
		if w.TraceParent != traces.Parent(s.SpanContext) {
			t.Errorf("an entry carries %s", w.TraceParent)
		}
	}
}

func TestTraceOfAWebhook(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	o := h.options(prometheus.NewRegistry())
	o.Now = h.server.opt.Now
	k := tracing(t, &o)
	h.server = newServerWith(t, o)
	c := h.sample(t, "twilio/sms_stop_default.txt")
	id := h.endpoint(t, c.provider())
	k.Reset()
	h.deliver(t, id, h.request(t, c, id))
	request, s := k.only(t, "POST /v1/webhooks/{id}"), k.only(t, traces.AppendLane)
	if s.Parent.SpanID() != request.SpanContext.SpanID() {
		t.Error("the append is no child of the request")
	}
	events := h.hooks.taken()
	if len(events) == 0 {
		t.Fatal("no event was appended")
	}
	for _, e := range events {
		if e.TraceParent != traces.Parent(s.SpanContext) {
			t.Errorf("an event carries %q", e.TraceParent)
		}
		if e.Address == "" || strings.Contains(k.text(), strings.TrimPrefix(e.Address, "+")) {
			t.Error("a span holds an address")
		}
	}
}

func TestTraceOfAnOutageHasNoTexts(t *testing.T) {
	t.Parallel()
	b, k := tracedBench(t)
	id := b.create(t, `{"first_name":"Ada"}`)
	b.set(func() { b.appendErr = errAway })
	k.Reset()
	b.do(t, "PATCH", "/v1/contacts/"+id, `{"job_title":"a"}`).want(t, 503, contact.CodeQueueUnavailable)
	for _, name := range []string{"PATCH /v1/contacts/{id}", traces.AppendLane} {
		s := k.only(t, name)
		if s.Status.Code != codes.Error || s.Status.Description != string(contact.CodeQueueUnavailable) ||
			spanMember(s, "error.type") != string(contact.CodeQueueUnavailable) {
			t.Errorf("%s: %+v %v", name, s.Status, s.Attributes)
		}
	}
	if strings.Contains(k.text(), "10.0.0.7") {
		t.Error("a span holds the text of an error")
	}
}

func TestSpansOfOtherRequests(t *testing.T) {
	t.Parallel()
	b, k := tracedBench(t)
	b.do(t, "GET", "/livez", "")
	b.do(t, "GET", "/readyz", "")
	if n := len(k.GetSpans()); n != 0 {
		t.Errorf("%d spans of probes", n)
	}
	b.do(t, "GET", "/v1/contacts/00000000-0000-4000-8000-000000000001", "").want(t, 404, "")
	if s := k.only(t, "GET /v1/contacts/{id}"); s.Status.Code != codes.Unset {
		t.Errorf("an answer of 404 is an error: %+v", s.Status)
	}
	r := httptest.NewRequest("BREW", "/pot/of/ada@example.com", http.NoBody)
	b.server.Handler().ServeHTTP(httptest.NewRecorder(), r)
	if s := k.only(t, "HTTP"); spanMember(s, "http.request.method") != "_OTHER" {
		t.Errorf("unknown method: %v", s.Attributes)
	}
	if strings.Contains(k.text(), "ada@example.com") || strings.Contains(k.text(), "BREW") {
		t.Error("a span holds what a client made up")
	}
}

// Without a provider the entry carries what the client sent, as it came.
func TestWithoutTracesTheClientsGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"first_name":"Ada"}`)
	b.do(t, "PATCH", "/v1/contacts/"+id, `{"job_title":"a"}`, "traceparent: "+clientTrace)
	if got := b.appended[len(b.appended)-1].TraceParent; got != clientTrace {
		t.Errorf("the entry carries %q", got)
	}
}

// A server without a provider pays nothing for spans.
func TestNoTracesNoCost(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts for the whole process.
	var off *tracer
	x, w, ctx := &exchange{Request: httptest.NewRequest(http.MethodPatch, "/v1/contacts", http.NoBody)}, &contact.Write{}, t.Context()
	receipts := make([]contact.Receipt, 1)
	if n := testing.AllocsPerRun(100, func() {
		inner := off.request(ctx, x)
		_, span := off.append(inner, 1)
		span.carryWrites(w)
		span.end(receipts, nil)
		off.answered(x)
	}); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
	if x.span != nil || w.TraceParent != "" {
		t.Error("a span was made")
	}
}
