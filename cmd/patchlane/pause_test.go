package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"patchlane/tasks/contact"
)

// A pause stops drains and nothing else; that of one account holds no other.
func TestPauseFromTheCommandLine(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	a := s.start("api").ready()
	w := s.start("worker").ready()
	path, own := a.create(), s.key
	account := s.account()
	s.makeKey()
	other := a.create()

	var paused struct{ Pauses []contact.Pause }
	s.command(&paused, "admin", "pause", "--account", account, "--reason", "runaway import")
	if len(paused.Pauses) != 1 || paused.Pauses[0].Reason != "runaway import" || paused.Pauses[0].By == "" {
		t.Fatalf("pauses %+v", paused)
	}
	if r := a.do(http.MethodPatch, other, `{"job_title":"x"}`, "Prefer", "wait=10"); r.Status != http.StatusOK {
		t.Errorf("another account waits: %d %s", r.Status, r.raw)
	}
	s.key = own
	notes := make([]string, 30)
	var last *reply
	for i := range notes {
		notes[i] = fmt.Sprint(i)
		last = a.do(http.MethodPatch, path, fmt.Sprintf(`{"notes_append":"%d"}`, i))
		if last.Status != http.StatusAccepted {
			t.Fatalf("a paused account is refused: %d %s", last.Status, last.raw)
		}
		if i == 10 {
			// Whoever drains next finds entries aside.
			w.stop()
			w.ended()
			w = s.start("worker").ready()
		}
	}
	s.eventually(10*time.Second, "writes aside", func() error { return s.aside(30) })
	if r := a.do(http.MethodGet, "/v1/writes/"+last.Data.WriteID, ""); r.Data.State != "queued" {
		t.Errorf("a write aside is %s", r.raw)
	}
	_, metrics := s.get(a.Ops + "/metrics")
	if !strings.Contains(metrics, "\npatchlane_paused_accounts 1\n") {
		t.Error("the pause is not in the metrics")
	}
	s.command(&paused, "admin", "pause")
	s.command(&paused, "admin", "resume", "--account", account)
	if len(paused.Pauses) != 1 {
		t.Errorf("pauses %+v", paused)
	}
	if r := a.do(http.MethodPatch, path, `{"job_title":"last"}`, "Prefer", "wait=1"); r.Status != http.StatusAccepted {
		t.Errorf("applied during a pause: %d %s", r.Status, r.raw)
	}
	s.command(&paused, "admin", "resume")
	s.eventually(10*time.Second, "writes in order", func() error {
		r := a.do(http.MethodGet, path, "")
		if r.Data.Notes == nil || *r.Data.Notes != strings.Join(notes, "\n") || !strings.Contains(string(r.raw), `"last"`) {
			return fmt.Errorf("%s", r.raw)
		}
		return nil
	})
	if err := s.aside(0); err != nil {
		t.Error(err)
	}
}

// aside checks how many entries stand aside.
func (s *site) aside(want int64) error {
	var lanes struct{ Lanes []laneView }
	s.command(&lanes, "admin", "lanes")
	n := int64(0)
	for _, l := range lanes.Lanes {
		n += l.Aside
	}
	if n != want {
		return fmt.Errorf("%d aside, want %d", n, want)
	}
	return nil
}
