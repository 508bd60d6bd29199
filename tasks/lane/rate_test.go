package lane

import (
	"testing"
	"time"
)

func TestDrainRate(t *testing.T) {
	t.Parallel()
	var d drainRate
	start := time.Now()
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	if r := d.observe(at(0), 100); r >= 0 {
		t.Errorf("rate %v from one look", r)
	}
	if r := d.observe(at(0.5), 150); r >= 0 {
		t.Errorf("rate %v from half a second", r)
	}
	if r := d.observe(at(2), 300); r != 100 {
		t.Errorf("rate %v, want 100", r)
	}
	for s := 3.0; s <= 40; s++ { // the drain stands still
		d.observe(at(s), 300)
	}
	if r := d.observe(at(40.1), 300); r != 0 {
		t.Errorf("rate %v of a lane that stands still", r)
	}
	if n := len(d.samples); n > 20 {
		t.Errorf("%d samples kept", n)
	}
	if r := d.observe(at(41), 7); r >= 0 {
		t.Errorf("rate %v after the count was lost", r)
	}
	d.observe(at(43), 9)
	if r := d.observe(at(100), 20); r >= 0 {
		t.Errorf("rate %v from looks that are too old", r)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		b           backlog
		held, limit int64
		want        time.Duration
	}{
		{"not measured", backlog{1000, -1}, 1000, 1000, blindRetry},
		{"stands still", backlog{1000, 0}, 1000, 1000, maxRetry},
		{"half a lane in five seconds", backlog{1000, 100}, 1000, 1000, 5 * time.Second},
		{"faster than a second", backlog{1000, 1e6}, 1000, 1000, minRetry},
		{"slower than a minute", backlog{1000, 1}, 1000, 1000, maxRetry},
		{"one account of two", backlog{1000, 100}, 500, 500, 5 * time.Second},
	} {
		if got := c.b.retryAfter(c.held, c.limit); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
