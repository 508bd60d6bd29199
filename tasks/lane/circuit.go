package lane

import (
	"context"
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"

	"patchlane/tasks/circuit"
)

// Circuits are those of a client of Redis: one, or on a Cluster one for each node,
// so that a node that is away costs its own lanes alone.
type Circuits struct {
	cfg circuit.Config

	mu     sync.Mutex
	byAddr map[string]*circuit.Circuit
	closed bool
}

// Guard puts circuits before the commands of a client. Its subscriptions are not
// watched. Close the client before the circuits. Of cfg, Server is the name of the
// client; Probe and Answered are given here.
func Guard(rdb redis.UniversalClient, cfg circuit.Config) *Circuits {
	r := &Circuits{cfg: cfg, byAddr: map[string]*circuit.Circuit{}}
	switch c := rdb.(type) {
	case *redis.ClusterClient:
		c.OnNewNode(r.guard)
	case *redis.Client:
		r.guard(c)
	}
	return r
}

// Close ends every circuit.
func (r *Circuits) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, c := range r.byAddr {
		c.Close()
	}
}

// guard adds the circuit of a server. A node that a Cluster forgot and found again
// has the circuit that it had.
func (r *Circuits) guard(rdb *redis.Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	addr := rdb.Options().Addr
	c := r.byAddr[addr]
	if c == nil {
		cfg := r.cfg
		cfg.Answered = answered
		cfg.Probe = pings(rdb)
		if len(r.byAddr) > 0 {
			cfg.Registerer = nil // The figures of a Cluster are those of its first node.
		}
		c = circuit.New(cfg)
		if r.closed {
			c.Close()
		}
		r.byAddr[addr] = c
	}
	rdb.AddHook(hook{c})
}

// pings makes a probe: a client of its own each time, because the pool of one that
// failed goes on refusing for a while, and one connection of it.
func pings(rdb *redis.Client) func(context.Context) error {
	o := *rdb.Options()
	o.PoolSize, o.MinIdleConns, o.MaxRetries, o.DialerRetries = 1, 0, -1, 1
	o.ContextTimeoutEnabled = true
	return func(ctx context.Context) error {
		own := o
		c := redis.NewClient(&own)
		defer func() { _ = c.Close() }()
		return c.Ping(ctx).Err()
	}
}

// answered tells whether an error came from the server, or from a caller that went
// away.
func answered(err error) bool {
	var said redis.Error
	return errors.As(err, &said) || errors.Is(err, context.Canceled) ||
		errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrClosed)
}

// hook is what a client of Redis calls around its commands.
type hook struct{ circuit *circuit.Circuit }

// DialHook leaves connections alone.
func (hook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook watches one command.
func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := h.circuit.Do(func() error { return next(ctx, cmd) })
		if errors.Is(err, circuit.ErrOpen) {
			cmd.SetErr(err)
		}
		return err
	}
}

// ProcessPipelineHook watches a pipeline as one call.
func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := h.circuit.Do(func() error { return next(ctx, cmds) })
		if errors.Is(err, circuit.ErrOpen) {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
		}
		return err
	}
}
