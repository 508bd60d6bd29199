package lane

import (
	"math"
	"time"

	"patchlane/tasks/contact"
)

const (
	// rateWindow is how far back the drain rate of a lane is measured.
	rateWindow = 15 * time.Second
	// rateStep is the least time between two samples.
	rateStep = time.Second

	minRetry = time.Second
	maxRetry = time.Minute
	// blindRetry is said before a rate could be measured.
	blindRetry = 5 * time.Second
)

// drainRate measures how fast a lane is emptied, from the count of entries ever
// trimmed that each append brings back. The zero value knows nothing.
type drainRate struct {
	samples []sample // oldest first
}

type sample struct {
	at      time.Time
	trimmed int64
}

// observe takes a count and returns entries a second, below zero if that cannot
// be told yet.
func (d *drainRate) observe(now time.Time, trimmed int64) float64 {
	n := len(d.samples)
	if n > 0 && (trimmed < d.samples[n-1].trimmed || now.Sub(d.samples[n-1].at) > rateWindow) {
		d.samples, n = nil, 0 // Redis lost its count, or nobody looked for long
	}
	if n == 0 || now.Sub(d.samples[n-1].at) >= rateStep {
		d.samples = append(d.samples, sample{now, trimmed})
	}
	for len(d.samples) > 2 && now.Sub(d.samples[1].at) > rateWindow {
		d.samples = d.samples[1:]
	}
	first := d.samples[0]
	if age := now.Sub(first.at); age >= rateStep {
		return float64(trimmed-first.trimmed) / age.Seconds()
	}
	return -1
}

// observe notes the count of a lane's trimmed entries and returns its rate.
func (a *Appender) observe(lane contact.Lane, trimmed int64) float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.queues[lane].rate.observe(a.lanes.cfg.Now(), trimmed)
}

// retryAfter is the time until half of the limit is free again, at the measured
// rate and as if the entries in question were spread evenly over the lane: who
// comes back then finds room, not the next refusal.
func (b backlog) retryAfter(held, limit int64) time.Duration {
	if b.rate < 0 {
		return blindRetry
	}
	rate := b.rate
	if b.length > 0 {
		rate *= float64(held) / float64(b.length)
	}
	excess := float64(max(held-limit/2, 1))
	seconds := math.Ceil(excess / rate) // +Inf when nothing moves
	return time.Duration(min(max(seconds, minRetry.Seconds()), maxRetry.Seconds()) * float64(time.Second))
}
