package worker

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// BenchmarkDrain drains a lane that holds b.N writes of two changed fields
// each, spread over 1,000 contacts. STORETEST_FSYNC=1 makes its commits reach
// the disk.
func BenchmarkDrain(b *testing.B) {
	f := newFull(b)
	first := contact.Lane{Kind: 'c', N: 0}
	var contacts []uuid.UUID
	for len(contacts) < 1000 {
		if id := uuid.New(); f.lanes.Lane(id) == first {
			contacts = append(contacts, id)
		}
	}
	f.loseRings()
	f.create(b, contacts)
	w, err := New(f.options(b))
	if err != nil {
		b.Fatal(err)
	}
	f.drainAll(b, w, first)
	f.fill(b, contacts, b.N)
	b.ResetTimer()
	f.drainAll(b, w, first)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
	if stats := count(b, w.metrics.outcomes.WithLabelValues("applied", "")); stats != b.N+len(contacts) {
		b.Errorf("applied %d writes, want %d", stats, b.N+len(contacts))
	}
}

// fill appends n writes of two fields, from many clients.
func (f *full) fill(b *testing.B, contacts []uuid.UUID, n int) {
	b.Helper()
	var wg sync.WaitGroup
	const clients = 64
	for c := range clients {
		wg.Go(func() {
			for i := c; i < n; i += clients {
				value := strconv.Itoa(i)
				w := f.patch(b, contacts[i%len(contacts)], "")
				w.Patch = contact.Patch{}
				w.Patch.SetText(contact.JobTitle, &value)
				w.Patch.SetText(contact.CompanyName, &value)
				if _, err := f.appender.Append(b.Context(), w); err != nil {
					b.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// drainAll drains a lane slice by slice until it is empty.
func (f *full) drainAll(b *testing.B, w *Worker, l contact.Lane) {
	b.Helper()
	stats, err := f.lanes.Stats(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	why := endSlice
	for generation := stats[l.N].Generation; generation != 0 && why == endSlice; {
		generation, why = w.drains.drain(context.WithoutCancel(b.Context()), l, generation)
	}
	if why != endEmpty {
		b.Fatalf("the drain ended %q, not with an empty lane", why)
	}
}
