package lane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// Defaults of AppenderConfig.
const (
	defaultGather     = 250 * time.Microsecond
	defaultCallLimit  = 512
	defaultCallBytes  = 4 << 20
	defaultQueueLimit = 16_384
	defaultQueueBytes = 64 << 20
	defaultCallTime   = 1500 * time.Millisecond
	defaultRepeatTime = 2 * time.Second
)

// AppenderConfig says how an Appender gathers. The zero value of a member means
// its default; Ring has none.
type AppenderConfig struct {
	// Ring enqueues the drain of a generation. Its success or a conflict (the
	// task is in already) ends the ringing. It is called in the background,
	// again every 100 ms until it succeeds.
	Ring func(ctx context.Context, lane contact.Lane, gen int64) error
	// EntryVersion returns the version in which entries are written; nil: the
	// first. It is asked for every entry.
	EntryVersion func() int
	// Gather is how long requests are gathered while an earlier pipeline is on
	// its way; default 250 µs. With none on its way nothing is waited for.
	Gather time.Duration
	// CallEntries and CallBytes bound one call of a lane, except for a single
	// larger entry; default 512 and 4 MiB.
	CallEntries, CallBytes int
	// QueueEntries and QueueBytes bound what waits in this process; beyond it
	// appends are refused as overloaded; default 16,384 and 64 MiB.
	QueueEntries, QueueBytes int
	// CallTime is the deadline of one call; default 1.5 s.
	CallTime time.Duration
	// RepeatTime is how long a call of unknown fate is repeated, from its first
	// run on, and so the longest that an append waits for a Redis that hangs;
	// default 2 s.
	RepeatTime time.Duration
}

func (c AppenderConfig) withDefaults() AppenderConfig {
	c.Gather = orDefault(c.Gather, defaultGather)
	c.CallEntries = orDefault(c.CallEntries, defaultCallLimit)
	c.CallBytes = orDefault(c.CallBytes, defaultCallBytes)
	c.QueueEntries = orDefault(c.QueueEntries, defaultQueueLimit)
	c.QueueBytes = orDefault(c.QueueBytes, defaultQueueBytes)
	c.CallTime = orDefault(c.CallTime, defaultCallTime)
	c.RepeatTime = orDefault(c.RepeatTime, defaultRepeatTime)
	return c
}

func orDefault[T int | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}

// Appender adds writes to their lanes. It gathers the requests of a process:
// one pipeline holds one call for each lane, and one call of a lane is on its
// way at a time, so that the order within the process is that of the requests.
// The next call waits until the fate of the one before is known or given up.
type Appender struct {
	lanes  *Lanes
	cfg    AppenderConfig
	unfit  error // why the client must not be used; nil: it may
	wake   chan struct{}
	cancel context.CancelFunc
	// tasks counts the dispatcher, pipelines, repeats and ringers.
	tasks sync.WaitGroup

	mu      sync.Mutex
	queues  map[contact.Lane]*queue
	entries int // waiting and on their way
	bytes   int
	flights int // pipelines on their way
	closed  bool
	idle    chan struct{} // closed when closed and nothing is left

	ringMu  sync.Mutex
	ringing map[contact.Lane]int64
}

// queue holds the requests of one lane.
type queue struct {
	waiting []*request
	busy    bool // a call is on its way
	rate    drainRate
}

// The stages of a request. A caller that goes away takes a waiting request out;
// one that was sent can no longer be taken back.
const (
	waiting int32 = iota
	sent
	abandoned
)

type request struct {
	lane  contact.Lane
	id    uuid.UUID
	entry []byte
	key   string // name of the idempotency key; empty: none
	idem  *contact.IdempotencyKey
	stage atomic.Int32
	done  chan result // holds one
}

type result struct {
	receipt contact.Receipt
	err     error
}

// NewAppender starts an appender. Close ends it.
func NewAppender(l *Lanes, cfg AppenderConfig) *Appender {
	// Its work outlives every request and ends with Close, not with a caller.
	ctx, cancel := context.WithCancel(context.Background())
	a := &Appender{
		lanes:   l,
		cfg:     cfg.withDefaults(),
		unfit:   CheckClient(l.rdb),
		wake:    make(chan struct{}, 1),
		cancel:  cancel,
		queues:  map[contact.Lane]*queue{},
		idle:    make(chan struct{}),
		ringing: map[contact.Lane]int64{},
	}
	if a.unfit != nil {
		l.cfg.Logger.ErrorContext(ctx, "appending is refused", "err", a.unfit)
	}
	a.tasks.Go(func() { a.dispatch(ctx) })
	return a
}

// Append adds a write to its lane. When it returns without an error the write is
// in the stream (and, on a durable Redis, on disk). Errors are *contact.Error:
//
//   - overloaded: nothing was written; RetryAfter comes from the drain rate;
//   - idempotency_key_reused: the key stands for another body;
//   - queue_unavailable: the message says whether nothing was written or the
//     fate is unknown, in which case only a repeat with the same idempotency key
//     (or the same write id) is safe.
//
// The write MUST NOT be changed until Append returned.
func (a *Appender) Append(ctx context.Context, w *contact.Write) (contact.Receipt, error) {
	r, err := a.submit(a.request(w))
	if err != nil {
		a.count(err)
		return contact.Receipt{}, err
	}
	return a.await(ctx, r)
}

// AppendAll adds many writes, and answers for each at its place: Append for a
// batch, in fewer round trips. Those of one lane go in in their order.
func (a *Appender) AppendAll(
	ctx context.Context, writes []*contact.Write,
) ([]contact.Receipt, []error) {
	requests := make([]*request, len(writes))
	for i, w := range writes {
		requests[i] = a.request(w)
	}
	return a.appendAll(ctx, requests)
}

// AppendEvents adds events to the lanes of their addresses, and answers for each
// at its place. What is answered without an error is durable; the errors are
// those of Append. A caller that answers for all of them at once, as to a
// provider, may repeat the whole: an event that went in counts once.
func (a *Appender) AppendEvents(
	ctx context.Context, events []*contact.Event,
) ([]contact.Receipt, []error) {
	requests := make([]*request, len(events))
	for i, e := range events {
		requests[i] = &request{
			lane: a.lanes.AddressLane(e), id: e.ID, entry: a.form(contact.EncodeEvent(e)), done: make(chan result, 1),
		}
	}
	return a.appendAll(ctx, requests)
}

// appendAll puts requests in line and waits for each.
func (a *Appender) appendAll(ctx context.Context, requests []*request) ([]contact.Receipt, []error) {
	receipts, errs := make([]contact.Receipt, len(requests)), make([]error, len(requests))
	for i, r := range requests {
		if _, errs[i] = a.submit(r); errs[i] != nil {
			a.count(errs[i])
		}
	}
	for i, r := range requests {
		if errs[i] == nil {
			receipts[i], errs[i] = a.await(ctx, r)
		}
	}
	return receipts, errs
}

// await returns what became of a request that stands in line.
func (a *Appender) await(ctx context.Context, r *request) (contact.Receipt, error) {
	var res result
	select {
	case res = <-r.done:
	case <-ctx.Done():
		if r.stage.CompareAndSwap(waiting, abandoned) {
			res.err = notWritten(context.Cause(ctx))
		} else {
			res.err = fateUnknown(context.Cause(ctx))
		}
	}
	if res.err != nil {
		a.count(res.err)
		return contact.Receipt{}, res.err
	}
	if res.receipt.Replayed {
		a.lanes.metrics.appends.WithLabelValues(outcomeReplayed).Inc()
	} else {
		a.lanes.metrics.appends.WithLabelValues(outcomeAccepted).Inc()
	}
	return res.receipt, nil
}

// request makes the request of a write.
func (a *Appender) request(w *contact.Write) *request {
	r := &request{
		lane: a.lanes.Lane(w.Contact), id: w.ID, entry: a.form(contact.Encode(w)), idem: w.Idempotency,
		done: make(chan result, 1),
	}
	if w.Idempotency != nil {
		r.key = idemKey(r.lane, w.Account, w.Contact, w.Idempotency.Key)
	}
	return r
}

// submit puts a request in line.
func (a *Appender) submit(r *request) (*request, error) {
	if a.unfit != nil {
		return nil, &contact.Error{Code: contact.CodeInternal, Err: a.unfit}
	}
	if named, ours := contact.LaneOfWrite(r.id); !ours || named != r.lane {
		return nil, &contact.Error{
			Code: contact.CodeInternal,
			Err:  fmt.Errorf("append %s: its id does not name lane %s", r.id, r.lane),
		}
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, notWritten(errClosed)
	}
	if a.entries >= a.cfg.QueueEntries || a.entries > 0 && a.bytes+len(r.entry) > a.cfg.QueueBytes {
		return nil, overloaded("This server has too many writes on their way to the queue.", time.Second)
	}
	q := a.queues[r.lane]
	if q == nil {
		q = &queue{}
		a.queues[r.lane] = q
	}
	a.entries++
	a.bytes += len(r.entry)
	q.waiting = append(q.waiting, r)
	a.poke()
	return r, nil
}

var errClosed = errors.New("appender is closed")

// poke wakes the dispatcher.
func (a *Appender) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Close refuses new appends, waits until those on their way have their answer
// and their lanes were rung for, and stops. When ctx ends first, the rest is
// given up, and the error says so; what was given up is in the state that its
// caller was told.
func (a *Appender) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	a.settleIdle()
	a.mu.Unlock()
	a.poke()

	var err error
	select {
	case <-a.idle:
	case <-ctx.Done():
		err = fmt.Errorf("close appender: appends given up: %w", context.Cause(ctx))
	}
	if err == nil {
		err = a.awaitRings(ctx)
	}
	a.cancel()
	ended := make(chan struct{})
	go func() {
		a.tasks.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
	}
	if err == nil {
		err = fmt.Errorf("close appender: %w", context.Cause(ctx))
	}
	return err
}

// settleIdle closes idle once nothing is left of a closed appender. The caller
// holds mu.
func (a *Appender) settleIdle() {
	if !a.closed || a.entries > 0 {
		return
	}
	select {
	case <-a.idle:
	default:
		close(a.idle)
	}
}

// count counts a failed append.
func (a *Appender) count(err error) {
	outcome := outcomeUnavailable
	switch contact.CodeOf(err) {
	case contact.CodeOverloaded:
		outcome = outcomeOverloaded
	case contact.CodeKeyReused:
		outcome = outcomeKeyReused
	default:
		if errors.Is(err, errUnknownFate) {
			outcome = outcomeUnknown
		}
	}
	a.lanes.metrics.appends.WithLabelValues(outcome).Inc()
}
