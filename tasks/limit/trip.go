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
func (l *Limiter) ask(ctx context.Context, asked op) (answer, error) {
	o := l.ops.Get().(*op) //nolint:forcetypeassert // New fills the pool.
	asked.done = o.done
	*o = asked
	if err := l.submit(ctx, o); err != nil {
		return answer{}, err
	}
	select {
	case r := <-o.done:
		*o = op{done: o.done}
		l.ops.Put(o) // nobody else holds it once it was answered
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
	l.join(ctx, o)
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
	window := time.NewTimer(time.Hour)
	defer window.Stop()
	for took := time.Duration(0); ; {
		if pause := l.linger(took); pause > 0 {
			window.Reset(pause)
			select {
			case <-window.C:
			case <-l.enough:
			}
		}
		calls, ops := l.gather()
		if len(calls) == 0 {
			return
		}
		started := time.Now()
		l.trip(ctx, calls, ops)
		took = time.Since(started)
	}
}

// linger says how long the next round trip is filled, unless there is enough for
// it earlier. What came in while one was on its way is load. Then the server is to
// spend a quarter of its time on tolls at most, however slow its disk is: the wait is
// in proportion to what the last round trip took. Nobody waits for settlements: they
// go with the next toll, if there is one soon.
func (l *Limiter) linger(took time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.enough: // of an earlier round trip
	default:
	}
	switch n := len(l.waiting); {
	case l.closed, n >= fullTrip, n+len(l.settling) == 0:
		return 0
	case n == 0:
		l.want = 1
		return settleTime
	default:
		l.want = fullTrip
		return min(3*took, gatherTime)
	}
}

// join puts an operation in line. The caller holds mu.
func (l *Limiter) join(ctx context.Context, o *op) {
	l.waiting = append(l.waiting, o)
	if len(l.waiting) >= l.want {
		l.hurry()
	}
	l.depart(ctx)
}

// hurry ends the filling of a round trip.
func (l *Limiter) hurry() {
	select {
	case l.enough <- struct{}{}:
	default:
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
	ctx, cancel := context.WithTimeout(ctx, l.cfg.TripTime)
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
