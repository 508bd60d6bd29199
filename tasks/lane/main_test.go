package lane_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
	"patchlane/tasks/lane/lanetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// only is the lane of installations with one lane.
var only = contact.Lane{Kind: 'c', N: 0}

// bundle is what a test works on: a Redis of its own with one lane.
type bundle struct {
	rdb   redis.UniversalClient
	lanes *lane.Lanes
	bell  *bell
}

func setup(tb testing.TB, change ...func(*lane.Config)) *bundle {
	tb.Helper()
	return setupOn(tb, lanetest.New(tb), change...)
}

func setupOn(tb testing.TB, rdb redis.UniversalClient, change ...func(*lane.Config)) *bundle {
	tb.Helper()
	cfg := lane.Config{Counts: contact.LaneCounts{Contact: 1}}
	for _, f := range change {
		f(&cfg)
	}
	return &bundle{rdb: rdb, lanes: lane.New(rdb, cfg), bell: &bell{}}
}

// appender starts an appender that ends with the test.
func (b *bundle) appender(tb testing.TB, change ...func(*lane.AppenderConfig)) *lane.Appender {
	tb.Helper()
	cfg := lane.AppenderConfig{Ring: b.bell.ring}
	for _, f := range change {
		f(&cfg)
	}
	a := lane.NewAppender(b.lanes, cfg)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 10*time.Second)
		defer cancel()
		if err := a.Close(ctx); err != nil {
			tb.Errorf("close appender: %v", err)
		}
	})
	return a
}

// all reads the whole lane.
func (b *bundle) all(tb testing.TB) []contact.Entry {
	tb.Helper()
	entries, err := b.lanes.Read(tb.Context(), only, 1_000_000, 0)
	if err != nil {
		tb.Fatalf("read lane: %v", err)
	}
	return entries
}

// stat describes the lane.
func (b *bundle) stat(tb testing.TB) lane.Stat {
	tb.Helper()
	stats, err := b.lanes.Stats(tb.Context())
	if err != nil {
		tb.Fatalf("stats: %v", err)
	}
	return stats[0]
}

// bell notes what was rung for.
type bell struct {
	mu   sync.Mutex
	gens []int64
}

func (b *bell) ring(_ context.Context, _ contact.Lane, gen int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gens = append(b.gens, gen)
	return nil
}

func (b *bell) rung() []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]int64(nil), b.gens...)
}

// write makes a write to a contact of its own.
func write(tb testing.TB, b *bundle, change ...func(*contact.Write)) *contact.Write {
	tb.Helper()
	w := &contact.Write{
		Account: uuid.New(),
		Contact: uuid.New(),
		Kind:    contact.KindPatch,
		Source:  contact.SourcePatch,
		Actor:   "key",
	}
	for _, f := range change {
		f(w)
	}
	id, err := contact.NewWriteID(time.Now(), b.lanes.Lane(w.Contact))
	if err != nil {
		tb.Fatalf("mint id: %v", err)
	}
	w.ID = id
	return w
}

// keyed gives a write an idempotency key.
func keyed(key, body string) func(*contact.Write) {
	return func(w *contact.Write) {
		w.Idempotency = &contact.IdempotencyKey{}
		copy(w.Idempotency.Key[:], key)
		copy(w.Idempotency.Body[:], body)
	}
}

// to names account and contact.
func to(ref contact.Ref) func(*contact.Write) {
	return func(w *contact.Write) { w.Account, w.Contact = ref.Account, ref.ID }
}

func newRef() contact.Ref { return contact.Ref{Account: uuid.New(), ID: uuid.New()} }

func mustAppend(tb testing.TB, a *lane.Appender, w *contact.Write) contact.Receipt {
	tb.Helper()
	r, err := a.Append(tb.Context(), w)
	if err != nil {
		tb.Fatalf("append: %v", err)
	}
	return r
}

// wantCode returns the error for a closer look.
func wantCode(tb testing.TB, err error, code contact.Code) contact.Error {
	tb.Helper()
	e, _ := err.(*contact.Error) //nolint:errorlint // the package promises the type itself
	if e == nil || e.Code != code {
		tb.Fatalf("error = %v, want code %s", err, code)
	}
	return *e
}

// eventually waits until a condition holds.
func eventually(tb testing.TB, what string, within time.Duration, holds func() bool) {
	tb.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			tb.Fatalf("not within %v: %s", within, what)
		case <-tick.C:
		}
	}
}

func notes(n int) string { return fmt.Sprintf("%0*d", n, 7) }
