package lane

import (
	"context"

	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

// eachLane runs one script for many lanes in one round trip (two when the
// server does not know the script) and returns the replies in the order of the
// lanes. args gives the arguments for the i-th lane. It is only for scripts that
// may run twice.
func (l *Lanes) eachLane(
	ctx context.Context, s *redis.Script, lanes []contact.Lane, args func(i int) []any,
) []*redis.Cmd {
	cmds := make([]*redis.Cmd, len(lanes))
	pipe := l.rdb.Pipeline()
	for i, lane := range lanes {
		cmds[i] = s.EvalSha(ctx, pipe, drainKeys(lane), args(i)...)
	}
	_, _ = pipe.Exec(ctx) // each command carries its own error
	again := l.rdb.Pipeline()
	for i, lane := range lanes {
		if redis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") {
			cmds[i] = s.Eval(ctx, again, drainKeys(lane), args(i)...)
		}
	}
	if again.Len() > 0 {
		_, _ = again.Exec(ctx)
	}
	return cmds
}

// run runs a script on one lane.
func (l *Lanes) run(
	ctx context.Context, s *redis.Script, lane contact.Lane, args ...any,
) *redis.Cmd {
	return s.Run(ctx, l.rdb, drainKeys(lane), args...)
}

// noArgs is for scripts that take keys alone.
func noArgs(int) []any { return nil }
