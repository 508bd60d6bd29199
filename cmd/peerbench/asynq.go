package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// producers is how many clients hand writes over at once.
const producers = 16

// asynqTasks enqueues one task a write. With one worker its tasks start in the
// order in which they were enqueued; with more there is none.
func asynqTasks(concurrency int) runner {
	return func(ctx context.Context, e environment, w workload) error {
		p, err := openPlain(e.database, concurrency)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		defer p.close()
		options, err := redis.ParseURL(e.redis)
		if err != nil {
			return fmt.Errorf("parse redis address: %w", err)
		}
		at := asynq.RedisClientOpt{Addr: options.Addr, Password: options.Password, PoolSize: 4 * producers}
		counter := newCounter(w.Writes)
		server := asynq.NewServer(at, asynq.Config{
			Concurrency: concurrency, TaskCheckInterval: 10 * time.Millisecond,
			LogLevel: asynq.FatalLevel, ShutdownTimeout: 5 * time.Second,
		})
		if err := server.Start(asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
			var u update
			if err := json.Unmarshal(t.Payload(), &u); err != nil {
				return fmt.Errorf("decode task: %w", err)
			}
			if err := p.apply(ctx, &u); err != nil {
				return err
			}
			counter.add()
			return nil
		})); err != nil {
			return fmt.Errorf("start asynq: %w", err)
		}
		defer server.Shutdown()
		client := asynq.NewClient(at)
		defer func() { _ = client.Close() }()
		err = w.produce(producers, func(u update) error {
			payload, err := json.Marshal(u)
			if err != nil {
				return fmt.Errorf("encode task: %w", err)
			}
			_, err = client.EnqueueContext(ctx, asynq.NewTask("contact:update", payload))
			return err
		})
		if err != nil {
			return fmt.Errorf("enqueue: %w", err)
		}
		return counter.wait(ctx)
	}
}

// quiet is a logger for libraries that insist on one.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
