package lane

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

// call is one run of the append script: some requests of one lane.
type call struct {
	lane     contact.Lane
	requests []*request
	bytes    int
	keys     []string
	args     []any
	started  time.Time
}

// repeatArg is the place of the repeat flag among the arguments.
const repeatArg = 2

// dispatch sends what was gathered whenever there is something to send.
func (a *Appender) dispatch(ctx context.Context) {
	window := time.NewTimer(time.Hour)
	defer window.Stop()
	for {
		select {
		case <-a.wake:
		case <-ctx.Done():
			a.abandonAll(context.Cause(ctx))
			return
		}
		if a.busy() {
			// Others are on their way: a moment's waiting fills the pipeline
			// and costs less than its round trip.
			window.Reset(a.cfg.Gather)
			select {
			case <-window.C:
			case <-ctx.Done():
				a.abandonAll(context.Cause(ctx))
				return
			}
		}
		if calls := a.collect(); len(calls) > 0 {
			a.tasks.Go(func() { a.fly(ctx, calls) })
		}
	}
}

func (a *Appender) busy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flights > 0
}

// collect takes the head of every line whose lane has no call on its way.
func (a *Appender) collect() []*call {
	a.mu.Lock()
	defer a.mu.Unlock()
	var calls []*call
	for lane, q := range a.queues {
		if q.busy || len(q.waiting) == 0 {
			continue
		}
		c := &call{lane: lane}
		taken := 0
		for _, r := range q.waiting {
			full := len(c.requests) >= a.cfg.CallEntries || c.bytes+len(r.entry) > a.cfg.CallBytes
			if full && len(c.requests) > 0 {
				break
			}
			taken++
			if !r.stage.CompareAndSwap(waiting, sent) {
				a.release(r) // its caller went away
				continue
			}
			c.requests = append(c.requests, r)
			c.bytes += len(r.entry)
		}
		clear(q.waiting[:taken])
		q.waiting = q.waiting[taken:]
		if len(c.requests) == 0 {
			continue
		}
		q.busy = true
		calls = append(calls, c)
	}
	if len(calls) > 0 {
		a.flights++
	}
	a.settleIdle()
	return calls
}

// release takes a request off the bounds. The caller holds mu.
func (a *Appender) release(r *request) {
	a.entries--
	a.bytes -= len(r.entry)
}

// fly sends one pipeline and settles every call in it. A call whose fate is not
// known at once is settled on its own, so that it holds up its lane alone.
func (a *Appender) fly(ctx context.Context, calls []*call) {
	entries := 0
	for _, c := range calls {
		a.prepare(c)
		entries += len(c.requests)
	}
	a.lanes.metrics.gathered.Observe(float64(entries))
	start := time.Now()
	byNode, lost := a.route(ctx, calls)
	for c, err := range lost {
		a.tasks.Go(func() { a.settle(ctx, c, err) })
	}
	nodes := make([]func(), 0, len(byNode))
	for node, calls := range byNode {
		nodes = append(nodes, func() { a.send(ctx, node, calls) })
	}
	for _, send := range nodes[min(1, len(nodes)):] {
		a.tasks.Go(send)
	}
	if len(nodes) > 0 {
		nodes[0]()
	}
	a.lanes.metrics.pipeline.Observe(time.Since(start).Seconds())
	a.mu.Lock()
	a.flights--
	a.mu.Unlock()
}

// prepare makes the arguments of a call. They stay the same when it is repeated,
// but for the flag.
func (a *Appender) prepare(c *call) {
	cfg := a.lanes.cfg
	c.started = time.Now()
	c.keys = laneKeys(c.lane)
	c.args = make([]any, 0, 5+2*len(c.requests))
	c.args = append(c.args, cfg.Limit, cfg.share(), "0",
		KeyTTL.Milliseconds(), ClaimTTL.Milliseconds())
	for _, r := range c.requests {
		if r.key == "" {
			c.args = append(c.args, r.entry, "")
			continue
		}
		c.keys = append(c.keys, r.key)
		c.args = append(c.args, r.entry, r.idem.Body[:])
	}
}

// route groups calls by the server that holds their lane. On a cluster the
// node's own client is used: the cluster client repeats what it should not.
func (a *Appender) route(
	ctx context.Context, calls []*call,
) (map[redis.UniversalClient][]*call, map[*call]error) {
	byNode, lost := map[redis.UniversalClient][]*call{}, map[*call]error{}
	for _, c := range calls {
		node, err := a.node(ctx, c.lane)
		if err != nil {
			lost[c] = &notRunError{err}
			continue
		}
		byNode[node] = append(byNode[node], c)
	}
	return byNode, lost
}

func (a *Appender) node(ctx context.Context, lane contact.Lane) (redis.UniversalClient, error) {
	if cluster, ok := a.lanes.rdb.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, logKey(lane))
	}
	return a.lanes.rdb, nil
}

// send runs calls in one pipeline on one server.
func (a *Appender) send(ctx context.Context, node redis.UniversalClient, calls []*call) {
	callCtx, cancel := context.WithTimeout(ctx, a.cfg.CallTime)
	defer cancel()
	pipe := node.Pipeline()
	cmds := make([]*redis.Cmd, len(calls))
	for i, c := range calls {
		cmds[i] = a.lanes.scripts.append.EvalSha(callCtx, pipe, c.keys, c.args...)
	}
	_, _ = pipe.Exec(callCtx) // each command carries its own error
	for i, c := range calls {
		err := a.accept(ctx, c, cmds[i])
		if err != nil {
			a.tasks.Go(func() { a.settle(ctx, c, err) })
		}
	}
}

// finish frees the lane for its next call.
func (a *Appender) finish(c *call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range c.requests {
		a.release(r)
	}
	q := a.queues[c.lane]
	q.busy = false
	if len(q.waiting) > 0 {
		a.poke()
	}
	a.settleIdle()
}

// fail answers every request of a call with an error and frees the lane. What
// waits behind it is answered too, as not written because of the cause: it has
// waited long enough, and a queue that is away must be seen soon.
func (a *Appender) fail(c *call, answer, cause error) {
	// The line is emptied before anybody is answered: who comes back with the
	// same request has not waited.
	a.mu.Lock()
	a.drop(a.queues[c.lane], cause)
	a.mu.Unlock()
	for _, r := range c.requests {
		r.done <- result{err: answer}
	}
	a.finish(c)
}

// drop answers what waits in a line as not written. The caller holds mu.
func (a *Appender) drop(q *queue, err error) {
	for _, r := range q.waiting {
		a.release(r)
		if r.stage.CompareAndSwap(waiting, abandoned) {
			r.done <- result{err: notWritten(err)}
		}
	}
	q.waiting = nil
}

// abandonAll answers everything that still waits when the appender stops.
func (a *Appender) abandonAll(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, q := range a.queues {
		a.drop(q, err)
	}
	a.settleIdle()
}
