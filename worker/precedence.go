package worker

import (
	"context"
	"sync"
	"time"
)

// courtesy is the longest time for which a batch of writes steps back. It is
// about what an opt-out takes on a busy machine; a flood of events slows writes
// down by as much a batch and never stops them.
const courtesy = 50 * time.Millisecond

// precedence lets batches of events go first. They have slots and connections
// of their own, but share the processors of the database with as many batches
// of writes as there are lanes: a batch of writes that is about to begin waits
// while one of events is under way.
type precedence struct {
	mu    sync.Mutex
	under int
	// over is closed when the last batch of events under way has ended.
	over chan struct{}
}

// take begins a batch of events, and the function ends it.
func (p *precedence) take() (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.under++; p.under == 1 {
		p.over = make(chan struct{})
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.under--; p.under == 0 {
			close(p.over)
		}
	}
}

// give waits before a batch of writes while there are batches of events. It
// tells whether it had to.
func (p *precedence) give(ctx context.Context) bool {
	p.mu.Lock()
	over, busy := p.over, p.under > 0
	p.mu.Unlock()
	if !busy {
		return false
	}
	timer := time.NewTimer(courtesy)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}
