package lane_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
)

// machine compares a lane with a model of it. Leases and claims end only when
// the model says so: their time is set anew before each step.
type machine struct {
	t     *testing.T
	b     *bundle
	a     *lane.Appender
	ref   contact.Ref
	limit int

	entries     []uuid.UUID
	born        uuid.UUID // the write that marks ref as born
	keys        map[string]uuid.UUID
	gen, served int64
	owner       string
	claim       string
	// looks found it stalled; looked: an earlier sweep remembers the lane, and
	// which generation was served then.
	looks        int
	looked       bool
	lookedServed int64
	trimmed      int64
}

// TestModel runs random steps of appenders, drains and sweeps against a model.
func TestModel(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *lane.Config) { c.Limit, c.Share = 12, 1 })
	a := b.appender(t, func(c *lane.AppenderConfig) { c.Ring = nil })
	rapid.Check(t, func(rt *rapid.T) {
		b.rdb.FlushDB(t.Context())
		b.sweep(t) // It forgets what it saw of the last run.
		m := &machine{t: t, b: b, a: a, ref: newRef(), limit: 12, keys: map[string]uuid.UUID{}}
		rt.Repeat(map[string]func(*rapid.T){
			"append":     m.append,
			"enter":      m.enter,
			"renew":      m.renew,
			"trim":       m.trim,
			"leave":      m.leave,
			"sweep":      m.sweep,
			"lease ends": func(*rapid.T) { b.rdb.Del(t.Context(), "{c:000}:owner"); m.owner = "" },
			"claim ends": func(*rapid.T) { b.rdb.Del(t.Context(), "{c:000}:claim"); m.claim = "" },
			"process dies": func(*rapid.T) {
				m.b = setupOn(t, b.rdb, func(c *lane.Config) { c.Limit, c.Share = 12, 1 })
				m.looks, m.looked = 0, false
			},
			"": m.check,
		})
	})
}

func (m *machine) append(rt *rapid.T) {
	kind := rapid.SampledFrom([]contact.Kind{contact.KindPatch, contact.KindCreate}).Draw(rt, "kind")
	key := rapid.SampledFrom([]string{"", "", "x", "y"}).Draw(rt, "key")
	w := write(m.t, m.b, to(m.ref), func(w *contact.Write) { w.Kind = kind })
	if key != "" {
		keyed(key, "body")(w)
	}
	r, err := m.a.Append(m.t.Context(), w)
	known, replayed := m.keys[key]
	switch {
	case replayed:
		if err != nil || r.WriteID != known || !r.Replayed {
			rt.Fatalf("append = %+v, %v; want a replay of %s", r, err, known)
		}
	case len(m.entries) >= m.limit:
		if contact.CodeOf(err) != contact.CodeOverloaded {
			rt.Fatalf("append to a full lane = %+v, %v", r, err)
		}
	default:
		if err != nil || r.WriteID != w.ID || r.Replayed {
			rt.Fatalf("append = %+v, %v", r, err)
		}
		m.entries = append(m.entries, w.ID)
		if key != "" {
			m.keys[key] = w.ID
		}
		if kind == contact.KindCreate {
			m.born = w.ID
		}
	}
	if len(m.entries) > 0 && m.owner == "" && m.claim == "" {
		m.claim = "append"
		m.gen++
	}
}

func (m *machine) enter(rt *rapid.T) {
	gen := rapid.Int64Range(max(m.gen-2, 1), m.gen+1).Draw(rt, "gen")
	token := rapid.SampledFrom([]string{"one", "two"}).Draw(rt, "token")
	got, err := m.b.lanes.Enter(m.t.Context(), only, gen, token)
	if err != nil {
		rt.Fatalf("enter: %v", err)
	}
	want := m.owner == token
	if m.owner == "" && gen > m.served {
		want, m.owner, m.claim, m.served = true, token, "", m.gen
	}
	if got != want {
		rt.Fatalf("enter(%d, %s) = %v, want %v", gen, token, got, want)
	}
}

func (m *machine) renew(rt *rapid.T) {
	got, err := m.b.lanes.Renew(m.t.Context(), only, "one")
	if err != nil || got != (m.owner == "one") {
		rt.Fatalf("renew = %v, %v with owner %q", got, err, m.owner)
	}
}

// trim trims a head of the lane, once or twice.
func (m *machine) trim(rt *rapid.T) {
	n := rapid.IntRange(0, len(m.entries)).Draw(rt, "entries")
	head := m.b.all(m.t)[:n]
	for range rapid.IntRange(1, 2).Draw(rt, "times") {
		if err := m.b.lanes.Trim(m.t.Context(), only, head); err != nil {
			rt.Fatalf("trim: %v", err)
		}
	}
	for _, id := range m.entries[:n] {
		if id == m.born {
			m.born = uuid.Nil
		}
	}
	m.entries = m.entries[n:]
	m.trimmed += int64(n)
}

func (m *machine) leave(rt *rapid.T) {
	token := rapid.SampledFrom([]string{"one", "two"}).Draw(rt, "token")
	pause := rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(rt, "pause")
	next, err := m.b.lanes.Leave(m.t.Context(), only, token, pause)
	if err != nil {
		rt.Fatalf("leave: %v", err)
	}
	want := int64(0)
	if m.owner == token {
		m.owner = ""
		switch {
		case pause > 0:
			m.claim = "pause"
		case len(m.entries) > 0:
			m.gen++
			m.claim, want = "leave", m.gen
		}
	}
	if next != want {
		rt.Fatalf("leave = %d, want %d", next, want)
	}
}

func (m *machine) sweep(rt *rapid.T) {
	stalled, err := m.b.lanes.Sweep(m.t.Context())
	if err != nil {
		rt.Fatalf("sweep: %v", err)
	}
	if len(m.entries) == 0 || m.owner != "" {
		m.looks, m.looked = 0, false
	} else {
		again := m.looked && m.lookedServed == m.served
		if !again {
			m.looks = 0
		}
		if again || m.claim == "" || m.claim == "sweep" {
			m.looks++
		}
		m.looked, m.lookedServed = true, m.served
		if m.claim == "" {
			m.claim = "sweep"
			m.gen++
		}
	}
	want := m.looks > 0
	if want != (len(stalled) == 1) || (want && (stalled[0].Generation != m.gen || stalled[0].Looks != m.looks)) {
		rt.Fatalf("stalled = %+v, want %v with generation %d and %d looks", stalled, want, m.gen, m.looks)
	}
}

// check compares everything, and sets the times anew.
func (m *machine) check(rt *rapid.T) {
	ctx := m.t.Context()
	m.b.rdb.PExpire(ctx, "{c:000}:owner", lane.OwnerTTL)
	m.b.rdb.PExpire(ctx, "{c:000}:claim", lane.ClaimTTL)
	s := m.b.stat(m.t)
	want := lane.Stat{
		Lane: only, Depth: int64(len(m.entries)), Oldest: s.Oldest, Owner: m.owner,
		Generation: m.gen, Served: m.served, Trimmed: m.trimmed,
	}
	if s != want {
		rt.Fatalf("stat = %+v, want %+v", s, want)
	}
	got := make([]uuid.UUID, 0, len(m.entries))
	for _, e := range m.b.all(m.t) {
		got = append(got, e.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(m.entries) {
		rt.Fatalf("entries %v, want %v", got, m.entries)
	}
	if claim := m.b.rdb.Get(ctx, "{c:000}:claim").Val(); claim != m.claim {
		rt.Fatalf("claim = %q, want %q", claim, m.claim)
	}
	held, _ := m.b.rdb.HGet(ctx, "{c:000}:n", string(m.ref.Account[:])).Int()
	if held != len(m.entries) {
		rt.Fatalf("account holds %d, want %d", held, len(m.entries))
	}
	if born, err := m.b.lanes.Born(ctx, m.ref); err != nil || born != (m.born != uuid.Nil) {
		rt.Fatalf("born = %v, %v; want %v", born, err, m.born != uuid.Nil)
	}
}
