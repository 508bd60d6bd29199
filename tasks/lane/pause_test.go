package lane_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
)

// pauser is two accounts on one lane, paused and resumed at any moment, with
// readers that die between their read and their trim.
type pauser struct {
	t        *testing.T
	b        *bundle
	a        *lane.Appender
	accounts []uuid.UUID
	paused   map[uuid.UUID]bool // uuid.Nil: the lane
	// sent and applied are the writes of each account, in order.
	sent, applied map[uuid.UUID][]uuid.UUID
	known         map[uuid.UUID]bool
}

// TestPauseKeepsEveryOrder plays any sequence of appends, pauses and drains: at
// the end each account's writes were applied once, in their order, and none of an
// account was read while it was paused.
func TestPauseKeepsEveryOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	rapid.Check(t, func(rt *rapid.T) {
		b.rdb.FlushDB(t.Context())
		p := &pauser{
			t: t, b: b, a: a, accounts: []uuid.UUID{uuid.New(), uuid.New()}, paused: map[uuid.UUID]bool{},
			sent: map[uuid.UUID][]uuid.UUID{}, applied: map[uuid.UUID][]uuid.UUID{}, known: map[uuid.UUID]bool{},
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": p.append, "more": p.append, "pause": p.pause, "resume": p.resume, "drain": p.drain,
			"": p.check,
		})
		for _, account := range append(p.accounts, uuid.Nil) {
			if err := b.lanes.Resume(t.Context(), contact.Pause{Account: account}); err != nil {
				rt.Fatal(err)
			}
			p.paused[account] = false
		}
		for range 1000 {
			if s := b.stat(t); s.Depth+s.Aside == 0 {
				break
			}
			p.drain(rt)
		}
		for _, account := range p.accounts {
			if !slices.Equal(p.applied[account], p.sent[account]) {
				rt.Errorf("applied %v, sent %v", p.applied[account], p.sent[account])
			}
		}
		if n := b.rdb.HLen(t.Context(), "{c:000}:n").Val(); n != 0 {
			rt.Errorf("%d accounts are counted in an empty lane", n)
		}
	})
}

func (p *pauser) append(rt *rapid.T) {
	account := rapid.SampledFrom(p.accounts).Draw(rt, "account")
	w := write(p.t, p.b, func(w *contact.Write) { w.Account, w.Contact = account, account })
	if _, err := p.a.Append(p.t.Context(), w); err != nil {
		rt.Fatal(err)
	}
	p.sent[account] = append(p.sent[account], w.ID)
}

func (p *pauser) scope(rt *rapid.T) uuid.UUID {
	return rapid.SampledFrom(append([]uuid.UUID{uuid.Nil}, p.accounts...)).Draw(rt, "scope")
}

func (p *pauser) pause(rt *rapid.T) {
	scope := p.scope(rt)
	if err := p.b.lanes.Pause(p.t.Context(), contact.Pause{Account: scope}); err != nil {
		rt.Fatal(err)
	}
	p.paused[scope] = true
}

func (p *pauser) resume(rt *rapid.T) {
	scope := p.scope(rt)
	if err := p.b.lanes.Resume(p.t.Context(), contact.Pause{Account: scope}); err != nil {
		rt.Fatal(err)
	}
	p.paused[scope] = false
}

// drain reads, applies what the ledger does not know, and trims, or dies before.
func (p *pauser) drain(rt *rapid.T) {
	entries, err := p.b.lanes.Read(p.t.Context(), only, rapid.IntRange(1, 5).Draw(rt, "most"), 0)
	if err != nil {
		rt.Fatal(err)
	}
	for _, e := range entries {
		if p.paused[uuid.Nil] || p.paused[e.Account] {
			rt.Fatalf("read %s of a paused account", e.ID)
		}
		if !p.known[e.ID] {
			p.known[e.ID] = true
			p.applied[e.Account] = append(p.applied[e.Account], e.ID)
		}
	}
	if rapid.IntRange(0, 3).Draw(rt, "dies") > 0 {
		p.b.trim(p.t, entries)
	}
}

// check finds every write that is not applied, wherever it stands.
func (p *pauser) check(rt *rapid.T) {
	for _, account := range p.accounts {
		for i, id := range p.sent[account] {
			if i < len(p.applied[account]) && p.applied[account][i] != id {
				rt.Fatalf("place %d of %s: applied %s, sent %s", i, account, p.applied[account][i], id)
			}
		}
		for _, id := range p.sent[account][min(len(p.applied[account]), len(p.sent[account])):] {
			if _, found, err := p.b.lanes.Find(p.t.Context(), account, id); err != nil || !found {
				rt.Fatalf("write %s is not found: %v", id, err)
			}
			if e, found, err := p.b.lanes.FindAny(p.t.Context(), id); err != nil || !found || e.Account != account {
				rt.Fatalf("write %s is not found by its id alone: %v", id, err)
			}
		}
	}
}

func TestPausedLaneIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *lane.Config) { c.Counts.Address = 1 })
	ctx := t.Context()
	a := b.appender(t)
	if err := b.lanes.Pause(ctx, contact.Pause{By: "Ada", Reason: "repair"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(ctx, write(t, b)); err != nil {
		t.Fatalf("a paused lane does not take writes: %v", err)
	}
	if b.enter(t, 100, "drain") || len(b.all(t)) > 0 {
		t.Error("a drain got into a paused lane")
	}
	b.rdb.Del(ctx, "{c:000}:claim")
	if stalled, err := b.lanes.Sweep(ctx); err != nil || len(stalled) > 0 {
		t.Errorf("a paused lane counts as stalled: %v, %v", stalled, err)
	}
	if ok, err := b.lanes.Enter(ctx, contact.Lane{Kind: 'a'}, 1, "optouts"); err != nil || !ok {
		t.Errorf("the address lane rests too: %v", err)
	}
	pauses, err := b.lanes.Pauses(ctx)
	if err != nil || len(pauses) != 1 || pauses[0].By != "Ada" || pauses[0].Reason != "repair" || pauses[0].At.IsZero() {
		t.Errorf("pauses %+v, %v", pauses, err)
	}
	if s := b.stat(t); !s.Paused || s.Depth != 1 {
		t.Errorf("stat %+v", s)
	}
	if err := b.lanes.Resume(ctx, contact.Pause{}); err != nil {
		t.Fatal(err)
	}
	if stalled, err := b.lanes.Sweep(ctx); err != nil || len(stalled) != 1 {
		t.Errorf("a resumed lane is not rung for: %v, %v", stalled, err)
	}
	if pauses, err := b.lanes.Pauses(ctx); err != nil || len(pauses) > 0 {
		t.Errorf("pauses %+v, %v", pauses, err)
	}
	if err := b.lanes.Pause(ctx, contact.Pause{Optouts: true}); err != nil {
		t.Fatal(err)
	}
	if !b.enter(t, 200, "drain") {
		t.Error("a pause of opt-outs holds writes")
	}
}

func TestPausedAccountLetsOthersPass(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	a := b.appender(t)
	paused := write(t, b)
	if err := b.lanes.Pause(ctx, contact.Pause{Account: paused.Account}); err != nil {
		t.Fatal(err)
	}
	other := write(t, b)
	for _, w := range []*contact.Write{paused, other} {
		if _, err := a.Append(ctx, w); err != nil {
			t.Fatal(err)
		}
	}
	entries := b.all(t)
	if len(entries) != 1 || entries[0].ID != other.ID {
		t.Fatalf("read %+v", entries)
	}
	b.trim(t, entries)
	if s := b.stat(t); s.Depth != 0 || s.Aside != 1 {
		t.Errorf("stat %+v", s)
	}
	// Nothing but the resumed account's entries aside is left: they are work.
	b.rdb.Del(ctx, "{c:000}:claim", "{c:000}:owner")
	if stalled, err := b.lanes.Sweep(ctx); err != nil || len(stalled) > 0 {
		t.Errorf("stalled %v, %v", stalled, err)
	}
	if err := b.lanes.Resume(ctx, contact.Pause{Account: paused.Account}); err != nil {
		t.Fatal(err)
	}
	if stalled, err := b.lanes.Sweep(ctx); err != nil || len(stalled) != 1 {
		t.Errorf("stalled %v, %v", stalled, err)
	}
	entries = b.all(t)
	if len(entries) != 1 || entries[0].ID != paused.ID || !entries[0].Aside || entries[0].AcceptedAt.IsZero() {
		t.Fatalf("read %+v", entries)
	}
	b.trim(t, entries)
	b.trim(t, entries)
	if s := b.stat(t); s.Aside != 0 || s.Trimmed != 2 {
		t.Errorf("stat %+v", s)
	}
}
