package lane

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// serverCollector describes the Redis servers at scrape time: what they have
// left of their memory, and whether they can still write to their disk. Both end
// the acceptance of writes when they are gone.
type serverCollector struct {
	rdb                       redis.UniversalClient
	used, limit, written, log *prometheus.Desc
}

// NewServerCollector returns the metrics of the Redis behind a client, of a
// Cluster those of each master.
func NewServerCollector(rdb redis.UniversalClient) prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("patchlane_redis_"+name, help, []string{"node"}, nil)
	}
	return &serverCollector{
		rdb:  rdb,
		used: desc("memory_used_bytes", "Memory that the server has allocated."),
		limit: desc("memory_limit_bytes",
			"Memory that the server may take: maxmemory, or that of its machine where none is set."),
		written: desc("append_only_file_ok", "1 while the last write to the append-only file succeeded."),
		log:     desc("append_only_file_bytes", "Size of the append-only file."),
	}
}

// Describe implements prometheus.Collector.
func (c *serverCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.used, c.limit, c.written, c.log} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. Of a server that does not answer,
// or does not tell, there are no figures.
func (c *serverCollector) Collect(ch chan<- prometheus.Metric) {
	// The interface of a collector has no context to pass on.
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	cluster, isCluster := c.rdb.(*redis.ClusterClient)
	if !isCluster {
		c.describe(ctx, ch, "redis", c.rdb)
		return
	}
	var mu sync.Mutex
	_ = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		c.describe(ctx, ch, node.Options().Addr, node)
		return nil
	})
}

func (c *serverCollector) describe(ctx context.Context, ch chan<- prometheus.Metric, name string, node redis.Cmdable) {
	text, err := node.Info(ctx).Result()
	if err != nil {
		return
	}
	info := readInfo(text)
	gauge := func(d *prometheus.Desc, field string) {
		if v, err := strconv.ParseFloat(info[field], 64); err == nil {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name)
		}
	}
	gauge(c.used, "used_memory")
	gauge(c.log, "aof_current_size")
	if info["maxmemory"] != "0" {
		gauge(c.limit, "maxmemory")
	} else {
		gauge(c.limit, "total_system_memory")
	}
	if status, told := info["aof_last_write_status"]; told {
		ok := 0.0
		if status == "ok" {
			ok = 1
		}
		ch <- prometheus.MustNewConstMetric(c.written, prometheus.GaugeValue, ok, name)
	}
}

// readInfo reads the lines of INFO.
func readInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			info[name] = value
		}
	}
	return info
}
