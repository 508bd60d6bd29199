package store

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// backlogMost ends the count of one kind: beyond it the figure says "many",
	// and a scrape costs the same.
	backlogMost = 10_000
	// backlogTimeout bounds the question of a scrape.
	backlogTimeout = 2 * time.Second

	backlogSQL = `SELECT
		(SELECT count(*) FROM (SELECT FROM failed_writes WHERE retry_id IS NULL AND discarded_at IS NULL LIMIT $1) f),
		(SELECT count(*) FROM (SELECT FROM optout_reviews WHERE state = 'pending' LIMIT $1) r),
		(SELECT count(*) FROM (SELECT FROM quarantine LIMIT $1) q)`
)

// backlog counts at scrape time what waits for a person.
type backlog struct {
	store                        *Store
	up, failed, reviews, strange *prometheus.Desc
}

// Backlog returns the metrics of what waits for a person: failed writes,
// reviews and quarantined events. They are those of the database, not of one
// process.
func (s *Store) Backlog() prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("patchlane_store_"+name, help, nil, nil)
	}
	return &backlog{
		store:   s,
		up:      desc("up", "1 when Postgres answered this scrape."),
		failed:  desc("open_failed_writes", "Failed writes that nobody retried or discarded; 10000: that many or more."),
		reviews: desc("pending_reviews", "Events that wait for somebody who decides; 10000: that many or more."),
		strange: desc("quarantined_events", "Elements kept that nobody could read; 10000: that many or more."),
	}
}

// Describe implements prometheus.Collector.
func (b *backlog) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{b.up, b.failed, b.reviews, b.strange} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (b *backlog) Collect(ch chan<- prometheus.Metric) {
	// The interface of a collector has no context to pass on.
	ctx, cancel := context.WithTimeout(context.Background(), backlogTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, v int64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	var failed, reviews, strange int64
	if b.store.read.QueryRow(ctx, backlogSQL, backlogMost).Scan(&failed, &reviews, &strange) != nil {
		gauge(b.up, 0)
		return
	}
	gauge(b.up, 1)
	gauge(b.failed, failed)
	gauge(b.reviews, reviews)
	gauge(b.strange, strange)
}
