package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"patchlane/tasks/lane/lanetest"
)

// A wrong clock is put right by Redis', a right one is left as it is, and while
// Redis is away the last difference stands.
func TestClockFollowsRedis(t *testing.T) {
	t.Parallel()
	redis := lanetest.Start(t, false)
	for wrong, want := range map[time.Duration]time.Duration{
		time.Hour: time.Hour, -time.Hour: -time.Hour, time.Second: 0,
	} {
		c := newClock(redis.Client(t), func() time.Time { return time.Now().Add(wrong) }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		c.look(t.Context())
		if got := time.Until(c.Now()) - wrong + want; got.Abs() > 500*time.Millisecond {
			t.Errorf("a clock that is wrong by %s is off by %s after a look", wrong, got)
		}
		if behind := testutil.ToFloat64(c.gauge) + wrong.Seconds(); behind < -0.5 || behind > 0.5 {
			t.Errorf("a clock that is wrong by %s: the metric is off by %g s", wrong, behind)
		}
		if wrong == time.Hour {
			gone := lanetest.Start(t, false)
			gone.Kill()
			c.rdb = gone.Client(t)
			c.look(t.Context())
			if got := time.Until(c.Now()); got.Abs() > 500*time.Millisecond {
				t.Errorf("while redis is away the clock is off by %s", got)
			}
		}
	}
}
