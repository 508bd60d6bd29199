package traces_test

import (
	"testing"

	"go.opentelemetry.io/otel/trace"

	"patchlane/tasks/traces"
)

func TestParentIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, header := range []string{
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
	} {
		span := traces.Remote(header)
		if !span.IsValid() || !span.IsRemote() || span.IsSampled() != (header[54] == '1') {
			t.Errorf("%s: read as %+v", header, span)
		}
		if got := traces.Parent(span); got != header {
			t.Errorf("%s: written as %s", header, got)
		}
		at := trace.SpanContextFromContext(traces.Within(t.Context(), span))
		if at.TraceID() != span.TraceID() || at.SpanID() != span.SpanID() {
			t.Errorf("%s: the context is within %+v", header, at)
		}
	}
}

func TestWhatIsNoParentIsNotRead(t *testing.T) {
	t.Parallel()
	for _, header := range []string{
		"", "00-1-2-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
	} {
		if span := traces.Remote(header); span.IsValid() {
			t.Errorf("%q is read as %+v", header, span)
		}
	}
}
