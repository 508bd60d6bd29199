package circuit

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of Config.
const (
	defaultPatience  = 500 * time.Millisecond
	defaultProbeTime = time.Second
	defaultPause     = 100 * time.Millisecond
)

// ErrOpen refuses a call of an open circuit. The call did not run.
var ErrOpen = errors.New("server does not answer: not asked")

// Config says what a Circuit watches. The zero value of a member means its
// default; Probe and Answered have none.
type Config struct {
	// Server is its name in logs and metrics.
	Server string
	// Probe asks the server on a connection that no call uses.
	Probe func(ctx context.Context) error
	// Answered tells whether an error is an answer of the server, or the
	// caller's own doing, and so no reason for doubt.
	Answered func(err error) bool
	// Back is called, by the prober, right before the circuit closes; it may be nil.
	Back func()
	// Patience is how long a call takes before the server is doubted; default 500 ms.
	Patience time.Duration
	// ProbeTime bounds one probe; default 1 s.
	ProbeTime time.Duration
	// Pause is the mean time between two probes, half of it to one and a half
	// times it; default 100 ms.
	Pause time.Duration
	// Logger is silent when nil.
	Logger *slog.Logger
	// Registerer takes the metrics; nil registers none.
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&c.Patience, defaultPatience}, {&c.ProbeTime, defaultProbeTime}, {&c.Pause, defaultPause}} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Circuit stands before the calls to one server. It is safe for concurrent use.
type Circuit struct {
	cfg     Config
	metrics *metrics
	open    atomic.Bool

	mu      sync.Mutex
	closed  bool
	probing bool
	end     chan struct{} // closed by Close
	probes  sync.WaitGroup
}

// New returns a closed circuit. Close ends it.
func New(cfg Config) *Circuit {
	cfg = cfg.withDefaults()
	return &Circuit{cfg: cfg, metrics: newMetrics(cfg.Registerer, cfg.Server), end: make(chan struct{})}
}

// Open tells whether calls are refused.
func (c *Circuit) Open() bool { return c.open.Load() }

// Do runs a call, or returns ErrOpen without running it. The call bounds its own
// time; Do only watches.
func (c *Circuit) Do(call func() error) error {
	if c.open.Load() {
		c.metrics.refused.Inc()
		return ErrOpen
	}
	slow := time.AfterFunc(c.cfg.Patience, c.doubt)
	err := call()
	slow.Stop()
	if err != nil && !c.cfg.Answered(err) {
		c.doubt()
	}
	return err
}

// Close ends the probing. The circuit then stays as it is.
func (c *Circuit) Close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.end)
	}
	c.mu.Unlock()
	c.probes.Wait()
}

// doubt starts a prober unless one is at work.
func (c *Circuit) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.probing {
		return
	}
	c.probing = true
	c.probes.Go(c.probe)
}

// probe asks until the server answers. Its context is its own: it serves every
// caller, and ends with Close.
func (c *Circuit) probe() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-c.end:
			cancel()
		case <-stop:
		}
	}()
	began := time.Now()
	for err := c.ask(ctx); err != nil; err = c.ask(ctx) {
		if ctx.Err() != nil {
			return
		}
		if c.open.CompareAndSwap(false, true) {
			c.metrics.open.Set(1)
			c.metrics.openings.Inc()
			c.cfg.Logger.WarnContext(ctx, "server does not answer, calls are refused at once", "server", c.cfg.Server, "err", err)
		}
		if !c.pause(ctx) {
			return
		}
	}
	if c.open.Load() {
		if c.cfg.Back != nil {
			c.cfg.Back()
		}
		c.metrics.open.Set(0)
		c.cfg.Logger.InfoContext(ctx, "server answers again", "server", c.cfg.Server, "after", time.Since(began))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// In this order: who finds the circuit closed may doubt again.
	c.probing = false
	c.open.Store(false)
}

// ask runs one probe; nil: the server answered, whatever it said.
func (c *Circuit) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ProbeTime)
	defer cancel()
	err := c.cfg.Probe(ctx)
	if err != nil && c.cfg.Answered(err) && ctx.Err() == nil {
		return nil
	}
	return err
}

// pause waits between two probes; false: the circuit was closed for good.
func (c *Circuit) pause(ctx context.Context) bool {
	timer := time.NewTimer(c.cfg.Pause/2 + rand.N(c.cfg.Pause)) //nolint:gosec // Jitter is no secret.
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
