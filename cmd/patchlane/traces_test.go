package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"patchlane/tasks/traces"
)

const clientTrace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// receiver is a collector of traces: it takes what an exporter sends by OTLP.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests int
	headers  []http.Header
	spans    []received
	problem  error
}

// received is a span and what was said of its process.
type received struct {
	*tracepb.Span
	process map[string]string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP takes one request of an exporter.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var sent collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &sent)
	}
	if err == nil && (req.URL.Path != "/v1/traces" || req.Header.Get("Content-Type") != "application/x-protobuf") {
		err = fmt.Errorf("%s %s of %s", req.Method, req.URL.Path, req.Header.Get("Content-Type"))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	r.headers = append(r.headers, req.Header)
	r.problem = errors.Join(r.problem, err)
	for _, rs := range sent.GetResourceSpans() {
		process := members(rs.GetResource().GetAttributes())
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				r.spans = append(r.spans, received{s, process})
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// named returns the spans of a name in a trace; empty: in any.
func (r *receiver) named(name, trace string) []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []received
	for _, s := range r.spans {
		if s.GetName() == name && (trace == "" || hex.EncodeToString(s.GetTraceId()) == trace) {
			found = append(found, s)
		}
	}
	return found
}

func members(attrs []*commonpb.KeyValue) map[string]string {
	all := make(map[string]string, len(attrs))
	for _, a := range attrs {
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			all[a.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			all[a.GetKey()] = fmt.Sprint(v.IntValue)
		}
	}
	return all
}

// end stops a program gracefully.
func (s *site) end(cmd *exec.Cmd) {
	s.tb.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.tb.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		s.tb.Errorf("ended with %v", err)
	}
}

// TestOneTraceLeadsFromTheRequestToTheChangeLog runs the real program with a
// collector, sends one write within a client's trace, and follows the trace.
func TestOneTraceLeadsFromTheRequestToTheChangeLog(t *testing.T) {
	t.Parallel()
	r, file := newReceiver(t), filepath.Join(t.TempDir(), "ready.json")
	s := &site{tb: t, db: "postgres://ignored/", redis: "redis://ignored", http: testClient(t)}
	cmd, listening := s.programWith([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.URL, "OTEL_EXPORTER_OTLP_HEADERS=api-key=s3cret"},
		"dev", "--listen", "127.0.0.1:0", "--ready-file", file)
	n := &node{site: s, addresses: listening}
	var at readiness
	s.eventually(time.Minute, "ready file", func() error { return readJSON(file, &at) })
	s.db, s.redis = at.DatabaseURL, at.RedisURL
	s.makeKey()
	path := n.create()
	reply := n.do(http.MethodPatch, path, `{"job_title":"Analyst"}`, "Prefer", "wait=10", "traceparent", clientTrace)
	if reply.Status != http.StatusOK {
		t.Fatalf("patch: %d %s", reply.Status, reply.raw)
	}
	audit := n.do(http.MethodGet, "/v1/data/crm-logs?contact_id="+strings.TrimPrefix(path, "/v1/contacts/"), "")
	s.end(cmd)
	if r.problem != nil {
		t.Fatal(r.problem)
	}
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	request, appended, applied := r.named("PATCH /v1/contacts/{id}", trace), r.named(traces.AppendLane, trace), r.named(traces.ApplyWrite, trace)
	if len(request) != 1 || len(appended) != 1 || len(applied) != 1 {
		t.Fatalf("the trace has %d requests, %d appends and %d applied writes", len(request), len(appended), len(applied))
	}
	if hex.EncodeToString(request[0].GetParentSpanId()) != "00f067aa0ba902b7" ||
		!slices.Equal(appended[0].GetParentSpanId(), request[0].GetSpanId()) ||
		!slices.Equal(applied[0].GetParentSpanId(), appended[0].GetSpanId()) {
		t.Errorf("no chain: %v, %v, %v", request[0], appended[0], applied[0])
	}
	got := members(applied[0].GetAttributes())
	if id := got["patchlane.write_id"]; id != reply.Meta.WriteID || !strings.Contains(string(audit.raw), `"write_id":"`+id+`"`) {
		t.Errorf("the applied write is %q, answered %q; change log %s", id, reply.Meta.WriteID, audit.raw)
	}
	if got["patchlane.state"] != "applied" || got["patchlane.version"] != "2" || got["patchlane.queued_ms"] == "" ||
		got["patchlane.contact_id"] != strings.TrimPrefix(path, "/v1/contacts/") {
		t.Errorf("applied write: %v", got)
	}
	linked := slices.ContainsFunc(r.named(traces.ApplyBatch, ""), func(batch received) bool {
		return slices.ContainsFunc(batch.GetLinks(), func(l *tracepb.Span_Link) bool {
			return slices.Equal(l.GetSpanId(), appended[0].GetSpanId()) && slices.Equal(l.GetTraceId(), appended[0].GetTraceId())
		})
	})
	if !linked {
		t.Error("no batch is linked with the trace")
	}
	for role, span := range map[string]received{"patchlane-api": request[0], "patchlane-worker": applied[0]} {
		if p := span.process; p["service.name"] != role || p["service.version"] == "" || p["service.instance.id"] == "" {
			t.Errorf("%s: process %v", role, p)
		}
	}
	if r.headers[0].Get("Api-Key") != "s3cret" {
		t.Errorf("the collector was sent %v", r.headers[0])
	}
}

// TestTracesThatAreTurnedOffAreNotSent: the standard switches win over an
// address, and the process sends nothing at all.
func TestTracesThatAreTurnedOffAreNotSent(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	s, _ := newSite(t)
	cmd, at := s.programWith([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.URL, "OTEL_SDK_DISABLED=true"}, "api", "--listen", "127.0.0.1:0")
	n := &node{site: s, addresses: at}
	n.ready()
	if r := n.do(http.MethodPost, "/v1/contacts", `{"first_name":"Ada"}`, "Prefer", "respond-async"); r.Status != http.StatusAccepted {
		t.Errorf("create: %d %s", r.Status, r.raw)
	}
	s.end(cmd)
	if r.requests != 0 {
		t.Errorf("%d requests were sent", r.requests)
	}
}

// TestCollectorThatIsAwayHoldsNothingUp: writes are accepted and the stop is
// clean and in time.
func TestCollectorThatIsAwayHoldsNothingUp(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	// Nobody listens there.
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	cmd, at := s.programWith([]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + away.URL + "/v1/traces"}, "api", "--listen", "127.0.0.1:0")
	n := &node{site: s, addresses: at}
	n.ready()
	if r := n.do(http.MethodPost, "/v1/contacts", `{"first_name":"Ada"}`, "Prefer", "respond-async"); r.Status != http.StatusAccepted {
		t.Errorf("create: %d %s", r.Status, r.raw)
	}
	began := time.Now()
	s.end(cmd)
	if took := time.Since(began); took > traceFlush+15*time.Second {
		t.Errorf("stopped after %s", took)
	}
}

func TestEnvironmentOfTraces(t *testing.T) {
	t.Parallel()
	const at, alone = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	for _, c := range []struct {
		env    map[string]string
		wanted bool
		wrong  string
	}{
		{nil, false, ""},
		{map[string]string{"OTEL_SERVICE_NAME": "crm"}, false, ""},
		{map[string]string{at: "http://collector:4318"}, true, ""},
		{map[string]string{alone: "https://collector/v1/traces"}, true, ""},
		{map[string]string{at: "http://collector:4318", "OTEL_SDK_DISABLED": "True"}, false, ""},
		{map[string]string{at: "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, false, ""},
		{map[string]string{at: "http://collector:4318", "OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, true, ""},
		{map[string]string{at: "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, true, ""},
		{map[string]string{at: "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, true, `OTEL_EXPORTER_OTLP_PROTOCOL: "grpc"`},
		{map[string]string{at: "http://c", "OTEL_TRACES_EXPORTER": "zipkin"}, true, `"zipkin"`},
		{map[string]string{at: "collector:4318"}, true, at},
		{map[string]string{at: "http://c", alone: "user:s3cret@c"}, true, alone},
	} {
		wanted, err := tracesWanted(func(name string) string { return c.env[name] })
		if wanted != c.wanted || (err != nil) != (c.wrong != "") {
			t.Errorf("%v: wanted %v, %v", c.env, wanted, err)
		}
		if err != nil && (!strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%v: %v", c.env, err)
		}
	}
}

// A batch may have more entries than the SDK would keep links of.
func TestEveryEntryOfABatchIsLinked(t *testing.T) {
	t.Parallel()
	if n := (&config{drainConfig: drainConfig{BatchSize: 500}}).spanLimits().LinkCountLimit; n < 500 {
		t.Errorf("%d links are kept of a batch of 500", n)
	}
}
