package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestWriteFromEndToEnd(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	a, w := s.start("api").ready(), s.start("worker").ready()
	path := a.create()
	r := a.do(http.MethodPatch, path, `{"job_title":"Analyst","notes_append":"hello"}`, "Prefer", "wait=10")
	if r.Status != http.StatusOK || r.Meta.Version != 2 || len(r.Meta.Changes) != 2 || r.Header.Get("ETag") != `"2"` {
		t.Errorf("patch: %d %s", r.Status, r.raw)
	}
	r = a.do(http.MethodPatch, path, `{"job_title":"late"}`, "Prefer", "wait=10", "If-Match", `"1"`)
	if r.Status != http.StatusPreconditionFailed {
		t.Errorf("if-match: %d %s", r.Status, r.raw)
	}
	if r = a.do(http.MethodGet, "/v1/data/crm-logs?contact_id="+strings.TrimPrefix(path, "/v1/contacts/"), ""); !strings.Contains(string(r.raw), `"hello"`) {
		t.Errorf("audit: %d %s", r.Status, r.raw)
	}
	for _, url := range []string{a.API + "/readyz", a.Ops + "/readyz", w.Ops + "/readyz"} {
		if status, body := s.get(url); status != http.StatusOK || !strings.Contains(body, `"durable":true`) {
			t.Errorf("%s: %d %s", url, status, body)
		}
	}
	for _, url := range []string{a.API + "/livez", a.Ops + "/livez", w.Ops + "/debug/pprof/"} {
		if status, body := s.get(url); status != http.StatusOK {
			t.Errorf("%s: %d %s", url, status, body)
		}
	}
	if status, _ := s.get(a.Ops + "/debug/pprof/cmdline"); status != http.StatusNotFound {
		t.Errorf("the command line, which may hold a password, is shown: %d", status)
	}
	for url, names := range map[string][]string{
		a.Ops: {"go_goroutines", "go_build_info", "process_cpu", "patchlane_queue_durable 1", `patchlane_lane_appends_total{outcome="accepted"} 3`, `patchlane_redis_pool_connections{pool="lanes"}`},
		w.Ops: {"patchlane_store_apply_seconds", "patchlane_queue_durable 1"},
	} {
		_, body := s.get(url + "/metrics")
		for _, name := range names {
			if !strings.Contains(body, name) {
				t.Errorf("metrics of %s have no %s", url, name)
			}
		}
	}
	if text := a.log.String() + w.log.String(); strings.Contains(text, s.key) || strings.Contains(text, "hello") {
		t.Error("a log line holds a key or a value of a contact")
	}
}

func TestTwoReplicasAreOne(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	a, b := s.start("api").ready(), s.start("api").ready()
	s.start("worker").ready()
	s.start("worker").ready()
	path := a.create()
	for n := range 20 {
		// Written through one, read through the other.
		title := fmt.Sprintf(`{"job_title":"t%d"}`, n)
		w := a.do(http.MethodPatch, path, title, "Prefer", "respond-async", "Idempotency-Key", title)
		again := b.do(http.MethodPatch, path, title, "Prefer", "respond-async", "Idempotency-Key", title)
		if w.Status != http.StatusAccepted || again.Data.WriteID != w.Data.WriteID || again.Header.Get("Idempotent-Replayed") != "true" {
			t.Fatalf("replay: %d %s, first %s", again.Status, again.raw, w.raw)
		}
		r := b.do(http.MethodGet, path+"?after="+w.Data.WriteID, "")
		if r.Status != http.StatusOK || r.Data.Version != int64(n+2) || !strings.Contains(string(r.raw), fmt.Sprintf(`"t%d"`, n)) {
			t.Fatalf("read your write %d: %d %s", n, r.Status, r.raw)
		}
	}
}

func TestRevokedKeyIsDeadEverywhere(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	id := s.makeKey()
	a, b := s.start("api").ready(), s.start("api").ready()
	for _, n := range []*node{a, b} {
		if r := n.do(http.MethodGet, "/v1/contacts", ""); r.Status != http.StatusOK {
			t.Fatalf("before: %d %s", r.Status, r.raw)
		}
	}
	var revoked struct {
		RevokedAt *time.Time `json:"revoked_at"`
	}
	s.command(&revoked, "admin", "key", "revoke", "--id", id)
	if revoked.RevokedAt == nil {
		t.Error("the revocation has no time")
	}
	s.eventually(10*time.Second, "revoked everywhere", func() error {
		for _, n := range []*node{a, b} {
			if r := n.do(http.MethodGet, "/v1/contacts", ""); r.Status != http.StatusUnauthorized {
				return fmt.Errorf("still answered %d", r.Status)
			}
		}
		return nil
	})
}

// TestAdminRetriesAFailedWrite fails a write by a condition, lists it, and
// sends it again.
func TestAdminRetriesAFailedWrite(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	a := s.start("api").ready()
	s.start("worker").ready()
	path := a.create()
	ids := make([]string, 0, 2)
	for range 2 {
		r := a.do(http.MethodPatch, path, `{"job_title":"CEO"}`, "Prefer", "respond-async", "If-Match", `"9"`)
		ids = append(ids, r.Data.WriteID)
		if r = a.do(http.MethodGet, "/v1/writes/"+r.Data.WriteID, "", "Prefer", "wait=10"); r.Data.State != "failed" {
			t.Fatalf("write: %d %s", r.Status, r.raw)
		}
	}
	var list struct {
		Writes []struct {
			WriteID string `json:"write_id"`
			Code    string
		}
	}
	s.command(&list, "admin", "writes", "list", "--state", "failed")
	if len(list.Writes) != 2 || list.Writes[0].WriteID != ids[1] || list.Writes[0].Code != "precondition_failed" {
		t.Errorf("list: %+v", list)
	}
	var retried struct {
		WriteID string `json:"write_id"`
		RetryOf string `json:"retry_of"`
	}
	s.command(&retried, "admin", "writes", "retry", ids[0], "--force")
	if r := a.do(http.MethodGet, "/v1/writes/"+retried.WriteID, "", "Prefer", "wait=10"); r.Data.State != "applied" || retried.RetryOf != ids[0] {
		t.Errorf("retried: %d %s", r.Status, r.raw)
	}
	if r := a.do(http.MethodGet, "/v1/writes/"+ids[0], ""); r.Data.State != "retried" {
		t.Errorf("first: %s", r.raw)
	}
	var discarded struct{ State string }
	s.command(&discarded, "admin", "writes", "discard", ids[1])
	s.command(&discarded, "admin", "writes", "discard", ids[1])
	if discarded.State != "discarded" {
		t.Errorf("discarded: %+v", discarded)
	}
}

// TestStopsTwiceUnderLoad stops an API and a worker, starts others, and stops
// those too, while clients write: every acknowledged note is there once.
func TestStopsTwiceUnderLoad(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	steady := s.start("api").ready()
	s.start("worker").ready()
	const clients, notes = 8, 60
	paths := make([]string, clients)
	for i := range paths {
		paths[i] = steady.create()
	}
	var mu sync.Mutex
	replica := steady
	current := func() *node { mu.Lock(); defer mu.Unlock(); return replica }
	progress := make(chan struct{}, clients*notes)
	var wg sync.WaitGroup
	for i, path := range paths {
		wg.Go(func() {
			for n := range notes {
				if !appendNote(t, current, path, fmt.Sprintf("%d:%d", i, n)) {
					return
				}
				progress <- struct{}{}
			}
		})
	}
	for range 2 {
		a, w := s.start("api").ready(), s.start("worker").ready()
		mu.Lock()
		replica = a
		mu.Unlock()
		for range clients * notes / 4 {
			<-progress
		}
		for _, n := range []*node{a, w} {
			n.stop()
			n.stop()
			if code := n.ended(); code != exitOK {
				t.Errorf("stopped with %d: %s", code, n.log)
			}
		}
		mu.Lock()
		replica = steady
		mu.Unlock()
	}
	wg.Wait()
	for i, path := range paths {
		want := make([]string, notes)
		for n := range want {
			want[n] = fmt.Sprintf("%d:%d", i, n)
		}
		s.eventually(20*time.Second, "applied", func() error {
			r := steady.do(http.MethodGet, path, "")
			if r.Data.Notes == nil || *r.Data.Notes != strings.Join(want, "\n") {
				return fmt.Errorf("contact %d: %s", i, r.raw)
			}
			return nil
		})
	}
}

// appendNote repeats one note with its key until it is acknowledged.
func appendNote(t *testing.T, current func() *node, path, note string) bool {
	t.Helper()
	wait := backOff{wait: 5 * time.Millisecond, most: 50 * time.Millisecond}
	for {
		r, err := current().client().do(t.Context(), http.MethodPatch, path, fmt.Sprintf(`{"notes_append":%q}`, note),
			"Prefer", "respond-async", "Idempotency-Key", note)
		switch {
		case err == nil && r.Status == http.StatusAccepted:
			return true
		case err == nil && r.Status < http.StatusInternalServerError:
			t.Errorf("%s: %d %s", note, r.Status, r.raw)
			return false
		}
		if !wait.pause(t.Context()) {
			return false
		}
	}
}
