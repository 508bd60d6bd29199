package lane

import (
	"context"
	"fmt"
	"time"

	"patchlane/tasks/contact"
	"patchlane/tasks/failpoint"
)

const (
	ringPause   = 100 * time.Millisecond
	ringTimeout = 2 * time.Second
)

// ring rings for a lane in the background until it succeeds. A lane has one
// ringer: a newer generation takes the place of one that was not rung yet, since
// serving the newer serves both.
func (a *Appender) ring(ctx context.Context, lane contact.Lane, gen int64) {
	failpoint.Hit("append.stored")
	if a.cfg.Ring == nil {
		return
	}
	a.ringMu.Lock()
	defer a.ringMu.Unlock()
	if _, busy := a.ringing[lane]; busy {
		a.ringing[lane] = gen
		return
	}
	a.ringing[lane] = gen
	a.tasks.Go(func() { a.ringUntilHeard(ctx, lane) })
}

func (a *Appender) ringUntilHeard(ctx context.Context, lane contact.Lane) {
	for failures := 0; ; {
		gen := a.toRing(lane)
		err := a.ringOnce(ctx, lane, gen)
		if err == nil {
			if a.rung(lane, gen) {
				return
			}
			continue
		}
		if failures++; failures == 1 {
			a.lanes.cfg.Logger.WarnContext(ctx, "ringing for a lane goes on until it succeeds",
				"lane", lane.String(), "generation", gen, "err", err)
		}
		if !wait(ctx, ringPause) {
			a.rung(lane, a.toRing(lane)) // given up: the sweep rings
			return
		}
	}
}

func (a *Appender) ringOnce(ctx context.Context, lane contact.Lane, gen int64) error {
	ctx, cancel := context.WithTimeout(ctx, ringTimeout)
	defer cancel()
	err := a.cfg.Ring(ctx, lane, gen)
	result := "ok"
	if err != nil {
		result = "error"
	}
	a.lanes.metrics.rings.WithLabelValues(result).Inc()
	return err
}

func (a *Appender) toRing(lane contact.Lane) int64 {
	a.ringMu.Lock()
	defer a.ringMu.Unlock()
	return a.ringing[lane]
}

// rung ends the ringer, unless a newer generation came meanwhile.
func (a *Appender) rung(lane contact.Lane, gen int64) bool {
	a.ringMu.Lock()
	defer a.ringMu.Unlock()
	if a.ringing[lane] != gen {
		return false
	}
	delete(a.ringing, lane)
	return true
}

// awaitRings waits until nothing is left to ring for.
func (a *Appender) awaitRings(ctx context.Context) error {
	for {
		a.ringMu.Lock()
		left := len(a.ringing)
		a.ringMu.Unlock()
		if left == 0 {
			return nil
		}
		if !wait(ctx, 5*time.Millisecond) {
			return fmt.Errorf("close appender: %d lanes not rung for, left to the sweep: %w",
				left, context.Cause(ctx))
		}
	}
}
