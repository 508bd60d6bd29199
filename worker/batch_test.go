package worker

import (
	"testing"

	"patchlane/tasks/contact"
)

func TestSizerCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		most, bytes int
		suspects    int
		sizes       []int
		want        int
	}{
		{"all of few", 500, 1000, 0, []int{10, 10, 10}, 3},
		{"by count", 2, 1000, 0, []int{10, 10, 10}, 2},
		{"by bytes", 500, 25, 0, []int{10, 10, 10}, 2},
		{"bytes exactly", 500, 30, 0, []int{10, 10, 10}, 3},
		{"one too large", 500, 5, 0, []int{10, 10}, 1},
		{"large after small", 500, 15, 0, []int{10, 10}, 1},
		{"half of the suspects", 500, 1000, 3, []int{1, 1, 1}, 1},
		{"half of many suspects", 500, 1000, 4, []int{1, 1, 1, 1, 1}, 2},
		{"the last suspect", 500, 1000, 1, []int{1, 1, 1}, 1},
		{"a batch of one at most", 1, 1000, 0, []int{1, 1}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSizer(c.most, c.bytes)
			s.suspects = c.suspects
			entries := make([]contact.Entry, len(c.sizes))
			for i, n := range c.sizes {
				entries[i].Raw = make([]byte, n)
			}
			if got := len(s.cut(entries)); got != c.want {
				t.Errorf("cut %d entries, want %d", got, c.want)
			}
		})
	}
}

func TestSizerFollowsTheBacklog(t *testing.T) {
	t.Parallel()
	s := newSizer(500, 1<<20)
	for _, want := range []int{16, 32, 64, 128, 256, 500, 500} {
		if s.want() != want {
			t.Fatalf("reads %d of a backlog, want %d", s.want(), want)
		}
		s.read(s.want(), want)
	}
	for _, want := range []int{500, 250, 125, 62, 31, 16, 16} {
		if s.want() != want {
			t.Fatalf("reads %d of a lane that is nearly empty, want %d", s.want(), want)
		}
		s.read(s.want(), 3)
	}
	if s := newSizer(5, 1<<20); s.want() != 5 {
		t.Errorf("reads %d, above the batch size of 5", s.want())
	}
}

func TestSizerWindowFollowsCuts(t *testing.T) {
	t.Parallel()
	s := newSizer(500, 1<<20)
	s.consumed(1, 500)
	if s.window != 2 {
		t.Errorf("window %d after a batch cut at its first entry, want 2", s.window)
	}
	for _, want := range []int{4, 8, 16} {
		s.consumed(s.window, s.window)
		if s.window != want {
			t.Errorf("window %d, want %d", s.window, want)
		}
	}
	s.consumed(400, 500)
	if s.window != 500 {
		t.Errorf("window %d, above or below the batch size of 500", s.window)
	}
	s.consumed(3, 3)
	if s.window != 500 {
		t.Errorf("window %d after a small batch that was taken whole, want 500", s.window)
	}
}
