package worker

import (
	"context"
	"sync"
	"time"
)

const (
	// leaseTTL is how long a lease lives in Redis without being renewed.
	leaseTTL = 5 * time.Second
	// renewEvery leaves room for several renewals that fail.
	renewEvery = time.Second
	// renewLimit bounds one renewal, so that a late one is followed by another.
	renewLimit = time.Second
)

// lease is what a drain knows about its hold on the lane. It is an aid, not a
// fence: a drain that has lost it and does not know is stopped by the store.
// All its times are monotonic; no wall clock decides anything.
type lease struct {
	mu sync.Mutex
	// good is when the last successful renewal was sent.
	good time.Time
	// gone is closed when Redis says that the lease is not ours any more.
	gone chan struct{}
	over bool
	// deadline is that of the step that runs; zero: none runs.
	deadline time.Time
}

func newLease() *lease { return &lease{good: time.Now(), gone: make(chan struct{})} }

// busy says that a step runs, and for how long at most.
func (l *lease) busy(limit time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = time.Now().Add(limit)
}

// idle says that no step runs.
func (l *lease) idle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = time.Time{}
}

// stuck tells whether a step has outlived its deadline. Its lane is then given
// up, else a hanging process would hold it for ever.
func (l *lease) stuck() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.deadline.IsZero() && time.Now().After(l.deadline)
}

// renewed says that a renewal sent at a time succeeded.
func (l *lease) renewed(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.good = sent
}

// lose says that Redis knows another owner, or none.
func (l *lease) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.over = true
		close(l.gone)
	}
}

// lost tells whether the lease was taken away or may have run out.
func (l *lease) lost() bool { return l.left() == 0 }

// left is how long the lease lives at least.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return 0
	}
	return max(0, leaseTTL-time.Since(l.good))
}

// renew lengthens the lease each second until ctx ends or the lease is lost.
// A renewal that cannot be asked for proves nothing; the next one is tried.
func (p *pass) renew(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if p.lease.stuck() {
			continue
		}
		if !p.renewOnce(ctx) {
			p.lease.lose()
			return
		}
	}
}

// renewOnce returns false when the lease is lost.
func (p *pass) renewOnce(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	sent := time.Now()
	held, err := p.o.Lanes.Renew(ctx, p.lane, p.token)
	switch {
	case err != nil:
		p.o.Logger.DebugContext(ctx, "lease not renewed", "lane", p.lane.String(), "err", err)
		return true
	case held:
		p.lease.renewed(sent)
		return true
	default:
		return false
	}
}
