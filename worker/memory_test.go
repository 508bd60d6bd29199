package worker

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// memory is a store of many lanes in memory. It watches what a worker must
// never do: two transactions of one lane or of one contact at the same time.
type memory struct {
	mu      sync.Mutex
	ledger  map[uuid.UUID]contact.Outcome
	order   map[uuid.UUID][]uuid.UUID
	lanes   map[contact.Lane]bool
	active  map[uuid.UUID]bool
	crossed int
	total   int
	last    time.Time
	changed chan struct{}
	offsets map[contact.Lane]contact.Offset
}

func newMemory() *memory {
	return &memory{
		ledger: map[uuid.UUID]contact.Outcome{}, order: map[uuid.UUID][]uuid.UUID{},
		lanes: map[contact.Lane]bool{}, active: map[uuid.UUID]bool{},
		changed: make(chan struct{}), offsets: map[contact.Lane]contact.Offset{},
	}
}

func (m *memory) Apply(ctx context.Context, lane contact.Lane, batch []contact.Entry) (contact.AppliedBatch, error) {
	if !m.begin(lane, batch) {
		return contact.AppliedBatch{}, contact.ErrLaneHeld
	}
	elapse(ctx, time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.lanes, lane)
	b := contact.AppliedBatch{Consumed: len(batch)}
	now := time.Now()
	for _, e := range batch {
		delete(m.active, e.Contact)
		o, known := m.ledger[e.ID]
		if known {
			b.Replays++
		} else {
			o = contact.Outcome{WriteID: e.ID, Ref: e.Ref(), State: contact.Applied, AcceptedAt: e.AcceptedAt, AppliedAt: now}
			m.ledger[e.ID] = o
			m.order[e.Contact] = append(m.order[e.Contact], e.ID)
			m.total++
			m.last = now
		}
		m.offsets[lane] = e.Offset
		b.Outcomes = append(b.Outcomes, o)
	}
	close(m.changed)
	m.changed = make(chan struct{})
	return b, nil
}

func (m *memory) begin(lane contact.Lane, batch []contact.Entry) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lanes[lane] {
		return false
	}
	m.lanes[lane] = true
	mine := map[uuid.UUID]bool{}
	for _, e := range batch {
		if m.active[e.Contact] && !mine[e.Contact] {
			m.crossed++
		}
		m.active[e.Contact], mine[e.Contact] = true, true
	}
	return true
}

func (m *memory) Fail(context.Context, contact.Lane, contact.Entry, *contact.DataError) (contact.Outcome, error) {
	panic("nothing is refused here")
}

func (m *memory) Offsets(context.Context) (map[contact.Lane]contact.Offset, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.offsets), nil
}

// await waits until n writes were applied.
func (m *memory) await(tb testing.TB, n int, limit time.Duration) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	for {
		m.mu.Lock()
		total, changed := m.total, m.changed
		m.mu.Unlock()
		if total >= n {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			tb.Fatalf("%d of %d writes applied within %s", total, n, limit)
		}
	}
}
