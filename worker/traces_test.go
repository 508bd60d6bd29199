package worker

import (
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"patchlane/tasks/contact"
	"patchlane/tasks/traces"
)

// tracedWorker returns a worker over the fakes, and where its spans are kept.
func (f *fakes) tracedWorker(t *testing.T) (*Worker, *tracetest.InMemoryExporter) {
	t.Helper()
	kept := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(kept))
	t.Cleanup(func() { _ = provider.Shutdown(t.Context()) })
	o := f.options()
	o.Traces = provider
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return w, kept
}

// parentOf is the trace of the i-th entry.
func parentOf(i int) string { return fmt.Sprintf("00-%032x-%016x-01", i+1, i+1) }

// spansOf sorts spans by their name.
func spansOf(kept *tracetest.InMemoryExporter) map[string]tracetest.SpanStubs {
	byName := map[string]tracetest.SpanStubs{}
	for _, s := range kept.GetSpans() {
		byName[s.Name] = append(byName[s.Name], s)
	}
	return byName
}

// member reads a member of a span.
func member(s *tracetest.SpanStub, key attribute.Key) attribute.Value {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return attribute.Value{}
}

func TestBatchIsLinkedWithTheTraceOfEachEntry(t *testing.T) {
	t.Parallel()
	const n = 40
	f := newFakes(n)
	for i := range f.entries {
		f.entries[i].TraceParent = parentOf(i)
	}
	w, kept := f.tracedWorker(t)
	w.drains.drain(t.Context(), testLane, 7)
	f.allApplied(t, n)
	spans := spansOf(kept)
	if len(spans[traces.ApplyBatch]) != len(f.sizes) || len(spans[traces.ApplyWrite]) != n {
		t.Fatalf("%d batches, %d writes; want %d and %d",
			len(spans[traces.ApplyBatch]), len(spans[traces.ApplyWrite]), len(f.sizes), n)
	}
	at := 0
	for b, size := range f.sizes {
		batch := &spans[traces.ApplyBatch][b]
		if batch.Parent.IsValid() || len(batch.Links) != size || batch.DroppedLinks != 0 {
			t.Errorf("batch %d of %d: parent %v, %d links", b, size, batch.Parent.IsValid(), len(batch.Links))
			continue
		}
		if member(batch, traces.Generation).AsInt64() != 7 || member(batch, traces.Consumed).AsInt64() != int64(size) ||
			member(batch, traces.Outcome).AsString() != batchApplied || member(batch, "messaging.destination.name").AsString() != "c017" {
			t.Errorf("batch %d: %v", b, batch.Attributes)
		}
		for i := range size {
			entry := &spans[traces.ApplyWrite][at]
			if got := traces.Parent(batch.Links[i].SpanContext); got != parentOf(at) {
				t.Errorf("link %d of batch %d leads to %s, want %s", i, b, got, parentOf(at))
			}
			if got := traces.Parent(entry.Parent); got != parentOf(at) || entry.SpanContext.TraceID() != entry.Parent.TraceID() {
				t.Errorf("write %d is a child of %s, want %s", at, got, parentOf(at))
			}
			if len(entry.Links) != 1 || entry.Links[0].SpanContext.SpanID() != batch.SpanContext.SpanID() {
				t.Errorf("write %d is not linked with its batch", at)
			}
			if member(entry, traces.Write).AsString() != f.applied[at].String() || member(entry, traces.State).AsString() != "applied" {
				t.Errorf("write %d: %v", at, entry.Attributes)
			}
			at++
		}
	}
}

func TestWritesOfOneRequestAreOneLink(t *testing.T) {
	t.Parallel()
	f := newFakes(3)
	for i := range f.entries {
		f.entries[i].TraceParent = parentOf(0)
	}
	f.entries[2].TraceParent = ""
	w, kept := f.tracedWorker(t)
	w.drains.drain(t.Context(), testLane, 1)
	spans := spansOf(kept)
	if len(spans[traces.ApplyBatch]) != 1 || len(spans[traces.ApplyBatch][0].Links) != 1 || len(spans[traces.ApplyWrite]) != 2 {
		t.Errorf("spans %+v", spans)
	}
}

// Whether a trace is kept was decided where it began.
func TestEntriesThatAreNotSampledHaveNoSpan(t *testing.T) {
	t.Parallel()
	f := newFakes(2)
	f.entries[0].TraceParent = strings.TrimSuffix(parentOf(0), "01") + "00"
	f.entries[1].TraceParent = parentOf(1)
	w, kept := f.tracedWorker(t)
	w.drains.drain(t.Context(), testLane, 1)
	writes := spansOf(kept)[traces.ApplyWrite]
	if len(writes) != 1 || member(&writes[0], traces.Write).AsString() != id(1).String() {
		t.Errorf("spans of writes: %+v", writes)
	}
}

func TestTraceOfARefusedWrite(t *testing.T) {
	t.Parallel()
	f := newFakes(2)
	for i := range f.entries {
		f.entries[i].TraceParent = parentOf(i)
	}
	f.refused[id(1)] = true
	w, kept := f.tracedWorker(t)
	w.drains.drain(t.Context(), testLane, 1)
	spans := spansOf(kept)
	outcomes := map[string]int{}
	for i := range spans[traces.ApplyBatch] {
		outcomes[member(&spans[traces.ApplyBatch][i], traces.Outcome).AsString()]++
	}
	// Both are refused, then one is applied alone and the other one fails alone.
	if outcomes[batchRefused] != 1 || outcomes[batchApplied] != 2 {
		t.Errorf("batches ended as %v", outcomes)
	}
	writes := spans[traces.ApplyWrite]
	if len(writes) != 2 || writes[0].Status.Code != codes.Unset || writes[1].Status.Code != codes.Error ||
		writes[1].Status.Description != string(contact.CodeDataError) {
		t.Errorf("writes %+v", writes)
	}
	if text := fmt.Sprintf("%+v", spans); strings.Contains(text, errBadRow.Error()) || !strings.Contains(text, id(1).String()) {
		t.Error("a span holds the text of an error, or no write id")
	}
}

// A worker without a provider pays nothing for spans.
func TestNoTracesNoCost(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts for the whole process.
	off, entries, ctx := newTracer(nil), newFakes(1).entries, t.Context()
	if n := testing.AllocsPerRun(100, func() {
		inner, span := off.batch(ctx, testLane, 1, entries)
		span.end(inner, contact.AppliedBatch{}, nil)
	}); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}
