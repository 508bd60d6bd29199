package lane_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
)

func (b *bundle) enter(tb testing.TB, gen int64, token string) bool {
	tb.Helper()
	ok, err := b.lanes.Enter(tb.Context(), only, gen, token)
	if err != nil {
		tb.Fatalf("enter: %v", err)
	}
	return ok
}

func (b *bundle) leave(tb testing.TB, token string, pause time.Duration) int64 {
	tb.Helper()
	next, err := b.lanes.Leave(tb.Context(), only, token, pause)
	if err != nil {
		tb.Fatalf("leave: %v", err)
	}
	return next
}

func (b *bundle) trim(tb testing.TB, applied []contact.Entry) {
	tb.Helper()
	if err := b.lanes.Trim(tb.Context(), only, applied); err != nil {
		tb.Fatalf("trim: %v", err)
	}
}

func TestEnterServed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.rdb.HSet(t.Context(), "{c:000}:bell", "gen", 5, "served", 2)
	for _, step := range []struct {
		gen  int64
		want bool
		why  string
	}{
		{1, false, "a served generation is not served again"},
		{2, false, "the newest served generation is not served again"},
		{3, true, "an older generation that was not served is served"},
		{4, false, "serving one serves every generation rung before"},
		{5, false, "serving one serves every generation rung before"},
		{6, true, "a generation of a lost bell is served"},
	} {
		if got := b.enter(t, step.gen, "drain"); got != step.want {
			t.Errorf("enter(%d) = %v: %s", step.gen, got, step.why)
		}
		b.leave(t, "drain", 0)
	}
}

func TestEnterOwned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.rdb.HSet(t.Context(), "{c:000}:bell", "gen", 2)
	b.rdb.Set(t.Context(), "{c:000}:claim", "append", time.Minute)
	if !b.enter(t, 1, "one") {
		t.Fatal("a free lane was not entered")
	}
	if n := b.rdb.Exists(t.Context(), "{c:000}:claim").Val(); n != 0 {
		t.Error("the claim outlived the entering")
	}
	if b.enter(t, 3, "two") {
		t.Error("two drains in one lane")
	}
	if !b.enter(t, 1, "one") {
		t.Error("the repeat of an entering whose reply was lost is refused")
	}
	if ttl := b.rdb.PTTL(t.Context(), "{c:000}:owner").Val(); ttl <= 0 || ttl > lane.OwnerTTL {
		t.Errorf("lease lives %v", ttl)
	}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enter(t, 1, "one")
	b.rdb.PExpire(t.Context(), "{c:000}:owner", time.Second)
	if ok, err := b.lanes.Renew(t.Context(), only, "one"); !ok || err != nil {
		t.Errorf("renew = %v, %v", ok, err)
	}
	if ttl := b.rdb.PTTL(t.Context(), "{c:000}:owner").Val(); ttl <= time.Second {
		t.Errorf("lease lives %v after the renewal", ttl)
	}
	if ok, err := b.lanes.Renew(t.Context(), only, "two"); ok || err != nil {
		t.Errorf("renew by a stranger = %v, %v", ok, err)
	}
	b.rdb.Del(t.Context(), "{c:000}:owner")
	if ok, _ := b.lanes.Renew(t.Context(), only, "one"); ok {
		t.Error("a lost lease was renewed")
	}
}

func TestLeave(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	b.enter(t, 1, "one")
	if next := b.leave(t, "two", 0); next != 0 || b.stat(t).Owner != "one" {
		t.Errorf("a stranger left: next %d, owner %q", next, b.stat(t).Owner)
	}
	if next := b.leave(t, "one", 0); next != 0 {
		t.Errorf("next = %d after an empty lane", next)
	}

	b.enter(t, 1, "one")
	mustAppend(t, a, write(t, b))
	next := b.leave(t, "one", 0)
	if next != b.stat(t).Generation || next == 0 {
		t.Errorf("next = %d with an entry left, generation %d", next, b.stat(t).Generation)
	}
	if ttl := b.rdb.PTTL(t.Context(), "{c:000}:claim").Val(); ttl <= 0 || ttl > lane.ClaimTTL {
		t.Errorf("claim lives %v", ttl)
	}

	b.enter(t, next, "one")
	if next := b.leave(t, "one", 500*time.Millisecond); next != 0 {
		t.Errorf("next = %d with a pause", next)
	}
	if ttl := b.rdb.PTTL(t.Context(), "{c:000}:claim").Val(); ttl <= 0 || ttl > 500*time.Millisecond {
		t.Errorf("claim of a pause lives %v", ttl)
	}
}

// Trimming removes exactly the applied entries, whatever nodes they stand in.
func TestTrimExact(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	const n = 250 // more than one node of a stream
	account := newRef()
	for range n {
		mustAppend(t, a, write(t, b, to(account)))
	}
	left := b.all(t)
	for _, cut := range []int{1, 99, 1, 0, 120, 29} {
		b.trim(t, left[:cut])
		b.trim(t, left[:cut]) // again: nothing
		left = left[cut:]
		got := b.all(t)
		if len(got) != len(left) {
			t.Fatalf("%d entries left, want %d", len(got), len(left))
		}
		if len(left) > 0 && got[0].ID != left[0].ID {
			t.Fatal("another entry is at the head")
		}
		held, _ := b.rdb.HGet(t.Context(), "{c:000}:n", string(account.Account[:])).Int()
		if held != len(left) {
			t.Fatalf("account holds %d, want %d", held, len(left))
		}
	}
	if s := b.stat(t); s.Trimmed != n || s.Depth != 0 {
		t.Errorf("trimmed %d, depth %d; want %d, 0", s.Trimmed, s.Depth, n)
	}
	if b.rdb.Exists(t.Context(), "{c:000}:log").Val() != 1 {
		t.Error("the emptied stream is gone, and its last id with it")
	}
}

// A stream that was lost and begun anew keeps its entries, also under old ids.
func TestTrimChecksWriteID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	mustAppend(t, a, write(t, b))
	mustAppend(t, a, write(t, b))
	applied := b.all(t)
	b.rdb.FlushDB(t.Context())
	other := write(t, b)
	b.rdb.XAdd(t.Context(), &redis.XAddArgs{
		Stream: "{c:000}:log", ID: applied[1].String(),
		Values: []any{"t", "1", "e", contact.Encode(other)},
	})
	b.trim(t, applied)
	if n := len(b.all(t)); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}

// The last applied entry is gone already: the rest of the batch is trimmed.
func TestTrimWithoutLast(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	for range 4 {
		mustAppend(t, a, write(t, b))
	}
	all := b.all(t)
	b.rdb.XDel(t.Context(), "{c:000}:log", all[2].String())
	b.trim(t, all[:3])
	if got := b.all(t); len(got) != 1 || got[0].ID != all[3].ID {
		t.Errorf("%d entries left, want the last one", len(got))
	}
}

// The id after the last sequence number carries into the milliseconds.
func TestTrimCarries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := []contact.Offset{
		{Ms: 5, Seq: math.MaxUint64},
		{Ms: 6, Seq: 0},
		{Ms: math.MaxUint64, Seq: math.MaxUint64 - 1},
		{Ms: math.MaxUint64, Seq: math.MaxUint64},
	}
	for _, id := range ids {
		err := b.rdb.XAdd(t.Context(), &redis.XAddArgs{
			Stream: "{c:000}:log", ID: id.String(),
			Values: []any{"t", "1", "e", contact.Encode(write(t, b))},
		}).Err()
		if err != nil {
			t.Fatalf("xadd: %v", err)
		}
	}
	for left := len(ids); left > 0; left-- {
		b.trim(t, b.all(t)[:1])
		if n := len(b.all(t)); n != left-1 {
			t.Fatalf("%d entries left, want %d", n, left-1)
		}
	}
}

func TestReadBounds(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *lane.Config) { c.ReadBytes = 5000 })
	a := b.appender(t)
	small, large := notes(800), notes(20_000)
	for _, text := range []*string{&small, &small, &small, &large, &small} {
		mustAppend(t, a, write(t, b, func(w *contact.Write) { w.Patch.SetText(contact.Notes, text) }))
	}
	read := func(limit, want int) []contact.Entry {
		t.Helper()
		entries, err := b.lanes.Read(t.Context(), only, limit, 0)
		if err != nil || len(entries) != want {
			t.Fatalf("read %d entries, %v; want %d", len(entries), err, want)
		}
		return entries
	}
	read(2, 2)
	b.trim(t, read(100, 3)) // up to the large one
	b.trim(t, read(100, 1)) // never none
	b.trim(t, read(100, 1))
	read(100, 0)
}

func TestReadBlocks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	if entries, err := b.lanes.Read(t.Context(), only, 10, time.Millisecond); len(entries) != 0 || err != nil {
		t.Fatalf("read %d entries, %v from an empty lane", len(entries), err)
	}
	done := make(chan []contact.Entry, 1)
	go func() {
		entries, err := b.lanes.Read(t.Context(), only, 10, 20*time.Second)
		if err != nil {
			t.Errorf("read: %v", err)
		}
		done <- entries
	}()
	mustAppend(t, a, write(t, b))
	select {
	case entries := <-done:
		if len(entries) != 1 {
			t.Errorf("read %d entries, want 1", len(entries))
		}
	case <-time.After(10 * time.Second):
		t.Error("the append did not end the wait")
	}
}

// What cannot be read comes back in its place, and costs its neighbours nothing.
func TestReadPoison(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	mustAppend(t, a, write(t, b))
	good := contact.Encode(write(t, b))
	unknown := append([]byte{99}, good[1:]...)
	bad := [][]any{
		{"t", "1", "e", unknown},
		{"t", "1", "e", good[:20]},
		{"t", "1", "e", "\xff\x00\xfe"},
		{"t", "1", "e", ""},
		{"t", "never", "e", good},
		{"t", "-5", "e", good},
		{"t", fmt.Sprint(int64(math.MaxInt64)), "e", good},
		{"e", good},
		{"x", "y"},
	}
	for _, values := range bad {
		if err := b.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: "{c:000}:log", Values: values}).Err(); err != nil {
			t.Fatalf("xadd: %v", err)
		}
	}
	mustAppend(t, a, write(t, b))
	entries := b.all(t)
	if len(entries) != len(bad)+2 {
		t.Fatalf("%d entries, want %d", len(entries), len(bad)+2)
	}
	for i, e := range entries {
		neighbour := i == 0 || i == len(entries)-1
		if neighbour != (e.Poison == nil) {
			t.Errorf("entry %d: poison = %v", i, e.Poison)
		}
		if !neighbour && (e.ID != contact.Entry{}.ID || e.Offset == contact.Offset{}) {
			t.Errorf("entry %d: a poisoned entry has only its place", i)
		}
	}
	for i := range entries { // each can be trimmed alone
		b.trim(t, entries[i:i+1])
		if n := len(b.all(t)); n != len(entries)-i-1 {
			t.Fatalf("%d entries left, want %d", n, len(entries)-i-1)
		}
	}
}
