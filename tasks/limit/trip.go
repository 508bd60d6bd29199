package limit

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

// op is a toll, or charges to give back, on its way.
type op struct {
	account uuid.UUID
	toll    *contact.Toll // nil: give back
	back    []uuid.UUID
	done    chan result // holds one
}

// result is what came of an operation.
type result struct {
	answer
	err error
}

// answer is a grant, and whether Redis knew the account.
type answer struct {
	contact.Grant
	known bool
}

// ask puts an operation in line and waits for its answer. A caller that goes away
// does not take it back.
func (l *Limiter) ask(ctx context.Context, o *op) (answer, error) {
	o.done = make(chan result, 1)
	if err := l.submit(ctx, o); err != nil {
		return answer{}, err
	}
	select {
	case r := <-o.done:
		return r.answer, r.err
	case <-ctx.Done():
		return answer{}, fmt.Errorf("ask for a toll: %w", context.Cause(ctx))
	}
}

// submit puts an operation in line.
func (l *Limiter) submit(ctx context.Context, o *op) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return errClosed
	case o.toll != nil && time.Now().Before(l.away):
		return errAway
	}
	l.waiting = append(l.waiting, o)
	l.depart(ctx)
	return nil
}

// depart starts the round trips unless they are under way. They serve other
// requests too, so they do not end with this one; each has its own deadline. The
// caller holds mu.
func (l *Limiter) depart(ctx context.Context) {
	if !l.running {
		l.running = true
		go l.travel(context.WithoutCancel(ctx))
	}
}

// travel makes round trips until nothing waits.
func (l *Limiter) travel(ctx context.Context) {
	for {
		calls, ops := l.gather()
		if len(calls) == 0 {
			return
		}
		l.trip(ctx, calls, ops)
	}
}

// gather takes the head of the line and every settlement, one call for each
// account, and notes in the same breath when there is nothing.
func (l *Limiter) gather() (calls []*call, ops int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := make(map[uuid.UUID]*call, 1)
	of := func(account uuid.UUID) *call {
		c := found[account]
		if c == nil {
			c = newCall(account)
			found[account] = c
			calls = append(calls, c)
		}
		return c
	}
	for account, ids := range l.settling {
		of(account).settle = ids
	}
	clear(l.settling)
	for units := 0; ops < len(l.waiting); ops++ {
		o := l.waiting[ops]
		if units += len(o.back); o.toll != nil {
			units += o.toll.Units
		}
		if ops > 0 && units > tripUnits {
			break
		}
		of(o.account).add(o)
	}
	clear(l.waiting[:ops])
	l.waiting = l.waiting[ops:]
	l.running = len(calls) > 0
	l.settleIdle()
	return calls, ops
}

// trip runs one round trip and answers everything in it.
func (l *Limiter) trip(ctx context.Context, calls []*call, ops int) {
	ctx, cancel := context.WithTimeout(ctx, tripTime)
	defer cancel()
	started := time.Now()
	now := ""
	if l.clock != nil {
		now = fmt.Sprint(l.clock().UnixMicro())
	}
	pipe := l.rdb.Pipeline()
	for _, c := range calls {
		c.cmd = l.scripts.take.EvalSha(ctx, pipe, c.keys, c.arguments(now)...)
	}
	_, _ = pipe.Exec(ctx) // each command carries its own error
	again := l.rdb.Pipeline()
	for _, c := range calls {
		if redis.HasErrorPrefix(c.cmd.Err(), "NOSCRIPT") {
			c.cmd = l.scripts.take.Eval(ctx, again, c.keys, c.arguments(now)...)
		}
	}
	if again.Len() > 0 {
		_, _ = again.Exec(ctx)
	}
	l.metrics.gathered.Observe(float64(ops))
	l.metrics.seconds.Observe(time.Since(started).Seconds())
	for _, c := range calls {
		if err := c.read(); err != nil {
			l.fail(ctx, c, err)
		}
	}
}

// fail answers a call that has no reply, and gives Redis a pause: what waits in
// line is answered too, since it has waited long enough.
func (l *Limiter) fail(ctx context.Context, c *call, err error) {
	l.metrics.failures.Inc()
	l.cfg.Logger.DebugContext(ctx, "limits not asked", "err", err)
	err = fmt.Errorf("ask for a toll: %w", err)
	l.mu.Lock()
	l.away = time.Now().Add(awayPause)
	dropped := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, o := range append(c.ops(), dropped...) {
		o.done <- result{err: err}
	}
}
