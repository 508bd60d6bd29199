package bench

import (
	"context"
	"sync/atomic"
	"time"
)

// pace says when the next request is due, and when there is none any more.
type pace struct {
	start time.Time
	// rate is in writes a second; 0: as soon as a client is free.
	rate  float64
	batch int
	// total and span end the run; 0: without end.
	total   int
	span    time.Duration
	claimed atomic.Int64
}

// next claims the writes of one request: how many, and the moment at which
// they are meant to be sent.
func (p *pace) next(now time.Time) (n int, at time.Time, ok bool) {
	last := p.claimed.Add(int64(p.batch))
	first := last - int64(p.batch)
	n = p.batch
	if p.total > 0 {
		n = min(n, p.total-int(first))
	}
	at = now
	if p.rate > 0 {
		at = p.start.Add(time.Duration(float64(first) / p.rate * float64(time.Second)))
	}
	if n <= 0 || (p.span > 0 && at.Sub(p.start) >= p.span) {
		return 0, time.Time{}, false
	}
	return n, at, true
}

// until waits for a moment; false: ctx is over.
func until(ctx context.Context, at time.Time) bool { return pause(ctx, time.Until(at)) }

// pause waits for a while; false: ctx is over.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
