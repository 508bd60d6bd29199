package limit

import "time"

// SetClock replaces the clock of Redis.
func (l *Limiter) SetClock(now func() time.Time) { l.clock = now }

// OrphanAge is when a hold is taken for left behind.
const OrphanAge = orphanAge
