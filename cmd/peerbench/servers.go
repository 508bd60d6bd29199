package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"patchlane/deploy/local"
)

// servers are the Postgres and the Redis that every way shares.
type servers struct {
	postgres *local.Postgres
	redis    *local.Redis
	client   *redis.Client
}

// startServers starts both with fsync on; a Redis that is not durable would
// flatter its queues.
func startServers(ctx context.Context) (*servers, error) {
	postgres, err := local.StartPostgres(ctx, local.PostgresOptions{Fsync: true, Download: true})
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	server, err := local.StartRedis(ctx, local.RedisOptions{Durable: true, NoStandIn: true})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start redis: %w", err), postgres.Stop())
	}
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("parse redis address: %w", err), postgres.Stop(), server.Stop())
	}
	return &servers{postgres: postgres, redis: server, client: redis.NewClient(options)}, nil
}

// stop ends both.
func (s *servers) stop() error {
	return errors.Join(s.client.Close(), s.postgres.Stop(), s.redis.Stop())
}

// clear empties Redis between two ways.
func (s *servers) clear(ctx context.Context) error {
	if err := s.client.FlushAll(ctx).Err(); err != nil {
		return fmt.Errorf("empty redis: %w", err)
	}
	return nil
}
