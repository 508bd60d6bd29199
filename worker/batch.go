package worker

import "patchlane/tasks/contact"

// leastRead is what a drain reads first: a lane that holds little answers its
// waiters early, and one that holds a lot is at full size after five reads.
const leastRead = 16

// sizer decides how many entries are read and how many of them make a batch.
// It is pure: entries go in, numbers come out.
type sizer struct {
	most, bytes int
	// next is how many entries to read.
	next int
	// window is how many entries to give to one transaction at most. It follows
	// what transactions took: where they cut a batch early, entry by entry of a
	// contact that is archived and restored, giving more is work for nothing.
	window int
	// suspects is how many entries from the head of the lane hold a refused
	// one, as far as is known; 0: none was refused.
	suspects int
}

func newSizer(most, bytes int) sizer {
	return sizer{most: most, bytes: bytes, next: min(leastRead, most), window: most}
}

// want is how many entries to read.
func (s *sizer) want() int { return s.next }

// read learns from a read: as many entries as were asked for say that more
// wait, fewer than half that there is no backlog.
func (s *sizer) read(asked, got int) {
	switch {
	case got >= asked:
		s.next = min(2*asked, s.most)
	case got < asked/2:
		s.next = max(asked/2, min(leastRead, s.most))
	}
}

// cut returns the head of the entries that makes the next batch: at least one
// entry, at most what count and bytes allow, and while a refused entry is
// looked for, half of those that hold it.
func (s *sizer) cut(entries []contact.Entry) []contact.Entry {
	limit := min(len(entries), s.window)
	if s.suspects > 0 {
		limit = min(limit, max(1, s.suspects/2))
	}
	size := 0
	for i := range limit {
		size += len(entries[i].Raw)
		if i > 0 && size > s.bytes {
			return entries[:i]
		}
	}
	return entries[:limit]
}

// refused learns that a batch of n entries holds one that is refused. The
// batches that follow are prefixes of it, in the order of the lane, so no
// entry overtakes another while the bad one is looked for.
func (s *sizer) refused(n int) { s.suspects = n }

// consumed learns that of a batch the first n entries are behind the offset.
func (s *sizer) consumed(n, batch int) {
	s.suspects = max(0, s.suspects-n)
	if n < batch {
		s.window = min(2*n, s.most)
	} else {
		s.window = min(max(s.window, 2*n), s.most)
	}
}

// found learns that the refused entry was found.
func (s *sizer) found() { s.suspects = 0 }
