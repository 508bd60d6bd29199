package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"patchlane/tasks/contact"
)

// end is why a drain ended; it is a label of the metrics.
type end string

// The ends of a drain.
const (
	// goOn is no end: the next round follows.
	goOn end = ""
	// endServed: the generation was served, or a live drain owns the lane.
	endServed end = "served"
	// endEmpty: the lane is empty.
	endEmpty end = "empty"
	// endSlice: the slice is over, other lanes want the slot.
	endSlice end = "slice"
	// endStopped: the worker was told to stop.
	endStopped end = "stopped"
	// endLost: the lease is gone, another drain may own the lane.
	endLost end = "lost"
	// endHeld: another transaction holds the lane's row.
	endHeld end = "held"
	// endFenced: the offset moved under a batch.
	endFenced end = "fenced"
	// endOutage: Redis or Postgres did not answer for longer than is waited.
	endOutage end = "outage"
	// endBug: a panic.
	endBug end = "bug"
)

// ends lists every end, for the metrics.
func ends() []end {
	return []end{
		endServed, endEmpty, endSlice, endStopped, endLost, endHeld, endFenced, endOutage, endBug,
	}
}

// pause is how long a lane rests after a drain ended like this. Where another
// process is at work, or nothing works, ringing at once would turn in circles.
func (e end) pause() time.Duration {
	switch e {
	case endHeld, endBug:
		return 500 * time.Millisecond
	case endOutage:
		// It was waited for long enough, and the sweep paces what follows: a
		// longer rest would only add to the time after the server's return.
		return 100 * time.Millisecond
	default:
		return 0
	}
}

// The reasons to end a drain that are no failures.
var (
	errEmpty     = errors.New("lane is empty")
	errSliceOver = errors.New("slice is over")
	errStopping  = errors.New("worker is stopping")
	errLeaseLost = errors.New("lease is lost")
)

// judge decides what follows a round. Whatever is read and not applied is
// forgotten after an error: the lane knows it, and better.
func (p *pass) judge(ctx context.Context, err error) end {
	if err == nil {
		return goOn
	}
	p.unapplied = nil
	switch {
	case errors.Is(err, errEmpty):
		return endEmpty
	case errors.Is(err, errSliceOver):
		return endSlice
	case errors.Is(err, errStopping):
		return endStopped
	case errors.Is(err, errLeaseLost):
		return endLost
	case errors.Is(err, contact.ErrLaneHeld):
		p.metrics.held.Inc()
		return endHeld
	case errors.Is(err, contact.ErrFenced):
		p.metrics.fenced.Inc()
		p.o.Logger.WarnContext(ctx, "batch fenced off", "lane", p.lane.String(), "err", err)
		return endFenced
	case refusal(err) != nil && p.sizer.suspects > 1:
		p.metrics.bisections.Inc()
		return goOn
	default:
		return p.endure(ctx, err)
	}
}

// endure waits out an outage, with the lease kept, up to the patience of a
// drain.
func (p *pass) endure(ctx context.Context, err error) end {
	p.metrics.outages.Inc()
	if why := refusal(err); why != nil {
		// The text of a refusal may quote a value of a contact.
		err = errors.New(string(why.Code))
	}
	p.log.outage(ctx, p.lane, p.outage.tries, err)
	switch {
	case p.outage.wait(ctx, p.lease):
		return goOn
	case ctx.Err() != nil:
		return endStopped
	case p.lease.lost():
		return endLost
	default:
		return endOutage
	}
}

// refusal returns the data error in err's chain, or nil.
func refusal(err error) *contact.DataError {
	e, _ := errors.AsType[*contact.DataError](err)
	return e
}

// fail records an entry that is refused all alone. The write keeps its place
// in the order, and its neighbours go on.
func (p *pass) fail(
	ctx context.Context, entry contact.Entry, why *contact.DataError,
) (contact.AppliedBatch, error) {
	var outcome contact.Outcome
	err := p.step(ctx, "record failure in", storeStep, func(ctx context.Context) (err error) {
		outcome, err = p.store.Fail(ctx, p.lane, entry, why)
		return err
	})
	if err != nil {
		return contact.AppliedBatch{}, err
	}
	p.sizer.found()
	p.metrics.failures.Inc()
	at := entry.Offset
	p.o.Logger.WarnContext(ctx, "write refused by the store",
		"lane", p.lane.String(), "offset", at.String(), "write_id", entry.ID.String(), "code", why.Code)
	return contact.AppliedBatch{Consumed: 1, Outcomes: []contact.Outcome{outcome}}, nil
}

const (
	shortestWait = 50 * time.Millisecond
	longestWait  = 500 * time.Millisecond
	// patience is how long a drain waits in its slot. It is shorter than what
	// asynq grants a task, and long enough for a restart of either database.
	patience = 10 * time.Second
)

// outage is a run of failures without a success between them.
type outage struct {
	tries int
	since time.Time
}

// on tells whether the last try failed.
func (o *outage) on() bool { return o.tries > 0 }

// end says that something succeeded.
func (o *outage) end() { *o = outage{} }

// wait waits before the next try. It returns false when there is to be none:
// ctx has ended, the lease is lost or the patience is over.
func (o *outage) wait(ctx context.Context, l *lease) bool {
	if o.tries == 0 {
		o.since = time.Now()
	}
	// Every lane meets an outage at the same moment; they are not to come back at
	// the same moment too.
	pause := min(shortestWait<<min(o.tries, 4), longestWait)
	pause = pause/2 + rand.N(pause/2) //nolint:gosec // Jitter is no secret.
	o.tries++
	if ctx.Err() != nil || l.left() <= pause || time.Since(o.since) >= patience {
		return false
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.gone:
		return false
	case <-ctx.Done():
		return false
	}
}
