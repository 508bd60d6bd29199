package tasks

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
)

// inspectTimeout bounds what a scrape waits for asynq.
const inspectTimeout = 2 * time.Second

// inspector is asynq's, as far as a scrape needs it.
type inspector interface {
	// Queues lists the queues that something was ever put in.
	Queues() ([]string, error)
	// GetQueueInfo describes one of them.
	GetQueueInfo(queue string) (*asynq.QueueInfo, error)
}

// collector describes our queues at scrape time.
type collector struct {
	queues inspector
	// busy keeps scrapes from piling up behind one that hangs: asynq's inspector
	// takes no deadline.
	busy atomic.Bool

	up, tasks, latency, paused, memory, processed, failed *prometheus.Desc
}

// NewCollector returns the metrics of asynq's queues, which are those of Redis,
// not of one process.
func NewCollector(queues inspector) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("patchlane_asynq_"+name, help, labels, nil)
	}
	return &collector{
		queues:  queues,
		up:      desc("up", "1 when asynq described its queues for this scrape."),
		tasks:   desc("tasks", "Tasks in the queue by state: rings, not writes.", "queue", "state"),
		latency: desc("latency_seconds", "Age of the oldest pending task; 0 when there is none.", "queue"),
		paused: desc("paused", "1 while the queue is paused by asynq's own means, which the sweep undoes.",
			"queue"),
		memory:    desc("memory_bytes", "About the memory that the queue takes in Redis, by sampling.", "queue"),
		processed: desc("processed_total", "Tasks whose handler ended, ever.", "queue"),
		failed:    desc("failed_total", "Tasks whose handler failed or whose worker died, ever.", "queue"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.tasks, c.latency, c.paused, c.memory, c.processed, c.failed} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	infos := c.inspect()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.up, float64(min(1, len(infos))))
	for _, q := range infos {
		for state, n := range map[string]int{
			"pending": q.Pending, "active": q.Active, "scheduled": q.Scheduled, "retry": q.Retry, "archived": q.Archived,
		} {
			gauge(c.tasks, float64(n), q.Queue, state)
		}
		paused := 0.0
		if q.Paused {
			paused = 1
		}
		gauge(c.paused, paused, q.Queue)
		gauge(c.latency, q.Latency.Seconds(), q.Queue)
		gauge(c.memory, float64(q.MemoryUsage), q.Queue)
		ch <- prometheus.MustNewConstMetric(c.processed, prometheus.CounterValue, float64(q.ProcessedTotal), q.Queue)
		ch <- prometheus.MustNewConstMetric(c.failed, prometheus.CounterValue, float64(q.FailedTotal), q.Queue)
	}
}

// inspect describes every queue, or none when asynq does not answer in time.
func (c *collector) inspect() []*asynq.QueueInfo {
	if !c.busy.CompareAndSwap(false, true) {
		return nil
	}
	found := make(chan []*asynq.QueueInfo, 1)
	go func() {
		defer c.busy.Store(false)
		found <- c.describe()
	}()
	late := time.NewTimer(inspectTimeout)
	defer late.Stop()
	select {
	case infos := <-found:
		return infos
	case <-late.C:
		return nil
	}
}

func (c *collector) describe() []*asynq.QueueInfo {
	used, err := c.queues.Queues()
	if err != nil {
		return nil
	}
	infos := make([]*asynq.QueueInfo, 0, len(Queues()))
	for _, queue := range Queues() {
		info := &asynq.QueueInfo{Queue: queue}
		if slices.Contains(used, queue) {
			if info, err = c.queues.GetQueueInfo(queue); err != nil {
				return nil
			}
		}
		infos = append(infos, info)
	}
	return infos
}
