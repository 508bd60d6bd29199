package lane

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Durability is what can be told about whether an acknowledged write survives
// the death of Redis.
type Durability struct {
	// Durable: every setting is as the promise needs it.
	Durable bool
	// Problems says in sentences what is not, without any secret.
	Problems []string
	// Unknown: the server does not tell its settings (a managed Redis without
	// CONFIG, or an in-process stand-in). Nothing is promised then.
	Unknown bool
}

// durableSettings are the settings that a promise of durability needs.
func durableSettings() [][2]string {
	return [][2]string{
		{"appendonly", "yes"},
		{"appendfsync", "always"},
		{"no-appendfsync-on-rewrite", "no"},
		{"maxmemory-policy", "noeviction"},
	}
}

// CheckDurability asks Redis (on a cluster every master) for its settings. An
// error means that it could not be asked.
func CheckDurability(ctx context.Context, rdb redis.UniversalClient) (Durability, error) {
	cluster, isCluster := rdb.(*redis.ClusterClient)
	if !isCluster {
		return checkServer(ctx, rdb)
	}
	all := Durability{Durable: true}
	var mu sync.Mutex
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		one, err := checkServer(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		all.Durable = all.Durable && one.Durable
		all.Unknown = all.Unknown || one.Unknown
		for _, p := range one.Problems {
			all.Problems = append(all.Problems, node.Options().Addr+": "+p)
		}
		return err
	})
	if err != nil {
		return Durability{}, fmt.Errorf("check durability: %w", err)
	}
	return all, nil
}

func checkServer(ctx context.Context, rdb redis.Cmdable) (Durability, error) {
	settings := durableSettings()
	cmds := make([]*redis.MapStringStringCmd, len(settings))
	pipe := rdb.Pipeline()
	for i, s := range settings {
		cmds[i] = pipe.ConfigGet(ctx, s[0])
	}
	_, _ = pipe.Exec(ctx) // each command carries its own error
	var d Durability
	for i, s := range settings {
		got, err := cmds[i].Result()
		if err != nil {
			if saysNothing(err) {
				return withoutConfig(ctx, rdb)
			}
			return Durability{}, fmt.Errorf("check durability: %w", err)
		}
		switch value, known := got[s[0]]; {
		case !known:
			d.Unknown = true
			d.Problems = append(d.Problems, fmt.Sprintf("Redis does not tell %s.", s[0]))
		case value != s[1]:
			d.Problems = append(d.Problems,
				fmt.Sprintf("Redis has %s %s, needed is %s.", s[0], value, s[1]))
		}
	}
	d.Durable = len(d.Problems) == 0
	return d, nil
}

// withoutConfig judges a server that refuses CONFIG: it may still tell that it
// keeps no append-only file at all.
func withoutConfig(ctx context.Context, rdb redis.Cmdable) (Durability, error) {
	d := Durability{Unknown: true, Problems: []string{
		"Redis does not tell its settings (CONFIG is refused).",
	}}
	info, err := rdb.Info(ctx, "persistence").Result()
	if err != nil {
		if saysNothing(err) {
			return d, nil
		}
		return Durability{}, fmt.Errorf("check durability: %w", err)
	}
	if strings.Contains(info, "aof_enabled:0") {
		d.Unknown = false
		d.Problems = append(d.Problems, "Redis keeps no append-only file.")
	}
	return d, nil
}

// saysNothing tells a refused question from a server that cannot be asked now.
func saysNothing(err error) bool {
	return redis.HasErrorPrefix(err, "NOPERM") ||
		redis.HasErrorPrefix(err, "unknown command") ||
		redis.HasErrorPrefix(err, "section (") // miniredis knows few of them
}
