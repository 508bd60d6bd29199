package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
)

const (
	// clockInterval is how often the clock is compared, clockTimeout bounds a look.
	clockInterval = 10 * time.Second
	clockTimeout  = time.Second
	// clockTolerance is the difference from which on Redis' clock is followed: below
	// it, the two are one clock and the way between them.
	clockTolerance = 2 * time.Second
)

// clock is that of an API: its machine's, or Redis' where the two differ. Redis
// stamps what is accepted, for all replicas; a replica whose machine has a wrong
// clock must not refuse the webhooks and tokens that its neighbours take.
type clock struct {
	rdb    redis.UniversalClient
	own    func() time.Time
	logger *slog.Logger
	gauge  prometheus.Gauge
	// offset is what is added to the own clock, in nanoseconds.
	offset atomic.Int64
}

func newClock(rdb redis.UniversalClient, own func() time.Time, logger *slog.Logger, reg prometheus.Registerer) *clock {
	return &clock{rdb: rdb, own: own, logger: logger, gauge: promauto.With(reg).NewGauge(prometheus.GaugeOpts{
		Name: "patchlane_clock_behind_redis_seconds",
		Help: "How far the clock of this machine is behind that of Redis, which is followed from two seconds on.",
	})}
}

// Now is the time that all replicas agree about.
func (c *clock) Now() time.Time { return c.own().Add(time.Duration(c.offset.Load())) }

// watch compares the clocks until ctx ends.
func (c *clock) watch(ctx context.Context) error {
	wait := backOff{wait: clockInterval, most: clockInterval}
	for {
		c.look(ctx)
		if !wait.pause(ctx) {
			return nil
		}
	}
}

// look compares the clocks once. While Redis is away the last difference stands.
func (c *clock) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, clockTimeout)
	defer cancel()
	asked := c.own()
	theirs, err := c.rdb.Time(ctx).Result()
	if err != nil {
		return
	}
	answered := c.own()
	behind := theirs.Sub(asked.Add(answered.Sub(asked) / 2))
	c.gauge.Set(behind.Seconds())
	if behind.Abs() < clockTolerance {
		behind = 0
	}
	was := time.Duration(c.offset.Swap(int64(behind)))
	if (was - behind).Abs() >= clockTolerance {
		c.logger.WarnContext(ctx, "clock of this machine differs from that of redis, which is followed", "behind", behind)
	}
}
