package faults

import (
	"testing"
	"time"
)

// TestCrash kills a process at each place of the crash table in worker/doc.go
// and of the accept path, once, while clients write; an ordinary process then
// takes over. Nothing may be lost, doubled or out of order, and the lanes must
// move on within the time that the design promises.
func TestCrash(t *testing.T) {
	t.Parallel()
	s := newStack(t, "faults")
	for _, c := range []struct { //nolint:paralleltest // One place after the other: they share a stack.
		role, place string
		// recovers is the longest time until the lanes move on.
		recovers time.Duration
	}{
		{"api", "accept.appended", 3 * time.Second},
		{"worker", "drain.entered", 7 * time.Second},
		{"worker", "drain.read", 7 * time.Second},
		{"worker", "apply.locked", 7 * time.Second},
		{"worker", "apply.folded", 7 * time.Second},
		{"worker", "apply.before_commit", 7 * time.Second},
		{"worker", "apply.after_commit", 7 * time.Second},
		{"worker", "drain.applied", 7 * time.Second},
		{"worker", "drain.published", 7 * time.Second},
		{"worker", "drain.trimmed", 7 * time.Second},
		{"worker", "drain.left", 7 * time.Second},
	} {
		t.Run(c.place, func(t *testing.T) {
			t.Logf("lanes moved on after %s", s.crash(t, c.role, c.place, c.recovers))
		})
	}
}

// crash starts an API and a worker, one of them with a certain death at a
// place, writes, replaces the dead, and checks. It returns the time from the
// death to the moment at which nothing was queued any more.
func (s *stack) crash(t *testing.T, role, place string, recovers time.Duration) time.Duration {
	t.Helper()
	outer := s.t
	s.t = t
	defer func() { s.t = outer }()
	api, worker := s.start("api", ""), s.start("worker", "")
	api.ready()
	worker.ready()
	contacts := s.createContacts(t, api.url, 8)
	victim, urls := worker, []string{api.url}
	if role == "api" {
		victim = s.start("api", place+"=1")
		victim.ready()
		urls = append(urls, victim.url)
	} else {
		victim.kill()
		victim.restart(place + "=1")
	}
	done := make(chan *history)
	go func() {
		done <- s.write(t.Context(), t, urls, contacts, load{contacts: len(contacts), clients: 4, writes: 40, waited: 0.1})
	}()
	if err := victim.died(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	died := time.Now()
	victim.restart("")
	h := <-done
	victim.ready()
	s.settled(30 * time.Second)
	took := time.Since(died)
	if v := s.check(t.Context(), urls[0], h); v.wrong() {
		t.Errorf("killed at %s: %+v", place, v)
	}
	// The clients' own writing and the start of a process are in the figure.
	if limit := recovers + 3*time.Second; took > limit {
		t.Errorf("killed at %s: the lanes stood still for %s, at most %s is promised", place, took, limit)
	}
	return took
}
