package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"patchlane/tasks/contact"
	"patchlane/tasks/failpoint"
)

// laneLog is the worker's side of the lanes. Every method is safe to repeat
// after an error.
type laneLog interface {
	// Enter takes the lane's lease for a drain, named by its token. It returns
	// false when there is nothing to do: the generation was served, or a live
	// drain owns the lane. A drain that entered already enters again.
	Enter(ctx context.Context, lane contact.Lane, generation int64, token string) (bool, error)
	// Renew lengthens the lease; false: it is lost.
	Renew(ctx context.Context, lane contact.Lane, token string) (bool, error)
	// Read returns entries from the head of the lane, in order. It waits up to
	// block for the first one when the lane is empty.
	Read(ctx context.Context, lane contact.Lane, most int, block time.Duration) ([]contact.Entry, error)
	// Trim removes entries from the head of the lane. It MUST be called only
	// with entries whose outcome was committed.
	Trim(ctx context.Context, lane contact.Lane, applied []contact.Entry) error
	// Leave gives the lease back. It returns the generation to ring for when
	// entries remain, else 0; with a pause the sweep rings, after the pause.
	Leave(ctx context.Context, lane contact.Lane, token string, pause time.Duration) (next int64, err error)
}

// applier commits batches.
type applier interface {
	// Apply commits the head of a batch in one transaction, each entry once
	// however often it is given. contact.ErrLaneHeld and contact.ErrFenced say
	// that somebody else has the lane, *contact.DataError that an entry of the
	// batch is refused; any other error is an outage. Nothing was committed
	// when it returns an error, or the next Apply finds out what was.
	Apply(ctx context.Context, lane contact.Lane, batch []contact.Entry) (contact.AppliedBatch, error)
	// Fail records one entry as failed and moves the offset behind it.
	Fail(
		ctx context.Context, lane contact.Lane, entry contact.Entry, why *contact.DataError,
	) (contact.Outcome, error)
}

const (
	// linger is how long a drain waits at an empty lane for more: a client that
	// sends its next write on the answer to this one finds the lane served.
	linger = 50 * time.Millisecond
	// redisStep and storeStep are the deadlines of one step. A step past its
	// deadline is no longer covered by the lease, so that others may go on.
	redisStep = 3 * time.Second
	storeStep = 10 * time.Second
)

// drains drains lanes, any number of them at once.
type drains struct {
	o       Options
	metrics *metrics
	log     *drainLog
	traces  *tracer
	// events go before writes.
	events *precedence
}

func newDrains(o Options, m *metrics) *drains {
	return &drains{o: o, metrics: m, log: newDrainLog(o.Logger), traces: newTracer(o.Traces), events: &precedence{}}
}

// applierOf returns where the entries of a lane are committed.
func (o *Options) applierOf(lane contact.Lane) applier {
	if lane.Kind == 'a' {
		return o.Optouts
	}
	return o.Store
}

// pass is one drain of one lane, from entering it to leaving it.
type pass struct {
	*drains
	lane  contact.Lane
	token string
	// generation is the ring that this drain serves.
	generation int64
	lease      *lease
	// store takes what stands in this kind of lane.
	store applier
	// until is when the slice is over.
	until time.Time
	// unapplied holds entries that were read and not yet applied.
	unapplied []contact.Entry
	sizer     sizer
	outage    outage
}

// drain serves one generation of a lane: enter, rounds until the lane is empty
// or the slice over, leave, ring for what remains. It returns the generation
// that it rang for, or 0, and why it ended. When ctx ends it leaves the lane
// after the round in flight.
func (d *drains) drain(ctx context.Context, lane contact.Lane, generation int64) (next int64, why end) {
	p := &pass{
		drains: d, lane: lane, generation: generation,
		token: d.o.Name + "/" + rand.Text(),
		lease: newLease(),
		store: d.o.applierOf(lane),
		until: time.Now().Add(d.o.Slice),
		sizer: newSizer(d.o.BatchSize, d.o.BatchBytes),
	}
	defer func() { d.metrics.drains.WithLabelValues(string(why)).Inc() }()
	entered, err := p.enter(ctx, generation)
	if err == nil && !entered {
		return 0, endServed
	}
	failpoint.Hit("drain.entered")
	renewing, stopRenewing := context.WithCancel(context.WithoutCancel(ctx))
	renewed := background(func() { p.renew(renewing) })
	why = endOutage // of Enter: whether the lane was entered is not known.
	if err == nil {
		why = p.rounds(ctx)
	}
	stopRenewing()
	<-renewed
	next = p.leave(ctx, why)
	failpoint.Hit("drain.left")
	p.ring(ctx, next)
	return next, why
}

// rounds goes round until there is a reason to end. A panic is one: it is a
// bug, and the lane is left for another try instead of being held until its
// lease ends.
func (p *pass) rounds(ctx context.Context) (why end) {
	defer func() {
		if bug := recover(); bug != nil {
			why = endBug
			p.o.Logger.ErrorContext(ctx, "drain panicked",
				"lane", p.lane.String(), "panic", fmt.Sprint(bug), "stack", string(debug.Stack()))
		}
	}()
	for {
		if why := p.judge(ctx, p.round(ctx)); why != goOn {
			return why
		}
	}
}

// round is the drain: it may be left between any two lines, by a return or by
// the death of the process, and another drain goes on from what is committed.
func (p *pass) round(ctx context.Context) error {
	if err := p.over(ctx); err != nil {
		return err
	}
	batch, err := p.read(ctx)
	if err != nil {
		return err
	}
	failpoint.Hit("drain.read")
	applied, err := p.apply(ctx, batch)
	if err != nil {
		return err
	}
	failpoint.Hit("drain.applied")
	p.publish(ctx, batch, applied.Outcomes)
	failpoint.Hit("drain.published")
	if err := p.trim(ctx, batch[:applied.Consumed]); err != nil {
		return err
	}
	failpoint.Hit("drain.trimmed")
	return nil
}

// step runs one step under its deadline. It is cut off from the end of ctx on
// purpose: being told to stop ends a drain between two steps, never inside
// one; the deadline bounds it all the same.
func (p *pass) step(
	ctx context.Context, name string, limit time.Duration, do func(context.Context) error,
) error {
	late := fmt.Errorf("no answer within %s: %w", limit, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), limit, late)
	defer cancel()
	p.lease.busy(limit)
	defer p.lease.idle()
	err := do(ctx)
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s lane %s: %w", name, p.lane, context.Cause(ctx))
	}
	return err
}

// over tells why the drain ends before another batch is read, or nil.
func (p *pass) over(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return errStopping
	case p.lease.lost():
		return errLeaseLost
	case !p.outage.on() && !time.Now().Before(p.until):
		// In an outage the slot is of no use to other lanes either.
		return errSliceOver
	default:
		return nil
	}
}

// enter takes the lease. A call whose reply was lost is repeated: it was this
// drain's own entering, or none.
func (p *pass) enter(ctx context.Context, generation int64) (entered bool, err error) {
	enter := func(ctx context.Context) (err error) {
		// The lease is counted from before the call that makes it.
		p.lease.renewed(time.Now())
		entered, err = p.o.Lanes.Enter(ctx, p.lane, generation, p.token)
		return err
	}
	err = p.step(ctx, "enter", redisStep, enter)
	for err != nil && p.outage.wait(ctx, p.lease) {
		err = p.step(ctx, "enter", redisStep, enter)
	}
	if err != nil {
		p.o.Logger.WarnContext(ctx, "lane not entered", "lane", p.lane.String(), "err", err)
		return false, err
	}
	p.outage.end()
	return entered, nil
}

// read returns the next batch: the head of what was read and not applied, or
// of the lane.
func (p *pass) read(ctx context.Context) ([]contact.Entry, error) {
	if len(p.unapplied) == 0 {
		want := p.sizer.want()
		err := p.step(ctx, "read", redisStep, func(ctx context.Context) (err error) {
			p.unapplied, err = p.o.Lanes.Read(ctx, p.lane, want, linger)
			return err
		})
		if err != nil {
			return nil, err
		}
		p.sizer.read(want, len(p.unapplied))
	}
	if len(p.unapplied) == 0 {
		return nil, errEmpty
	}
	return p.sizer.cut(p.unapplied), nil
}

// apply commits the head of a batch. An entry that is refused all alone is
// recorded as failed, which commits it too.
func (p *pass) apply(ctx context.Context, batch []contact.Entry) (applied contact.AppliedBatch, err error) {
	ctx, span := p.traces.batch(ctx, p.lane, p.generation, batch)
	defer func() { span.end(ctx, applied, err) }()
	if p.lane.Kind == 'a' {
		defer p.events.take()()
	} else if p.events.give(ctx) {
		p.metrics.yields.Inc()
	}
	began := time.Now()
	err = p.step(ctx, "apply", storeStep, func(ctx context.Context) (err error) {
		applied, err = p.store.Apply(ctx, p.lane, batch)
		return err
	})
	if why := refusal(err); why != nil && len(batch) == 1 {
		applied, err = p.fail(ctx, batch[0], why)
	} else if why != nil {
		p.sizer.refused(len(batch))
	}
	if err == nil {
		err = sound(applied, len(batch))
	}
	if err != nil {
		return contact.AppliedBatch{}, err
	}
	p.outage.end()
	p.sizer.consumed(applied.Consumed, len(batch))
	p.metrics.applied(batch, applied, time.Now())
	p.log.applied(ctx, p.lane, applied, time.Since(began))
	return applied, nil
}

// sound checks what would otherwise be a drain that turns for ever, or answers
// one waiter with another's outcome.
func sound(applied contact.AppliedBatch, size int) error {
	if applied.Consumed < 1 || applied.Consumed > size || len(applied.Outcomes) != applied.Consumed {
		return fmt.Errorf("apply %d entries: consumed %d with %d outcomes",
			size, applied.Consumed, len(applied.Outcomes))
	}
	return nil
}

func (p *pass) trim(ctx context.Context, applied []contact.Entry) error {
	err := p.step(ctx, "trim", redisStep, func(ctx context.Context) error {
		return p.o.Lanes.Trim(ctx, p.lane, applied)
	})
	if err != nil {
		return err
	}
	p.unapplied = p.unapplied[len(applied):]
	p.metrics.trimmed.Add(float64(len(applied)))
	return nil
}

// leave gives the lane back. While Redis is away it tries for as long as the
// lease may live: a lane that is left is served at once, one whose lease has
// to run out is not.
func (p *pass) leave(ctx context.Context, why end) (next int64) {
	leave := func(ctx context.Context) (err error) {
		next, err = p.o.Lanes.Leave(ctx, p.lane, p.token, why.pause())
		return err
	}
	// Told to stop or not, the lane is to be left: this back-off ends with the lease.
	patient := context.WithoutCancel(ctx)
	err := p.step(ctx, "leave", redisStep, leave)
	for o := (outage{}); err != nil && o.wait(patient, p.lease); {
		err = p.step(ctx, "leave", redisStep, leave)
	}
	if err != nil {
		p.o.Logger.WarnContext(ctx, "lane not left", "lane", p.lane.String(), "end", string(why), "err", err)
		return 0
	}
	return next
}

// ring rings for the next generation. If it cannot, the sweep does.
func (p *pass) ring(ctx context.Context, next int64) {
	if next == 0 {
		return
	}
	err := p.step(ctx, "ring", redisStep, func(ctx context.Context) error {
		return p.o.Ring(ctx, p.lane, next)
	})
	if err != nil {
		p.metrics.unrung.Inc()
		p.o.Logger.WarnContext(ctx, "lane not rung for", "lane", p.lane.String(), "err", err)
	}
}
