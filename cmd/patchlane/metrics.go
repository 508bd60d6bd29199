package main

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"patchlane/api/signature"
)

// registerRuntime adds the figures of the Go runtime, the process and the build.
func registerRuntime(reg prometheus.Registerer) {
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	} {
		reg.MustRegister(c)
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "patchlane_build_info", Help: "Always 1; its label says what was built.",
		ConstLabels: prometheus.Labels{"version": strings.TrimPrefix(version(), "patchlane ")},
	}, func() float64 { return 1 }))
}

// providerNames are the labels of the events of providers.
func providerNames() []string {
	providers := signature.Providers()
	names := make([]string, len(providers))
	for i, p := range providers {
		names[i] = string(p)
	}
	return names
}

// redisMetrics exposes the connection pools of Redis, read when they are scraped.
func redisMetrics(reg prometheus.Registerer, clients map[string]redis.UniversalClient) {
	f := promauto.With(reg)
	for name, client := range clients {
		labels := prometheus.Labels{"pool": name}
		gauge := func(metric, help string, value func(*redis.PoolStats) uint32) {
			f.NewGaugeFunc(prometheus.GaugeOpts{Name: metric, Help: help, ConstLabels: labels},
				func() float64 { return float64(value(client.PoolStats())) })
		}
		counter := func(metric, help string, value func(*redis.PoolStats) uint32) {
			f.NewCounterFunc(prometheus.CounterOpts{Name: metric, Help: help, ConstLabels: labels},
				func() float64 { return float64(value(client.PoolStats())) })
		}
		gauge("patchlane_redis_pool_connections", "Connections that the pool has open.",
			func(s *redis.PoolStats) uint32 { return s.TotalConns })
		gauge("patchlane_redis_pool_idle_connections", "Connections that nobody uses.",
			func(s *redis.PoolStats) uint32 { return s.IdleConns })
		counter("patchlane_redis_pool_timeouts_total", "Calls that waited for a connection in vain.",
			func(s *redis.PoolStats) uint32 { return s.Timeouts })
		counter("patchlane_redis_pool_stale_connections_total", "Connections that were found broken.",
			func(s *redis.PoolStats) uint32 { return s.StaleConns })
	}
}
