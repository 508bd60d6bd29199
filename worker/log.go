package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"patchlane/tasks/contact"
)

const (
	// slowBatch is a batch that is worth a line of its own.
	slowBatch = time.Second
	// batchLineEvery is how often an ordinary batch gets one.
	batchLineEvery = time.Second
	// outageLineEvery is how often an outage is told of, all lanes together.
	outageLineEvery = 5 * time.Second
	// asynqLineEvery is how often asynq may complain of the same kind of thing:
	// while Redis is away its loops say so several times a second.
	asynqLineEvery = 10 * time.Second
)

// drainLog writes one wide line a batch, never a body: at level info for a
// batch with failures or replays, a slow one, and one a second of the others;
// at level debug for the rest.
type drainLog struct {
	logger  *slog.Logger
	sampled *rate.Limiter
	// outages thins out what every lane would say at once.
	outages *rate.Limiter
}

func newDrainLog(logger *slog.Logger) *drainLog {
	return &drainLog{
		logger:  logger,
		sampled: rate.NewLimiter(rate.Every(batchLineEvery), 1),
		outages: rate.NewLimiter(rate.Every(outageLineEvery), 3),
	}
}

// outage says that a drain cannot work, in full for a few lanes only.
func (l *drainLog) outage(ctx context.Context, lane contact.Lane, tries int, err error) {
	level := slog.LevelDebug
	if l.outages.Allow() {
		level = slog.LevelWarn
	}
	l.logger.LogAttrs(ctx, level, "drain waits",
		slog.String("lane", lane.String()), slog.Int("tries", tries), slog.Any("err", err))
}

func (l *drainLog) applied(ctx context.Context, lane contact.Lane, b contact.AppliedBatch, took time.Duration) {
	level := slog.LevelDebug
	states := make(map[contact.State]int, 3)
	for i := range b.Outcomes {
		states[b.Outcomes[i].State]++
	}
	if states[contact.Failed] > 0 || b.Replays > 0 || took >= slowBatch || l.sampled.Allow() {
		level = slog.LevelInfo
	}
	l.logger.LogAttrs(ctx, level, "batch applied",
		slog.String("lane", lane.String()),
		slog.Int("entries", b.Consumed),
		slog.Int("applied", states[contact.Applied]),
		slog.Int("unchanged", states[contact.Unchanged]),
		slog.Int("failed", states[contact.Failed]),
		slog.Int("replays", b.Replays),
		slog.Duration("duration", took))
}

// asynqLog lets asynq speak through slog. What it says of its own life is of
// interest to a debugger only; its complaints are thinned out.
type asynqLog struct {
	logger       *slog.Logger
	warns, fails *rate.Sometimes
}

func newAsynqLog(logger *slog.Logger) *asynqLog {
	return &asynqLog{
		logger: logger,
		warns:  &rate.Sometimes{Interval: asynqLineEvery},
		fails:  &rate.Sometimes{Interval: asynqLineEvery},
	}
}

// Debug is asynq's chatter.
func (l *asynqLog) Debug(args ...any) { l.logger.Debug("asynq", text(args)) }

// Info is about asynq's starting and stopping.
func (l *asynqLog) Info(args ...any) { l.logger.Debug("asynq", text(args)) }

// Warn is about tasks that asynq could not put away.
func (l *asynqLog) Warn(args ...any) { l.warns.Do(func() { l.logger.Warn("asynq", text(args)) }) }

// Error is nearly always about Redis being away.
func (l *asynqLog) Error(args ...any) { l.fails.Do(func() { l.logger.Warn("asynq", text(args)) }) }

// Fatal never happens in the server that is used here, and ends nothing.
func (l *asynqLog) Fatal(args ...any) { l.logger.Error("asynq", text(args)) }

func text(args []any) slog.Attr { return slog.String("text", fmt.Sprint(args...)) }
