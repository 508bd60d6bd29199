package limit

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

// The kinds of an operation, as the script has them.
const (
	opTake    = "T"
	opSettle  = "S"
	opRelease = "R"
)

// op is one operation on its way.
type op struct {
	kind    string
	account uuid.UUID
	toll    *contact.Toll // of a take
	ids     []uuid.UUID
	done    chan result // holds one; nil: nobody waits
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

func take(t *contact.Toll) *op { return &op{kind: opTake, account: t.Account, toll: t, ids: t.Holds} }

// units is the size of an operation.
func (o *op) units() int {
	if o.kind == opTake {
		return o.toll.Units
	}
	return len(o.ids)
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
	case o.kind == opTake && time.Now().Before(l.away):
		return errAway
	}
	l.waiting = append(l.waiting, o)
	if !l.running {
		l.running = true
		// The round trips serve other requests too, so they do not end with this
		// one; each has its own deadline.
		go l.travel(context.WithoutCancel(ctx))
	}
	return nil
}

// travel makes round trips until nothing waits.
func (l *Limiter) travel(ctx context.Context) {
	for {
		ops := l.gather()
		if len(ops) == 0 {
			return
		}
		l.trip(ctx, ops)
	}
}

// gather takes the head of the line, and notes in the same breath when it is
// empty.
func (l *Limiter) gather() []*op {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, units := 0, 0
	for n < len(l.waiting) {
		units += l.waiting[n].units()
		if n > 0 && units > tripUnits {
			break
		}
		n++
	}
	ops := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	l.running = n > 0
	l.settleIdle()
	return ops
}

// call is one run of the script: the operations of one account.
type call struct {
	account uuid.UUID
	ops     []*op
	keys    []string
	rates   []any
	args    []any
	places  map[place]int
	cmd     *redis.Cmd
}

// place is a rate of a key.
type place struct {
	key  uuid.UUID
	rate string
}

// trip runs one round trip and answers everything in it.
func (l *Limiter) trip(ctx context.Context, ops []*op) {
	ctx, cancel := context.WithTimeout(ctx, tripTime)
	defer cancel()
	started := time.Now()
	calls := byAccount(ops)
	pipe := l.rdb.Pipeline()
	for _, c := range calls {
		c.cmd = l.scripts.take.EvalSha(ctx, pipe, c.keys, l.arguments(c)...)
	}
	_, _ = pipe.Exec(ctx) // each command carries its own error
	again := l.rdb.Pipeline()
	for _, c := range calls {
		if redis.HasErrorPrefix(c.cmd.Err(), "NOSCRIPT") {
			c.cmd = l.scripts.take.Eval(ctx, again, c.keys, l.arguments(c)...)
		}
	}
	if again.Len() > 0 {
		_, _ = again.Exec(ctx)
	}
	l.metrics.gathered.Observe(float64(len(ops)))
	l.metrics.seconds.Observe(time.Since(started).Seconds())
	for _, c := range calls {
		if err := c.answer(); err != nil {
			l.fail(ctx, c, err)
		}
	}
}

// fail answers a call that has no reply, and gives Redis a pause.
func (l *Limiter) fail(ctx context.Context, c *call, err error) {
	l.metrics.failures.Inc()
	l.cfg.Logger.DebugContext(ctx, "limits not asked", "err", err)
	l.mu.Lock()
	l.away = time.Now().Add(awayPause)
	l.mu.Unlock()
	for _, o := range c.ops {
		o.reply(result{err: fmt.Errorf("ask for a toll: %w", err)})
	}
}

func (o *op) reply(r result) {
	if o.done != nil {
		o.done <- r
	}
}

// byAccount makes one call for each account.
func byAccount(ops []*op) []*call {
	var calls []*call
	found := make(map[uuid.UUID]*call, 1)
	for _, o := range ops {
		c := found[o.account]
		if c == nil {
			c = &call{
				account: o.account, places: make(map[place]int, 2),
				keys: []string{creditsKey(o.account), holdsKey(o.account)},
			}
			found[o.account] = c
			calls = append(calls, c)
		}
		c.add(o)
	}
	return calls
}

// add adds an operation to a call.
func (c *call) add(o *op) {
	c.ops = append(c.ops, o)
	first, rates, units, cost := 0, 0, 0, 0
	if o.kind == opTake {
		first, rates, units, cost = c.place(o.toll), len(o.toll.Rates), o.toll.Units, o.toll.Cost
	}
	ids := make([]byte, 0, 16*len(o.ids))
	for i := range o.ids {
		ids = append(ids, o.ids[i][:]...)
	}
	c.args = append(c.args, o.kind, first, rates, units, cost, ids)
}

// place returns where the rates of a key begin among those of the call. The rates
// of one key stand together: a toll names all of them.
func (c *call) place(t *contact.Toll) int {
	if len(t.Rates) == 0 {
		return 0
	}
	at := place{t.Key, t.Rates[0].Name}
	if first, found := c.places[at]; found {
		return first
	}
	first := len(c.keys) - 1
	c.places[at] = first
	for _, r := range t.Rates {
		step := time.Millisecond
		if r.Period < time.Minute {
			step = time.Microsecond
		}
		c.keys = append(c.keys, rateKey(t.Account, t.Key, r.Name))
		c.rates = append(c.rates, r.Limit, int64(r.Period/step), step.Microseconds())
	}
	return first
}

func (l *Limiter) arguments(c *call) []any {
	now := ""
	if l.clock != nil {
		now = fmt.Sprint(l.clock().UnixMicro())
	}
	args := make([]any, 0, 2+len(c.rates)+len(c.args))
	args = append(args, now, len(c.keys)-2)
	return append(append(args, c.rates...), c.args...)
}

// answer answers the operations of a call from its reply. An error means that
// there is no such reply; nothing was answered then.
func (c *call) answer() error {
	reply, err := c.cmd.Slice()
	if err != nil {
		return err
	}
	answers := make([]answer, len(c.ops))
	if len(reply) != len(c.ops) {
		return fmt.Errorf("reply of %d answers to %d operations", len(reply), len(c.ops))
	}
	for i, o := range c.ops {
		if answers[i], err = o.read(reply[i]); err != nil {
			return err
		}
	}
	for i, o := range c.ops {
		o.reply(result{answer: answers[i]})
	}
	return nil
}

// read reads the answer to one operation.
func (o *op) read(v any) (answer, error) {
	var rates []contact.Rate
	if o.kind == opTake {
		rates = o.toll.Rates
	}
	list, _ := v.([]any)
	n := make([]int64, len(list))
	for i := range list {
		n[i], _ = list[i].(int64)
	}
	if len(n) != 4+2*len(rates) {
		return answer{}, fmt.Errorf("answer of %d numbers to %d rates", len(n), len(rates))
	}
	a := answer{known: n[2] != -2, Grant: contact.Grant{
		Allowed: int(n[0]), Paid: int(n[1]), Credits: n[2], Metered: n[2] >= 0,
		RetryAfter: time.Duration(n[3]) * time.Microsecond,
	}}
	if !a.Metered {
		a.Credits = contact.Unmetered
	}
	for i, r := range rates {
		a.Quotas = append(a.Quotas, contact.Quota{
			Rate: r, Remaining: int(n[4+2*i]), Reset: time.Duration(n[5+2*i]) * time.Microsecond,
		})
	}
	return a, nil
}
