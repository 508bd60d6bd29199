package faults

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestWithoutFence is the test of the test: with the lane's lock, the ledger's
// look-up and the offset's compare switched off, workers that die between the
// commit and the trim must break the rules.
func TestWithoutFence(t *testing.T) {
	t.Parallel()
	set := environment(t)
	t.Logf("PATCHLANE_SEED=%d", set.seed)
	s := newStack(t, "faults nofence")
	api := s.start("api").ready()
	p := s.start("worker").ready()
	tr := s.begin(t, []*process{api}, load{contacts: 10, clients: 4, pace: 2 * time.Millisecond}, set.seed)
	for range 3 {
		p.kill()
		p.restart("drain.applied=0.3")
		if err := p.died(20 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	p.restart("")
	h := tr.end()
	s.settled(60 * time.Second)
	v := s.check(t, h)
	t.Logf("without the fence: lost %d, doubled %d, disordered %d, version gaps %d, broken old values %d (%s)",
		v.lost, v.doubled, v.disordered, v.gaps, v.broken, v.first)
	if v.doubled == 0 {
		t.Error("the checker saw nothing doubled with a store that applies entries twice")
	}
}

// TestTwoAtOnce holds rule 9 against what processes might have witnessed. In a
// real run without the fence the contacts' row locks still part two drains.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, witnessed string
		together        int
	}{
		{"one after the other", "c001 10 20\nc001 20 30\nc001 5 9\n", 0},
		{"two lanes", "c001 10 20\nc002 15 25\n", 0},
		{"one begins in another", "c001 10 20\nc001 19 30\n", 1},
		{"one within another", "c001 10 90\nc001 20 30\nc001 40 50\n", 2},
		{"a line that a death cut short", "c001 10 20\nc001 1", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "witness")
			if err := os.WriteFile(file, []byte(c.witnessed), 0o600); err != nil {
				t.Fatal(err)
			}
			_, together, _, err := overlaps(file)
			if err != nil || together != c.together {
				t.Errorf("%d at once, error %v", together, err)
			}
		})
	}
}
