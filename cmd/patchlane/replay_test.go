package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Twenty failed writes of each of ten contacts: listed, filtered, previewed,
// retried in order, with a stop in between. BenchmarkReplay does it with 25,000.
func TestReplayFromTheCommandLine(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	s.replay(10, 20)
}

// The same from the console, page after page, as a browser without scripts.
func TestReplayFromTheConsole(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	s.replayFromConsole(10, 20)
}

// BenchmarkReplay does both with 25,000 failed writes of 500 contacts.
func BenchmarkReplay(b *testing.B) {
	for name, replay := range map[string]func(s *site, contacts, each int) rates{
		"command line": (*site).replay, "console": (*site).replayFromConsole,
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				s, _ := newSite(b)
				for what, rate := range replay(s, 500, 50) {
					b.ReportMetric(rate, what+"/s")
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// rates are failed writes a second, by what was done with them.
type rates map[string]float64

// timed notes how fast something was done with so many writes.
func (r rates) timed(what string, do func() (n int)) {
	began := time.Now()
	n := do()
	r[what] = float64(n) / time.Since(began).Seconds()
}

// failMany makes so many failed writes of so many contacts: notes that were sent
// after the contact was archived, while no worker ran. It returns the paths of
// the contacts, which are restored, and the API.
func (s *site) failMany(contacts, each int) (a *node, paths []string) {
	s.tb.Helper()
	a = s.start("api", s.apiArgs...).ready()
	w := s.start("worker").ready()
	for range contacts {
		paths = append(paths, a.create())
	}
	w.stop()
	w.ended()
	for _, p := range paths {
		if r := a.do(http.MethodDelete, p, "", "Prefer", "respond-async"); r.Status != http.StatusAccepted {
			s.tb.Fatalf("archive: %d %s", r.Status, r.raw)
		}
	}
	for n := range each {
		for start := 0; start < len(paths); start += 500 {
			a.noteAll(paths[start:min(start+500, len(paths))], n)
		}
	}
	s.start("worker").ready()
	s.eventually(2*time.Minute, "failures", func() error { return s.failedAre(contacts * each) })
	for _, p := range paths {
		if r := a.do(http.MethodPost, p+"/restore", "", "Prefer", "wait=10"); r.Status != http.StatusOK {
			s.tb.Fatalf("restore: %d %s", r.Status, r.raw)
		}
	}
	return a, paths
}

// noteAll appends n to the notes of contacts in one request.
func (n *node) noteAll(paths []string, note int) {
	n.site.tb.Helper()
	rows := make([]string, len(paths))
	for i, p := range paths {
		rows[i] = fmt.Sprintf(`{"id":%q,"patch":{"notes_append":"%d"%s}}`, strings.TrimPrefix(p, "/v1/contacts/"), note, n.site.more)
	}
	r := n.do(http.MethodPost, "/v1/contacts/batch", `{"writes":[`+strings.Join(rows, ",")+`]}`)
	var answer struct{ Data struct{ Accepted int } }
	if err := json.Unmarshal(r.raw, &answer); err != nil || answer.Data.Accepted != len(paths) {
		n.site.tb.Fatalf("batch: %d %.300s", r.Status, r.raw)
	}
}

// failedAre checks how many failed writes are open.
func (s *site) failedAre(want int) error {
	var sum drySummary
	s.command(&sum, "admin", "writes", "retry", "--all", "--dry-run")
	if sum.Writes != want {
		return fmt.Errorf("%d failed writes, want %d", sum.Writes, want)
	}
	return nil
}

// replay checks the whole way by the command line.
func (s *site) replay(contacts, each int) rates {
	s.tb.Helper()
	a, paths := s.failMany(contacts, each)
	all, r := contacts*each, rates{}
	var list struct{ Writes []writeView }
	r.timed("listed", func() int {
		s.command(&list, "admin", "writes", "list", "--all")
		return len(list.Writes)
	})
	if len(list.Writes) != all || list.Writes[0].Code != "archived" {
		s.tb.Fatalf("listed %d", len(list.Writes))
	}
	s.command(&list, "admin", "writes", "list", "--all", "--code", "duplicate")
	if len(list.Writes) != 0 {
		s.tb.Errorf("%d of another code", len(list.Writes))
	}
	id := strings.TrimPrefix(paths[0], "/v1/contacts/")
	s.command(&list, "admin", "writes", "list", "--all", "--contact", id, "--since", "1h")
	if len(list.Writes) != each {
		s.tb.Errorf("%d of the contact", len(list.Writes))
	}
	var sum drySummary
	r.timed("previewed", func() int {
		s.command(&sum, "admin", "writes", "retry", "--all", "--dry-run")
		return sum.Writes
	})
	if sum.Applied != all || sum.Changed["notes"] != all {
		s.tb.Errorf("dry run %+v", sum)
	}
	stopped := s.stoppedReplay(all)
	var done replayView
	r.timed("applied", func() int {
		r.timed("retried", func() int {
			s.command(&done, "admin", "writes", "retry", "--all")
			return done.Retried
		})
		s.inOrder(a, paths, each)
		return done.Retried
	})
	if done.Refused != 0 || done.Open != 0 || done.Retried+stopped > all {
		s.tb.Errorf("replay %+v after %d", done, stopped)
	}
	var again replayView
	s.command(&again, "admin", "writes", "retry", "--all")
	if again.Done() != 0 || again.Open != 0 {
		s.tb.Errorf("second replay %+v", again)
	}
	return r
}

// inOrder waits until every contact has each of its notes once, in order.
func (s *site) inOrder(a *node, paths []string, each int) {
	s.tb.Helper()
	want := make([]string, each)
	for n := range want {
		want[n] = fmt.Sprint(n)
	}
	for _, p := range paths {
		s.eventually(time.Minute, "notes in order", func() error {
			if r := a.do(http.MethodGet, p, ""); r.Data.Notes == nil || *r.Data.Notes != strings.Join(want, "\n") {
				return fmt.Errorf("%s", r.raw)
			}
			return nil
		})
	}
}

// stoppedReplay retries a part, slowly, and is stopped as by Ctrl-C.
func (s *site) stoppedReplay(all int) (retried int) {
	s.tb.Helper()
	ctx, cancel := context.WithCancel(s.tb.Context())
	defer cancel()
	defer time.AfterFunc(max(time.Second, time.Duration(all)*300*time.Microsecond), cancel).Stop()
	var out, errs bytes.Buffer
	code := run(ctx, []string{
		"admin", "writes", "retry", "--all", "--rate", "100", "--database-url", s.db, "--redis-url", s.redis,
	}, streams{in: strings.NewReader(""), out: &out, err: &errs})
	var done replayView
	if err := json.Unmarshal(out.Bytes(), &done); err != nil || code == exitOK || !done.Stopped {
		s.tb.Fatalf("exit %d, %v: %s %s", code, err, out.String(), errs.String())
	}
	if done.Retried == 0 || done.Retried >= all {
		s.tb.Errorf("stopped after %d of %d", done.Retried, all)
	}
	return done.Retried
}

func TestPreviewAndDiscardFromTheCommandLine(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	a, paths := s.failMany(2, 3)
	id := strings.TrimPrefix(paths[0], "/v1/contacts/")
	var list struct{ Writes []writeView }
	s.command(&list, "admin", "writes", "list", "--contact", id)
	oldest := list.Writes[len(list.Writes)-1].WriteID
	var one previewView
	s.command(&one, "admin", "writes", "preview", oldest.String())
	if one.Would != "applied" || len(one.Changes) != 1 || string(one.Changes[0].New) != `"0"` {
		s.tb.Errorf("preview %+v", one)
	}
	a.do(http.MethodPatch, paths[0], `{"notes":"by hand"}`, "Prefer", "wait=10")
	s.command(&one, "admin", "writes", "preview", oldest.String())
	if one.Would != "unchanged" || len(one.Skipped) != 1 {
		s.tb.Errorf("preview after a change %+v", one)
	}
	var forced struct{ Previews []previewView }
	s.command(&forced, "admin", "writes", "preview", "--all", "--contact", id, "--force")
	if len(forced.Previews) != 3 || len(forced.Previews[2].Changes) != 1 {
		s.tb.Errorf("forced preview %+v", forced)
	}
	var discarded map[string]int
	s.command(&discarded, "admin", "writes", "discard", "--all", "--contact", id)
	if discarded["discarded"] != 3 {
		s.tb.Errorf("discarded %v", discarded)
	}
	if err := s.failedAre(3); err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{
		{"retry"},
		{"retry", uuid.NewString(), "--all"},
		{"discard", uuid.NewString(), "--code", "x"},
		{"retry", "--all", "--since", "soon"},
		{"retry", "--all", "--rate=-1"},
		{"preview", "--all", "--limit", "0"},
	} {
		args = append(append([]string{"admin", "writes"}, args...), "--database-url", s.db, "--redis-url", s.redis)
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errs}); code != exitUsage {
			t.Errorf("%v: exit %d %s", args, code, errs.String())
		}
	}
}
