package exemplar_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"patchlane/tasks/exemplar"
)

const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

func TestTraceID(t *testing.T) {
	t.Parallel()
	for parent, want := range map[string]string{
		"00-" + traceID + "-00f067aa0ba902b7-01":      traceID,
		"00-" + traceID + "-00f067aa0ba902b7-01-more": traceID,
		"":      "",
		"00-":   "",
		traceID: "",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01":   "",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01":   "",
		"00-4bf92f3577b34da6a3ce929d0e0e473\xff-00f067aa0ba902b7-0": "",
		"00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01":   "",
	} {
		if got := exemplar.TraceID(parent); got != want {
			t.Errorf("TraceID(%q) = %q, want %q", parent, got, want)
		}
	}
}

func TestObserveKeepsTheTraceOfItsBucket(t *testing.T) {
	t.Parallel()
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Help: "H.", Buckets: []float64{1, 2}})
	exemplar.Observe(h, 0.5, "")
	exemplar.Observe(h, 1.5, "00-"+traceID+"-00f067aa0ba902b7-01")
	var m dto.Metric
	if err := h.Write(&m); err != nil {
		t.Fatal(err)
	}
	buckets := m.GetHistogram().GetBucket()
	if m.GetHistogram().GetSampleCount() != 2 || buckets[0].GetExemplar() != nil {
		t.Errorf("counted %d, exemplar of an observation without a trace: %v", m.GetHistogram().GetSampleCount(), buckets[0].GetExemplar())
	}
	e := buckets[1].GetExemplar()
	if e.GetValue() != 1.5 || len(e.GetLabel()) != 1 || e.GetLabel()[0].GetValue() != traceID {
		t.Errorf("exemplar %v", e)
	}
}
