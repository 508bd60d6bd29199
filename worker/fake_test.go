package worker

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"patchlane/tasks/contact"
)

var (
	testLane  = contact.Lane{Kind: 'c', N: 17}
	errAway   = errors.New("connection refused")
	errBadRow = errors.New("value out of range")
)

// call is one call of a fake, at a time since the start of the test.
type call struct {
	name string
	at   time.Duration
}

// fakes are one lane and one store in memory, with the rules of the real ones:
// a lease by token, a fence by exclusion, a ledger that drops replays.
type fakes struct {
	mu      sync.Mutex
	began   time.Time
	calls   []call
	entries []contact.Entry
	owner   string
	gen     int64
	served  int64
	pause   time.Duration
	rung    []int64

	ledger   map[uuid.UUID]contact.Outcome
	applied  []uuid.UUID
	sizes    []int
	failed   []uuid.UUID
	applying bool
	replies  map[string][]uuid.UUID

	// refused are the ids whose batch is refused.
	refused map[uuid.UUID]bool
	// cutBefore are the ids before which a batch is cut, unless they lead it.
	cutBefore map[uuid.UUID]bool
	// takes is how long a transaction takes.
	takes time.Duration
	// on is called before each call, without the lock; its error is the answer.
	on func(ctx context.Context, name string) error
	// lostReply makes the effect of a call happen although on returns an error.
	lostReply map[string]bool
}

func newFakes(n int) *fakes {
	f := &fakes{
		began: time.Now(), gen: 1,
		ledger: map[uuid.UUID]contact.Outcome{}, replies: map[string][]uuid.UUID{},
		refused: map[uuid.UUID]bool{}, cutBefore: map[uuid.UUID]bool{}, lostReply: map[string]bool{},
	}
	f.add(n)
	return f
}

// id is the write id of the i-th entry.
func id(i int) uuid.UUID {
	var u uuid.UUID
	binary.BigEndian.PutUint64(u[8:], uint64(i)+1)
	return u
}

// add appends n entries.
func (f *fakes) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		i := len(f.applied) + len(f.entries)
		f.entries = append(f.entries, contact.Entry{
			Offset: contact.Offset{Ms: 1, Seq: uint64(i) + 1},
			Write:  contact.Write{ID: id(i), AcceptedAt: time.Now()},
			Raw:    make([]byte, 100),
		})
	}
}

func (f *fakes) called(ctx context.Context, name string) error {
	f.mu.Lock()
	f.calls = append(f.calls, call{name, time.Since(f.began)})
	on := f.on
	f.mu.Unlock()
	if on == nil {
		return nil
	}
	return on(ctx, name)
}

// times returns when a call was made.
func (f *fakes) times(name string) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var at []time.Duration
	for _, c := range f.calls {
		if c.name == name {
			at = append(at, c.at)
		}
	}
	return at
}

func (f *fakes) Enter(ctx context.Context, _ contact.Lane, generation int64, token string) (bool, error) {
	err := f.called(ctx, "enter")
	if err != nil && !f.lostReply["enter"] {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owner == token {
		return true, err
	}
	if f.owner != "" || generation <= f.served {
		return false, err
	}
	f.owner, f.served = token, f.gen
	return true, err
}

func (f *fakes) Renew(ctx context.Context, _ contact.Lane, token string) (bool, error) {
	if err := f.called(ctx, "renew"); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.owner == token, nil
}

func (f *fakes) Read(ctx context.Context, _ contact.Lane, most int, block time.Duration) ([]contact.Entry, error) {
	if err := f.called(ctx, "read"); err != nil {
		return nil, err
	}
	if f.depth() == 0 {
		elapse(ctx, block)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.entries[:min(most, len(f.entries))]), nil
}

func (f *fakes) Trim(ctx context.Context, _ contact.Lane, applied []contact.Entry) error {
	if err := f.called(ctx, "trim"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range applied {
		if len(f.entries) > 0 && f.entries[0].ID == e.ID {
			f.entries = f.entries[1:]
		}
	}
	return nil
}

func (f *fakes) Leave(ctx context.Context, _ contact.Lane, token string, pause time.Duration) (int64, error) {
	if err := f.called(ctx, "leave"); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owner != token {
		return 0, nil
	}
	f.owner, f.pause = "", pause
	if pause > 0 || len(f.entries) == 0 {
		return 0, nil
	}
	f.gen++
	return f.gen, nil
}

func (f *fakes) Apply(ctx context.Context, _ contact.Lane, batch []contact.Entry) (contact.AppliedBatch, error) {
	f.mu.Lock()
	if f.applying {
		f.mu.Unlock()
		return contact.AppliedBatch{}, contact.ErrLaneHeld
	}
	f.applying = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.applying = false
		f.mu.Unlock()
	}()
	err := f.called(ctx, "apply")
	if err != nil && !f.lostReply["apply"] {
		return contact.AppliedBatch{}, err
	}
	elapse(ctx, f.takes)
	f.mu.Lock()
	defer f.mu.Unlock()
	var b contact.AppliedBatch
	for i, e := range batch {
		if i > 0 && f.cutBefore[e.ID] {
			break
		}
		if _, known := f.ledger[e.ID]; f.refused[e.ID] && !known {
			return contact.AppliedBatch{}, &contact.DataError{Code: contact.CodeDataError, Err: errBadRow}
		}
		b.Consumed++
	}
	f.sizes = append(f.sizes, b.Consumed)
	for _, e := range batch[:b.Consumed] {
		b.Outcomes = append(b.Outcomes, f.commit(e, contact.Applied, &b))
	}
	return b, err
}

func (f *fakes) commit(e contact.Entry, state contact.State, b *contact.AppliedBatch) contact.Outcome {
	if o, known := f.ledger[e.ID]; known {
		b.Replays++
		return o
	}
	o := contact.Outcome{WriteID: e.ID, State: state, AcceptedAt: e.AcceptedAt, AppliedAt: time.Now()}
	f.ledger[e.ID] = o
	f.applied = append(f.applied, e.ID)
	return o
}

func (f *fakes) Fail(ctx context.Context, _ contact.Lane, e contact.Entry, why *contact.DataError) (contact.Outcome, error) {
	if err := f.called(ctx, "fail"); err != nil {
		return contact.Outcome{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = append(f.failed, e.ID)
	o := f.commit(e, contact.Failed, &contact.AppliedBatch{})
	o.Code = why.Code
	return o, nil
}

func (f *fakes) publish(ctx context.Context, replyTo string, outcomes []contact.Outcome) error {
	if err := f.called(ctx, "publish"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range outcomes {
		f.replies[replyTo] = append(f.replies[replyTo], o.WriteID)
	}
	return nil
}

func (f *fakes) ring(ctx context.Context, _ contact.Lane, generation int64) error {
	if err := f.called(ctx, "ring"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rung = append(f.rung, generation)
	return nil
}

func (f *fakes) depth() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.entries)
}

// elapse lets time go by, or less when ctx ends.
func elapse(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Sweep and Raise make the fakes a sweeper that never finds anything.
func (f *fakes) Sweep(ctx context.Context) ([]contact.Stalled, error) {
	return nil, f.called(ctx, "sweep")
}

func (f *fakes) Raise(ctx context.Context, _ map[contact.Lane]contact.Offset) ([]contact.Lane, error) {
	return nil, f.called(ctx, "raise")
}

func (f *fakes) offsets(ctx context.Context) (map[contact.Lane]contact.Offset, error) {
	return nil, f.called(ctx, "offsets")
}

func (f *fakes) options() Options {
	return Options{
		Lanes: f, Store: f, Optouts: f, Publish: f.publish, Sweeper: f, Offsets: f.offsets, Ring: f.ring,
		Redis:  asynq.RedisClientOpt{Addr: "127.0.0.1:1"},
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Name: "test",
	}
}

// worker returns a worker over the fakes that was not started.
func (f *fakes) worker(tb testing.TB) *Worker {
	tb.Helper()
	w, err := New(f.options())
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// allApplied checks that n entries were applied once each and in order, and
// that nothing is left.
func (f *fakes) allApplied(tb testing.TB, n int) {
	tb.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	want := make([]uuid.UUID, n)
	for i := range want {
		want[i] = id(i)
	}
	if !slices.Equal(f.applied, want) {
		tb.Errorf("applied %d entries, not the %d of the lane in order", len(f.applied), n)
	}
	if len(f.entries) != 0 {
		tb.Errorf("%d entries are left in the lane", len(f.entries))
	}
	if f.owner != "" {
		tb.Errorf("the lane is still owned by %s", f.owner)
	}
}

// count reads a counter.
func count(tb testing.TB, c prometheus.Collector) int {
	tb.Helper()
	return int(testutil.ToFloat64(c))
}
