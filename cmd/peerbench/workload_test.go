package main

import (
	"testing"
)

// TestWorkloadIsShared holds that the producers together hand over every write
// once, each contact's by one of them and in order.
func TestWorkloadIsShared(t *testing.T) {
	t.Parallel()
	w := workload{Writes: 5_000, Contacts: 2_003}
	seen := make(map[int]bool)
	owner := make(map[string]int)
	for p := range producers {
		last := -1
		for u := range w.share(p, producers) {
			if seen[u.N] || u.N <= last {
				t.Fatalf("write %d comes twice or late", u.N)
			}
			seen[u.N], last = true, u.N
			if other, there := owner[u.Contact.String()]; there && other != p && w.Writes/2 <= w.Contacts {
				t.Fatalf("contact of write %d belongs to producers %d and %d", u.N, other, p)
			}
			owner[u.Contact.String()] = p
		}
	}
	if len(seen) != w.Writes {
		t.Errorf("%d of %d writes were handed over", len(seen), w.Writes)
	}
}

// TestTableSaysWhatWentWrong holds that a way cannot hide a lost or disordered
// write behind its speed, and that the median is the middle.
func TestTableSaysWhatWentWrong(t *testing.T) {
	t.Parallel()
	l := &line{way: way{name: "x"}}
	l.add(10, verdict{})
	l.add(30, verdict{Disordered: 2})
	l.add(20, verdict{Missing: 1})
	if got, want := l.verdict(), "1 lost, 2 out of order"; got != want {
		t.Errorf("verdict is %q, want %q", got, want)
	}
	if l.median() != 20 {
		t.Errorf("median is %v, want 20", l.median())
	}
}
