package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"patchlane/deploy/local"
)

// stack is a Postgres and a Redis of this process' own.
type stack struct {
	postgres *local.Postgres
	redis    *local.Redis
	logger   *slog.Logger
	// watchers restart a server that died.
	watchers sync.WaitGroup
}

// startStack starts both servers at the same time, with fsync on. They end with
// this process, however it ends. Dir keeps their data; empty: it is removed.
func startStack(ctx context.Context, dir string, logger *slog.Logger) (*stack, error) {
	inside := func(name string) string {
		if dir == "" {
			return ""
		}
		return filepath.Join(dir, name)
	}
	st := &stack{logger: logger}
	var wg sync.WaitGroup
	var pgErr, redisErr error
	wg.Go(func() {
		st.postgres, pgErr = local.StartPostgres(ctx, local.PostgresOptions{
			Dir: inside("postgres"), Fsync: true, Download: true, Logger: logger,
		})
	})
	wg.Go(func() {
		st.redis, redisErr = local.StartRedis(ctx, local.RedisOptions{Dir: inside("redis"), Durable: true, Logger: logger})
	})
	wg.Wait()
	if err := errors.Join(pgErr, redisErr); err != nil {
		return nil, errors.Join(fmt.Errorf("start the local servers: %w", err), st.stop())
	}
	return st, nil
}

// restartPause is how long a server that died stays away: long enough to be
// seen, short enough not to be in the way.
const restartPause = time.Second

// watch restarts a server that died, on its port and its data, until ctx ends.
// Changed is called after each restart.
func (st *stack) watch(ctx context.Context, changed func()) {
	st.watchers.Go(func() { st.keep(ctx, "postgres", st.postgres, changed) })
	st.watchers.Go(func() { st.keep(ctx, "redis", st.redis, changed) })
}

// restartable is a local server.
type restartable interface {
	// Done is closed when the present process of the server has ended.
	Done() <-chan struct{}
	// Restart starts it again, on its port and its data.
	Restart(ctx context.Context) error
}

func (st *stack) keep(ctx context.Context, name string, server restartable, changed func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-server.Done():
		}
		wait := backOff{wait: restartPause, most: 10 * restartPause}
		for {
			if !wait.pause(ctx) {
				return
			}
			st.logger.WarnContext(ctx, "local server died, starting it again", "server", name)
			err := server.Restart(ctx)
			if err == nil {
				break
			}
			st.logger.ErrorContext(ctx, "local server did not start", "server", name, "err", err)
		}
		changed()
	}
}

// stop ends both servers; the context of watch must be over.
func (st *stack) stop() error {
	st.watchers.Wait()
	var problems []error
	if st.redis != nil {
		problems = append(problems, st.redis.Stop())
	}
	if st.postgres != nil {
		problems = append(problems, st.postgres.Stop())
	}
	return errors.Join(problems...)
}
