package lane_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
	"patchlane/tasks/lane/lanetest"
)

func (b *bundle) sweep(tb testing.TB) []lane.Stalled {
	tb.Helper()
	stalled, err := b.lanes.Sweep(tb.Context())
	if err != nil {
		tb.Fatalf("sweep: %v", err)
	}
	return stalled
}

// A ring that was lost is found once the claim is over, and counted until
// somebody works on the lane.
func TestSweepLostRing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.bell = &bell{}
	a := lane.NewAppender(b.lanes, lane.AppenderConfig{}) // nobody rings
	t.Cleanup(func() { _ = a.Close(t.Context()) })
	if s := b.sweep(t); len(s) != 0 {
		t.Fatalf("empty lane is stalled: %+v", s)
	}
	mustAppend(t, a, write(t, b))
	if s := b.sweep(t); len(s) != 0 {
		t.Fatalf("stalled while the claim of the append lives: %+v", s)
	}
	b.rdb.Del(t.Context(), "{c:000}:claim")
	for look := 1; look <= 3; look++ {
		s := b.sweep(t)
		if len(s) != 1 || s[0].Lane != only || s[0].Looks != look || s[0].Generation != 2 {
			t.Fatalf("look %d: %+v, want generation 2", look, s)
		}
	}
	b.rdb.Del(t.Context(), "{c:000}:claim")
	if s := b.sweep(t); len(s) != 1 || s[0].Generation != 3 || s[0].Looks != 4 {
		t.Fatalf("after the sweep's claim: %+v, want generation 3", s)
	}
	if !b.enter(t, 3, "sweeper") {
		t.Fatal("the sweeper cannot enter")
	}
	if s := b.sweep(t); len(s) != 0 {
		t.Fatalf("stalled while owned: %+v", s)
	}
	b.leave(t, "sweeper", time.Second)
	if s := b.sweep(t); len(s) != 0 {
		t.Fatalf("stalled in a pause: %+v", s)
	}
	b.rdb.Del(t.Context(), "{c:000}:claim")
	if s := b.sweep(t); len(s) != 1 || s[0].Looks != 1 {
		t.Fatalf("looks do not begin anew: %+v", s)
	}
}

// A lane whose appends claim it again and again, and whose rings nobody hears, is
// found all the same: asynq is broken, and the traffic goes on.
func TestSweepFindsALaneThatTrafficClaims(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := lane.NewAppender(b.lanes, lane.AppenderConfig{}) // nobody rings
	t.Cleanup(func() { _ = a.Close(t.Context()) })
	for look := range 4 {
		b.rdb.Del(t.Context(), "{c:000}:claim") // it was over
		mustAppend(t, a, write(t, b))
		s := b.sweep(t)
		if look == 0 && len(s) != 0 {
			t.Fatalf("stalled while the first claim lives: %+v", s)
		}
		if look > 0 && (len(s) != 1 || s[0].Looks != look || s[0].Generation != int64(look+1)) {
			t.Fatalf("look %d: %+v", look, s)
		}
	}
	if !b.enter(t, 4, "sweeper") {
		t.Fatal("the sweeper cannot enter")
	}
	b.leave(t, "sweeper", 0)
	// Served meanwhile: the claim that the leaving drain made is one to wait for.
	if s := b.sweep(t); len(s) != 0 {
		t.Fatalf("looks do not begin anew: %+v", s)
	}
}

// A lease or claim that would never end is deleted.
func TestSweepCures(t *testing.T) {
	t.Parallel()
	for name, ttl := range map[string]time.Duration{"no end": 0, "far end": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			mustAppend(t, b.appender(t), write(t, b))
			b.rdb.Set(t.Context(), "{c:000}:owner", "ghost", ttl)
			b.rdb.Set(t.Context(), "{c:000}:claim", "append", ttl)
			if s := b.sweep(t); len(s) != 1 || s[0].Looks != 1 {
				t.Errorf("stalled = %+v, want the lane", s)
			}
			if owner := b.stat(t).Owner; owner != "" {
				t.Errorf("owner = %q", owner)
			}
		})
	}
}

func TestSweepRedisAway(t *testing.T) {
	t.Parallel()
	s := lanetest.Start(t, false)
	b := setupOn(t, s.Client(t))
	s.Kill()
	if _, err := b.lanes.Sweep(t.Context()); err == nil {
		t.Error("no error")
	}
	if _, err := b.lanes.Stats(t.Context()); err == nil {
		t.Error("no error")
	}
	if _, err := b.lanes.Raise(t.Context(), map[contact.Lane]contact.Offset{only: {Ms: 1}}); err == nil {
		t.Error("no error")
	}
}

func TestRaise(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *lane.Config) { c.Counts = contact.LaneCounts{Contact: 4, Address: 2} })
	address := contact.Lane{Kind: 'a', N: 1}
	far := contact.Offset{Ms: uint64(time.Now().Add(time.Hour).UnixMilli()), Seq: math.MaxUint64 - 9}
	raise := func(offsets map[contact.Lane]contact.Offset) []contact.Lane {
		t.Helper()
		raised, err := b.lanes.Raise(t.Context(), offsets)
		if err != nil {
			t.Fatalf("raise: %v", err)
		}
		return raised
	}
	none := map[contact.Lane]contact.Offset{only: {}}
	if got := raise(none); len(got) != 0 {
		t.Errorf("raised %v to no offset", got)
	}
	both := map[contact.Lane]contact.Offset{address: {Ms: 7, Seq: 3}, only: far}
	if got := raise(both); len(got) != 2 || got[0] != address || got[1] != only {
		t.Errorf("raised %v, want both", got)
	}
	if got := raise(both); len(got) != 0 {
		t.Errorf("raised again: %v", got)
	}
	lower := map[contact.Lane]contact.Offset{only: {Ms: far.Ms, Seq: far.Seq - 1}, address: {Ms: 6, Seq: 9}}
	if got := raise(lower); len(got) != 0 {
		t.Errorf("lowered: %v", got)
	}
	if n := b.stat(t).Depth; n != 0 {
		t.Errorf("depth %d after raising", n)
	}
	// New entries come after the offset, and time of acceptance is not raised.
	w := write(t, b)
	for b.lanes.Lane(w.Contact) != only {
		w = write(t, b)
	}
	r := mustAppend(t, b.appender(t), w)
	entries := b.all(t)
	if len(entries) != 1 || entries[0].Compare(far) <= 0 {
		t.Errorf("entries %v do not come after %v", entries, far)
	}
	if time.Until(r.AcceptedAt) > time.Second {
		t.Errorf("accepted at %v", r.AcceptedAt)
	}
	if _, found, err := b.lanes.Find(t.Context(), w.Account, w.ID); !found || err != nil {
		t.Errorf("found = %v, %v in a raised lane", found, err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.appender(t)
	writes := make([]*contact.Write, 1200) // more than two chunks
	for i := range writes {
		writes[i] = write(t, b)
	}
	errs := make(chan error, len(writes))
	for _, w := range writes {
		go func() { _, err := a.Append(t.Context(), w); errs <- err }()
	}
	for range writes {
		if err := <-errs; err != nil {
			t.Fatalf("append: %v", err)
		}
	}
	for _, i := range []int{0, 600, 1199} {
		e, found, err := b.lanes.Find(t.Context(), writes[i].Account, writes[i].ID)
		if err != nil || !found || e.Contact != writes[i].Contact || e.AcceptedAt.IsZero() {
			t.Errorf("find %d = %+v, %v, %v", i, e.Offset, found, err)
		}
	}
	miss := func(what string, account, id uuid.UUID) {
		t.Helper()
		if _, found, err := b.lanes.Find(t.Context(), account, id); found || err != nil {
			t.Errorf("%s: found = %v, %v", what, found, err)
		}
	}
	miss("another account", uuid.New(), writes[5].ID)
	miss("another write", writes[5].Account, write(t, b).ID)
	miss("no id of ours", writes[5].Account, uuid.New())
	foreign, err := contact.NewWriteID(time.Now(), contact.Lane{Kind: 'c', N: 900})
	if err != nil {
		t.Fatal(err)
	}
	miss("no lane of ours", writes[5].Account, foreign)
}

// The API's clock ran an hour ahead of Redis' when it minted the id.
func TestFindClockAhead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := write(t, b)
	id, err := contact.NewWriteID(time.Now().Add(time.Hour), only)
	if err != nil {
		t.Fatal(err)
	}
	w.ID = id
	mustAppend(t, b.appender(t), w)
	if _, found, err := b.lanes.Find(t.Context(), w.Account, w.ID); !found || err != nil {
		t.Errorf("found = %v, %v", found, err)
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	b := setup(t, func(c *lane.Config) { c.Registerer = reg })
	// Two instances in one process, each with its registry.
	setupOn(t, b.rdb, func(c *lane.Config) { c.Registerer = prometheus.NewRegistry() })
	a := b.appender(t)
	mustAppend(t, a, write(t, b))
	mustAppend(t, a, write(t, b))
	b.enter(t, 1, "me")
	s := b.stat(t)
	if s.Depth != 2 || s.Owner != "me" || s.Generation != 1 || s.Served != 1 || s.Oldest <= 0 || s.Oldest > time.Minute {
		t.Errorf("stat = %+v", s)
	}
	got := gather(t, reg)
	for name, want := range map[string]float64{
		"patchlane_lanes_up":           1,
		"patchlane_lane_depth":         2,
		"patchlane_lane_owned":         1,
		"patchlane_lane_appends_total": 2,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
	if got["patchlane_lane_oldest_seconds"] <= 0 {
		t.Error("no age of the oldest entry")
	}
}

// gather sums the gauges and counters of each name.
func gather(tb testing.TB, reg *prometheus.Registry) map[string]float64 {
	tb.Helper()
	families, err := reg.Gather()
	if err != nil {
		tb.Fatalf("gather: %v", err)
	}
	sums := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			sums[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return sums
}

func TestCheckDurability(t *testing.T) {
	t.Parallel()
	check := func(rdb redis.UniversalClient) lane.Durability {
		t.Helper()
		d, err := lane.CheckDurability(t.Context(), rdb)
		if err != nil {
			t.Fatalf("check: %v", err)
		}
		return d
	}
	rdb := lanetest.Start(t, true).Client(t)
	if d := check(rdb); !d.Durable || d.Unknown || len(d.Problems) != 0 {
		t.Errorf("a durable server: %+v", d)
	}
	for setting, value := range map[string]string{
		"appendfsync":               "everysec",
		"no-appendfsync-on-rewrite": "yes",
		"maxmemory-policy":          "allkeys-lru",
		"appendonly":                "no",
	} {
		before := rdb.ConfigGet(t.Context(), setting).Val()[setting]
		rdb.ConfigSet(t.Context(), setting, value)
		d := check(rdb)
		if d.Durable || d.Unknown || len(d.Problems) != 1 || !strings.Contains(d.Problems[0], setting) {
			t.Errorf("%s %s: %+v", setting, value, d)
		}
		rdb.ConfigSet(t.Context(), setting, before)
	}
	// A managed Redis: CONFIG is not for us.
	rdb.Do(t.Context(), "ACL", "SETUSER", "app", "on", "nopass", "~*", "&*", "+@all", "-config")
	app := redis.NewClient(&redis.Options{Addr: rdb.Options().Addr, Username: "app", Password: "x", MaxRetries: -1})
	t.Cleanup(func() { _ = app.Close() })
	if d := check(app); d.Durable || !d.Unknown {
		t.Errorf("without CONFIG: %+v", d)
	}
	rdb.ConfigSet(t.Context(), "appendonly", "no")
	if d := check(app); d.Durable || d.Unknown {
		t.Errorf("without CONFIG and without a file: %+v", d)
	}
	mini := lanetest.Dial(t, miniredis.RunT(t).Addr())
	if d := check(mini); d.Durable || !d.Unknown {
		t.Errorf("a stand-in: %+v", d)
	}
	rdb.ShutdownNoSave(t.Context())
	if _, err := lane.CheckDurability(t.Context(), rdb); err == nil {
		t.Error("a server that is away was judged")
	}
}

// The stand-in runs every script, so that a demo works without redis-server.
func TestStandIn(t *testing.T) {
	t.Parallel()
	b := setupOn(t, lanetest.Dial(t, miniredis.RunT(t).Addr()))
	a := b.appender(t)
	w := write(t, b, keyed("k", "body"))
	mustAppend(t, a, w)
	mustAppend(t, a, w)
	mustAppend(t, a, write(t, b))
	if _, found, err := b.lanes.Find(t.Context(), w.Account, w.ID); !found || err != nil {
		t.Errorf("found = %v, %v", found, err)
	}
	b.sweep(t)
	if !b.enter(t, 1, "me") {
		t.Fatal("not entered")
	}
	if ok, err := b.lanes.Renew(t.Context(), only, "me"); !ok || err != nil {
		t.Errorf("renew = %v, %v", ok, err)
	}
	b.trim(t, b.all(t)[:1])
	if s := b.stat(t); s.Depth != 1 {
		t.Errorf("stat = %+v", s)
	}
	if next := b.leave(t, "me", 0); next != 2 {
		t.Errorf("next = %d", next)
	}
	raised, err := b.lanes.Raise(t.Context(), map[contact.Lane]contact.Offset{only: {Ms: math.MaxInt64}})
	if err != nil || len(raised) != 1 {
		t.Errorf("raised %v, %v", raised, err)
	}
}
