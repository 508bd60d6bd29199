package lane_test

import (
	"math"
	"testing"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
	"patchlane/tasks/lane/lanetest"
)

// Every script finds all its keys on one node, and calls go to the node that
// holds the lane.
func TestCluster(t *testing.T) {
	t.Parallel()
	counts := contact.LaneCounts{Contact: 16, Address: 4}
	b := setupOn(t, lanetest.Cluster(t), func(c *lane.Config) { c.Counts = counts })
	if err := lane.CheckClient(b.rdb); err != nil {
		t.Fatalf("tuned cluster client refused: %v", err)
	}
	a := b.appender(t)
	writes := make([]*contact.Write, 300)
	for i := range writes {
		writes[i] = write(t, b, keyed("k", "body"), func(w *contact.Write) { w.Kind = contact.KindCreate })
	}
	receipts, errs := a.AppendAll(t.Context(), writes)
	for i, w := range writes {
		if errs[i] != nil || receipts[i].WriteID != w.ID {
			t.Fatalf("append %d: %+v, %v", i, receipts[i], errs[i])
		}
	}
	if r := mustAppend(t, a, write(t, b, to(writes[0].Ref()), keyed("k", "body"))); !r.Replayed {
		t.Error("the idempotency key was not found")
	}
	w := writes[7]
	if _, found, err := b.lanes.Find(t.Context(), w.Account, w.ID); !found || err != nil {
		t.Errorf("find = %v, %v", found, err)
	}
	if born, err := b.lanes.Born(t.Context(), w.Ref()); !born || err != nil {
		t.Errorf("born = %v, %v", born, err)
	}
	b.sweep(t)
	offsets := map[contact.Lane]contact.Offset{}
	for _, l := range b.lanes.All() {
		offsets[l] = contact.Offset{Ms: math.MaxInt64}
		if l.Kind == 'c' {
			drain(t, b, l)
		}
	}
	stats, err := b.lanes.Stats(t.Context())
	if err != nil || len(stats) != counts.Contact+counts.Address {
		t.Fatalf("stats: %d lanes, %v", len(stats), err)
	}
	trimmed := int64(0)
	for _, s := range stats {
		trimmed += s.Trimmed
	}
	if trimmed != int64(len(writes)) {
		t.Errorf("trimmed %d, want %d", trimmed, len(writes))
	}
	raised, err := b.lanes.Raise(t.Context(), offsets)
	if err != nil || len(raised) != len(offsets) {
		t.Errorf("raised %d lanes, %v", len(raised), err)
	}
	if d, err := lane.CheckDurability(t.Context(), b.rdb); err != nil || d.Durable || len(d.Problems) == 0 {
		t.Errorf("durability = %+v, %v", d, err)
	}
}

// drain empties a lane as a worker does.
func drain(t *testing.T, b *bundle, l contact.Lane) {
	t.Helper()
	if ok, err := b.lanes.Enter(t.Context(), l, 1, "me"); !ok || err != nil {
		t.Fatalf("enter %s = %v, %v", l, ok, err)
	}
	entries, err := b.lanes.Read(t.Context(), l, 1000, 0)
	if err != nil {
		t.Fatalf("read %s: %v", l, err)
	}
	if err := b.lanes.Trim(t.Context(), l, entries); err != nil {
		t.Fatalf("trim %s: %v", l, err)
	}
	if next, err := b.lanes.Leave(t.Context(), l, "me", 0); next != 0 || err != nil {
		t.Errorf("leave %s = %d, %v", l, next, err)
	}
}
