package lane_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
)

// What was acknowledged before something else was sent stands before it, and
// acceptance times grow strictly, whoever appends.
func TestAppendOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	appenders := []*lane.Appender{b.appender(t), b.appender(t)} // two processes
	const clients, each = 64, 30
	var clock atomic.Int64
	type span struct{ sent, acked int64 }
	var mu sync.Mutex
	spans := map[uuid.UUID]span{}
	receipts := map[uuid.UUID]time.Time{}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for range each {
				w := write(t, b)
				sent := clock.Add(1)
				r, err := appenders[c%2].Append(t.Context(), w)
				acked := clock.Add(1)
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				mu.Lock()
				spans[w.ID], receipts[w.ID] = span{sent, acked}, r.AcceptedAt
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	entries := b.all(t)
	if len(entries) != clients*each {
		t.Fatalf("%d entries, want %d", len(entries), clients*each)
	}
	var newestSent int64
	var last time.Time
	for i, e := range entries {
		s := spans[e.ID]
		if s.acked < newestSent {
			t.Fatalf("entry %d was acknowledged before one that stands in front of it was sent", i)
		}
		newestSent = max(newestSent, s.sent)
		if !e.AcceptedAt.After(last) {
			t.Fatalf("entry %d: accepted at %v after %v", i, e.AcceptedAt, last)
		}
		last = e.AcceptedAt
		if !receipts[e.ID].Equal(e.AcceptedAt) {
			t.Fatalf("entry %d: receipt says %v, entry %v", i, receipts[e.ID], e.AcceptedAt)
		}
	}
}

func TestAppendSameKeyAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	appenders := []*lane.Appender{b.appender(t), b.appender(t)}
	ref := newRef()
	const requests = 50
	receipts := make([]contact.Receipt, requests)
	var wg sync.WaitGroup
	for i := range requests {
		w := write(t, b, to(ref), keyed("k", "body"))
		wg.Go(func() {
			r, err := appenders[i%2].Append(t.Context(), w)
			if err != nil {
				t.Errorf("append: %v", err)
			}
			receipts[i] = r
		})
	}
	wg.Wait()
	entries := b.all(t)
	if len(entries) != 1 {
		t.Fatalf("%d entries, want 1", len(entries))
	}
	first := 0
	for _, r := range receipts {
		if r.WriteID != entries[0].ID || !r.AcceptedAt.Equal(entries[0].AcceptedAt) {
			t.Errorf("receipt %+v does not name the one entry", r)
		}
		if !r.Replayed {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d receipts are not replays, want 1", first)
	}
}

func TestAppendKeyReused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	ref := newRef()
	mustAppend(t, a, write(t, b, to(ref), keyed("k", "one")))
	_, err := a.Append(t.Context(), write(t, b, to(ref), keyed("k", "two")))
	wantCode(t, err, contact.CodeKeyReused)
	// The key belongs to account and contact.
	mustAppend(t, a, write(t, b, keyed("k", "two")))
	other := contact.Ref{Account: ref.Account, ID: uuid.New()}
	mustAppend(t, a, write(t, b, to(other), keyed("k", "two")))
	if n := len(b.all(t)); n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
	ttl := b.rdb.PTTL(t.Context(), b.rdb.Keys(t.Context(), "{c:000}:idem:*").Val()[0]).Val()
	if ttl <= 23*time.Hour || ttl > 24*time.Hour {
		t.Errorf("key lives %v, want 24h", ttl)
	}
}

func TestAppendLimit(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *lane.Config) { c.Limit, c.Share = 10, 0.5 })
	a := b.appender(t)
	flooder, other := newRef(), newRef()
	first := write(t, b, to(flooder), keyed("k", "body"))
	mustAppend(t, a, first)
	for range 4 {
		mustAppend(t, a, write(t, b, to(flooder)))
	}
	_, err := a.Append(t.Context(), write(t, b, to(flooder)))
	if e := wantCode(t, err, contact.CodeOverloaded); e.RetryAfter < time.Second || e.RetryAfter > time.Minute {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	for range 5 {
		mustAppend(t, a, write(t, b, to(other)))
	}
	_, err = a.Append(t.Context(), write(t, b))
	wantCode(t, err, contact.CodeOverloaded)
	// A replay needs no room.
	if r := mustAppend(t, a, write(t, b, to(flooder), keyed("k", "body"))); r.WriteID != first.ID {
		t.Errorf("replay names %s, want %s", r.WriteID, first.ID)
	}
	if n := len(b.all(t)); n != 10 {
		t.Errorf("%d entries, want 10", n)
	}
	// A place alone is not enough: half of the limit, or of the share, is to be free.
	trim := func(n int) {
		t.Helper()
		if err := b.lanes.Trim(t.Context(), only, b.all(t)[:n]); err != nil {
			t.Fatalf("trim: %v", err)
		}
	}
	trim(4) // 1 of the flooder, 5 of the other
	_, err = a.Append(t.Context(), write(t, b, to(flooder)))
	wantCode(t, err, contact.CodeOverloaded)
	trim(1)
	for range 4 {
		mustAppend(t, a, write(t, b, to(flooder)))
	}
	mustAppend(t, a, write(t, b))
	_, err = a.Append(t.Context(), write(t, b))
	wantCode(t, err, contact.CodeOverloaded)
	if n := len(b.all(t)); n != 10 {
		t.Errorf("%d entries, want 10", n)
	}
	if fields := b.rdb.HKeys(t.Context(), "{c:000}:bell").Val(); !slices.Contains(fields, "full") || len(fields) > 6 {
		t.Errorf("marks of the lane: %q", fields)
	}
}

// An account that had its share is refused until half of it is free, and its
// neighbours are not.
func TestAppendShareHasALowWaterMark(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *lane.Config) { c.Limit, c.Share = 100, 0.1 })
	a := b.appender(t)
	flooder := newRef()
	for range 10 {
		mustAppend(t, a, write(t, b, to(flooder)))
	}
	for left := 10; left > 5; left-- {
		_, err := a.Append(t.Context(), write(t, b, to(flooder)))
		wantCode(t, err, contact.CodeOverloaded)
		mustAppend(t, a, write(t, b))
		if err := b.lanes.Trim(t.Context(), only, b.all(t)[:1]); err != nil {
			t.Fatalf("trim: %v", err)
		}
	}
	mustAppend(t, a, write(t, b, to(flooder)))
}

func TestAppendStampsNeverRepeat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	near := time.Now().Add(800 * time.Millisecond).UnixMicro()
	b.rdb.HSet(t.Context(), "{c:000}:bell", "last", near)
	if r := mustAppend(t, a, write(t, b)); r.AcceptedAt.UnixMicro() != near+1 {
		t.Errorf("accepted at %d, want %d: the last stamp is outrun", r.AcceptedAt.UnixMicro(), near+1)
	}
	b.rdb.HSet(t.Context(), "{c:000}:bell", "last", time.Now().Add(time.Hour).UnixMicro())
	if r := mustAppend(t, a, write(t, b)); time.Until(r.AcceptedAt) > time.Second {
		t.Errorf("accepted at %v: a clock set back by an hour must be followed", r.AcceptedAt)
	}
}

func TestAppendRings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	mustAppend(t, a, write(t, b))
	mustAppend(t, a, write(t, b))
	eventually(t, "rung for generation 1", time.Second, func() bool { return len(b.bell.rung()) == 1 })
	if ok, err := b.lanes.Enter(t.Context(), only, 1, "me"); !ok || err != nil {
		t.Fatalf("enter = %v, %v", ok, err)
	}
	mustAppend(t, a, write(t, b)) // an owner lives: no ring
	if s := b.stat(t); s.Generation != 1 {
		t.Errorf("generation %d, want 1", s.Generation)
	}
}

// A bell that does not work delays no receipt and is rung until it works, for
// the newest generation.
func TestAppendRingsUntilHeard(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var calls atomic.Int64
	heard := make(chan int64, 1)
	a := b.appender(t, func(c *lane.AppenderConfig) {
		c.Ring = func(_ context.Context, _ contact.Lane, gen int64) error {
			if calls.Add(1) < 3 {
				return errors.New("the queue is away")
			}
			heard <- gen
			return nil
		}
	})
	mustAppend(t, a, write(t, b))
	select {
	case gen := <-heard:
		if gen != 1 {
			t.Errorf("rung for %d, want 1", gen)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("not rung")
	}
}

func TestAppendRefusesUnfitClient(t *testing.T) {
	t.Parallel()
	b := setup(t)
	eager := redis.NewClient(&redis.Options{Addr: b.rdb.(*redis.Client).Options().Addr})
	t.Cleanup(func() { _ = eager.Close() })
	if err := lane.CheckClient(eager); err == nil {
		t.Error("a client that repeats commands was not refused")
	}
	if err := lane.CheckClient(b.rdb); err != nil {
		t.Errorf("tuned client refused: %v", err)
	}
	unfit := setupOn(t, eager)
	_, err := unfit.appender(t).Append(t.Context(), write(t, unfit))
	wantCode(t, err, contact.CodeInternal)
}

func TestAppendRefusesForeignID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := write(t, b)
	w.ID = uuid.New()
	_, err := b.appender(t).Append(t.Context(), w)
	wantCode(t, err, contact.CodeInternal)
}

// Callers that go away cost the others nothing.
func TestAppendCallersGoAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	var wg sync.WaitGroup
	var stayed atomic.Int64
	kept := sync.Map{}
	for i := range 200 {
		w := write(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		if i%2 == 0 {
			wg.Go(cancel)
		} else {
			t.Cleanup(cancel)
		}
		wg.Go(func() {
			if _, err := a.Append(ctx, w); err == nil {
				stayed.Add(1)
				kept.Store(w.ID, true)
			} else if contact.CodeOf(err) != contact.CodeQueueUnavailable {
				t.Errorf("append: %v", err)
			}
		})
	}
	wg.Wait()
	if stayed.Load() < 100 {
		t.Errorf("%d appends succeeded, want at least the 100 that waited", stayed.Load())
	}
	for _, e := range b.all(t) {
		kept.Delete(e.ID)
	}
	kept.Range(func(id, _ any) bool {
		t.Errorf("acknowledged write %v is not in the lane", id)
		return true
	})
}

func TestAppendBounds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t, func(c *lane.AppenderConfig) { c.CallEntries, c.CallBytes = 3, 4096 })
	var wg sync.WaitGroup
	for range 40 {
		big := notes(2000)
		w := write(t, b, func(w *contact.Write) { w.Patch.SetText(contact.Notes, &big) })
		wg.Go(func() { mustAppendGo(t, a, w) })
	}
	huge := notes(900_000)
	mustAppend(t, a, write(t, b, func(w *contact.Write) { w.Patch.SetText(contact.Notes, &huge) }))
	wg.Wait()
	if s := b.stat(t); s.Depth != 41 {
		t.Errorf("depth %d, want 41", s.Depth)
	}
}

func mustAppendGo(t *testing.T, a *lane.Appender, w *contact.Write) {
	t.Helper()
	if _, err := a.Append(t.Context(), w); err != nil {
		t.Errorf("append: %v", err)
	}
}

func TestAppendQueueBound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t, func(c *lane.AppenderConfig) { c.QueueEntries = 2 })
	// While Redis is paused nothing leaves the queue of this process.
	b.rdb.Do(t.Context(), "CLIENT", "PAUSE", "300", "WRITE")
	var wg sync.WaitGroup
	var refused atomic.Int64
	for range 20 {
		w := write(t, b)
		wg.Go(func() {
			_, err := a.Append(t.Context(), w)
			if contact.CodeOf(err) == contact.CodeOverloaded {
				refused.Add(1)
			} else if err != nil {
				t.Errorf("append: %v", err)
			}
		})
	}
	wg.Wait()
	if refused.Load() != 18 {
		t.Errorf("%d refused, want 18", refused.Load())
	}
}

func TestAppenderClose(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := lane.NewAppender(b.lanes, lane.AppenderConfig{Ring: b.bell.ring})
	var wg sync.WaitGroup
	var acked atomic.Int64
	started := make(chan struct{}, 100)
	for range 100 {
		w := write(t, b)
		wg.Go(func() {
			started <- struct{}{}
			_, err := a.Append(t.Context(), w)
			if err == nil {
				acked.Add(1)
				return
			}
			if contact.CodeOf(err) != contact.CodeQueueUnavailable {
				t.Errorf("append: %v", err)
			}
		})
	}
	for range 50 {
		<-started
	}
	if err := a.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	wg.Wait()
	if n := b.stat(t).Depth; n != acked.Load() {
		t.Errorf("%d entries, %d acknowledged", n, acked.Load())
	}
	if acked.Load() > 0 && len(b.bell.rung()) == 0 {
		t.Error("closed before the lane was rung for")
	}
	if err := a.Close(t.Context()); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// Closing is bounded although the bell never works.
func TestAppenderCloseBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := lane.NewAppender(b.lanes, lane.AppenderConfig{
		Ring: func(context.Context, contact.Lane, int64) error { return errors.New("away") },
	})
	mustAppend(t, a, write(t, b))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := a.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close = %v, want deadline exceeded", err)
	}
}

func TestFixCreateID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account, one, two := uuid.New(), uuid.New(), uuid.New()
	for _, propose := range []uuid.UUID{one, two, one} {
		got, err := b.lanes.FixCreateID(t.Context(), account, [32]byte{1}, propose)
		if err != nil || got != one {
			t.Errorf("fixed %s, %v; want %s", got, err, one)
		}
	}
	if got, _ := b.lanes.FixCreateID(t.Context(), uuid.New(), [32]byte{1}, two); got != two {
		t.Errorf("another account got %s, want %s", got, two)
	}
}

func TestBorn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	for _, kind := range []contact.Kind{contact.KindCreate, contact.KindRestore} {
		ref := newRef()
		mustAppend(t, a, write(t, b, to(ref))) // a patch marks nothing
		if born, err := b.lanes.Born(t.Context(), ref); born || err != nil {
			t.Fatalf("born = %v, %v before its create", born, err)
		}
		mustAppend(t, a, write(t, b, to(ref), func(w *contact.Write) { w.Kind = kind }))
		other := contact.Ref{Account: uuid.New(), ID: ref.ID}
		if born, _ := b.lanes.Born(t.Context(), other); born {
			t.Error("born for another account")
		}
		if born, err := b.lanes.Born(t.Context(), ref); !born || err != nil {
			t.Errorf("born = %v, %v while its %s is queued", born, err, kind)
		}
		mustAppend(t, a, write(t, b)) // the lane is not emptied by the trim
		entries := b.all(t)
		if err := b.lanes.Trim(t.Context(), only, entries[:len(entries)-1]); err != nil {
			t.Fatalf("trim: %v", err)
		}
		if born, err := b.lanes.Born(t.Context(), ref); born || err != nil {
			t.Errorf("born = %v, %v after its %s was applied", born, err, kind)
		}
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	ref := newRef()
	first := write(t, b, to(ref), keyed("k", "body"))
	if _, found, err := b.lanes.Replay(t.Context(), first); found || err != nil {
		t.Fatalf("replay = %v, %v before the append", found, err)
	}
	want := mustAppend(t, a, first)
	got, found, err := b.lanes.Replay(t.Context(), write(t, b, to(ref), keyed("k", "body")))
	if err != nil || !found || !got.Replayed || got.WriteID != want.WriteID || !got.AcceptedAt.Equal(want.AcceptedAt) {
		t.Errorf("replay = %+v, %v, %v; want %+v", got, found, err, want)
	}
	_, _, err = b.lanes.Replay(t.Context(), write(t, b, to(ref), keyed("k", "other")))
	wantCode(t, err, contact.CodeKeyReused)
	if _, found, err := b.lanes.Replay(t.Context(), write(t, b, to(ref))); found || err != nil {
		t.Errorf("replay without key = %v, %v", found, err)
	}
	if n := len(b.all(t)); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}

func TestAppendAll(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *lane.Config) { c.Limit, c.Share = 600, 1 })
	a := b.appender(t)
	ref := newRef()
	writes := make([]*contact.Write, 700) // more than one call
	for i := range writes {
		writes[i] = write(t, b, to(ref))
	}
	writes[3].ID = uuid.New()
	receipts, errs := a.AppendAll(t.Context(), writes)
	wantCode(t, errs[3], contact.CodeInternal)
	entries := b.all(t)
	if len(entries) != 600 {
		t.Fatalf("%d entries, want 600", len(entries))
	}
	at := 0
	for i, w := range writes {
		if i == 3 {
			continue
		}
		if at == len(entries) {
			wantCode(t, errs[i], contact.CodeOverloaded)
			continue
		}
		if errs[i] != nil || receipts[i].WriteID != w.ID || entries[at].ID != w.ID {
			t.Fatalf("row %d: %v, entry %s, want %s", i, errs[i], entries[at].ID, w.ID)
		}
		at++
	}
}
