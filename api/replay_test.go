package api

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// patchy refuses every n-th append, and tells for some only afterwards.
type patchy struct {
	appender
	every, calls int
}

func (p *patchy) AppendAll(ctx context.Context, writes []*contact.Write) ([]contact.Receipt, []error) {
	receipts, errs := make([]contact.Receipt, len(writes)), make([]error, len(writes))
	for i, w := range writes {
		p.calls++
		switch {
		case p.calls%p.every == 0:
			errs[i] = &contact.Error{Code: contact.CodeOverloaded, RetryAfter: time.Millisecond}
		case p.calls%p.every == 1 && p.every > 2:
			_, _ = p.Append(ctx, w)
			errs[i] = &contact.Error{Code: contact.CodeQueueUnavailable, Message: "Its fate is unknown."}
		default:
			receipts[i], errs[i] = p.Append(ctx, w)
		}
	}
	return receipts, errs
}

// failMany makes writes that fail, n of each contact in turns, and returns their ids
// in the order of their acceptance.
func (b *bench) failMany(t *testing.T, contacts, n int) []uuid.UUID {
	t.Helper()
	ids := make([]uuid.UUID, 0, contacts*n)
	targets := make([]uuid.UUID, contacts)
	for i := range targets {
		targets[i] = uuid.New()
	}
	for range n {
		for _, id := range targets {
			w := &contact.Write{Account: b.key.Account, Contact: id, Kind: contact.KindPatch, Source: contact.SourcePatch}
			var err error
			if w.ID, err = contact.NewWriteID(time.Now(), contact.LaneOf(id, b.server.opt.Lanes.Contact)); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Append(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, w.ID)
		}
	}
	return ids
}

// retried lists which writes were repeated, each at its first append, and which
// of them by two ids.
func (b *bench) retried() (order []uuid.UUID, twice int) {
	ids := map[uuid.UUID]uuid.UUID{}
	for _, w := range b.appended {
		switch id, known := ids[w.RetryOf]; {
		case w.RetryOf == uuid.Nil:
		case !known:
			ids[w.RetryOf] = w.ID
			order = append(order, w.RetryOf)
		case id != w.ID:
			twice++
		}
	}
	return order, twice
}

func TestReplayKeepsTheOrderWhateverIsRefused(t *testing.T) {
	t.Parallel()
	for _, every := range []int{1 << 30, 2, 3, 7} {
		b := setup(t)
		want := b.failMany(t, 12, 4)
		b.server.opt.Appender = &patchy{appender: b.server.opt.Appender, every: every}
		steps := 0
		got, err := b.server.Replay(t.Context(), Replay{
			Query: contact.FailureQuery{AllAccounts: true}, Progress: func(ReplayProgress) { steps++ },
		})
		if err != nil || got.Retried != len(want) || got.Done() != len(want) || steps == 0 {
			t.Fatalf("every %d: %+v, %v after %d steps", every, got, err, steps)
		}
		order, twice := b.retried()
		// All of one contact in their order: here every twelfth.
		for i := range 12 {
			var wantOf, gotOf []uuid.UUID
			for n := i; n < len(want); n += 12 {
				wantOf = append(wantOf, want[n])
			}
			for _, id := range order {
				if slices.Contains(wantOf, id) {
					gotOf = append(gotOf, id)
				}
			}
			if !slices.Equal(gotOf, wantOf) {
				t.Errorf("every %d: contact %d retried as %v, want %v", every, i, gotOf, wantOf)
			}
		}
		if len(order) != len(want) || twice > 0 {
			t.Errorf("every %d: %d retried, %d by two ids", every, len(order), twice)
		}
	}
}

// Cut off anywhere, the next replay goes on: every write is repeated, by one id.
func TestReplayIsResumed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want := b.failMany(t, 10, 30)
	b.set(func() { b.paused = true }) // So that the retries do not fail in their turn.
	// A retry that died between its claim and its append.
	if _, err := b.ClaimRetry(t.Context(), b.key.Account, want[7], uuid.New()); err != nil {
		t.Fatal(err)
	}
	total := 0
	for try := 0; ; try++ {
		ctx, cancel := context.WithCancel(t.Context())
		got, err := b.server.Replay(ctx, Replay{
			Query: contact.FailureQuery{AllAccounts: true}, Rate: 2000,
			Progress: func(p ReplayProgress) {
				if p.Done() >= 40 {
					cancel()
				}
			},
		})
		cancel()
		total += got.Retried
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) || try > 300 {
			t.Fatalf("try %d: %v", try, err)
		}
	}
	order, twice := b.retried()
	slices.SortFunc(order, func(x, y uuid.UUID) int { return slices.Index(want, x) - slices.Index(want, y) })
	if !slices.Equal(order, want) || twice > 0 || total != len(want) {
		t.Errorf("%d retried of %d, %d by two ids, told %d", len(order), len(want), twice, total)
	}
}

func TestReplayKeepsItsRate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.failMany(t, 30, 1)
	began := time.Now()
	got, err := b.server.Replay(t.Context(), Replay{Query: contact.FailureQuery{AllAccounts: true}, Rate: 100})
	if took := time.Since(began); err != nil || got.Retried != 30 || took < 150*time.Millisecond {
		t.Errorf("%+v, %v within %s", got, err, took)
	}
}
