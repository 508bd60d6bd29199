package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// An erasure goes through the contact's lane of a running stack: what stands
// before it is applied, what comes after it fails, and nothing is left, in no
// answer and no log.
func TestEraseFromEndToEnd(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	var account struct{ Accounts []struct{ ID string } }
	s.command(&account, "admin", "account", "list")
	id := account.Accounts[0].ID
	erase := func(contact string, more ...string) (int, string) {
		var out, errs bytes.Buffer
		args := append([]string{"admin", "contact", "erase", "--account", id, contact, "--database-url", s.db, "--redis-url", s.redis}, more...)
		code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errs})
		return code, out.String() + errs.String()
	}
	api := s.start("api").ready()
	if code, text := erase(uuid.NewString()); code != exitFailed || !strings.Contains(text, "not_found") {
		t.Errorf("unknown contact: %d %s", code, text)
	}
	worker := s.start("worker").ready()
	path := api.create()
	contact := strings.TrimPrefix(path, "/v1/contacts/")
	api.do(http.MethodPatch, path, `{"job_title":"zither player","email":"zither@example.com"}`, "Prefer", "wait=10")
	worker.stop()
	worker.ended()
	api.do(http.MethodPatch, path, `{"notes_append":"zither lessons"}`)
	// Nobody drains: it is durable, and not finished.
	s.eventually(30*time.Second, "the erasure stands in its lane", func() error {
		if code, text := erase(contact, "--wait", "500ms"); code != exitFailed || !strings.Contains(text, "not finished within") {
			t.Errorf("without a worker: %d %s", code, text)
		}
		var lanes struct{ Depth int }
		if s.command(&lanes, "admin", "lanes"); lanes.Depth < 2 {
			return fmt.Errorf("%d entries", lanes.Depth)
		}
		return nil
	})
	behind := api.do(http.MethodPatch, path, `{"job_title":"zither maker"}`)
	worker = s.start("worker").ready()
	for range 2 {
		if code, text := erase(contact); code != exitOK || !strings.Contains(text, `"done_at":"2`) {
			t.Errorf("erase: %d %s", code, text)
		}
	}
	if r := api.do(http.MethodGet, path, ""); r.Status != http.StatusNotFound {
		t.Errorf("erased contact: %d %s", r.Status, r.raw)
	}
	if r := api.do(http.MethodGet, "/v1/writes/"+behind.Data.WriteID, "", "Prefer", "wait=10"); r.Status != http.StatusOK ||
		!strings.Contains(string(r.raw), `"discarded"`) {
		t.Errorf("the write behind it: %d %s", r.Status, r.raw)
	}
	for _, page := range []string{"/v1/data/crm-logs?contact_id=" + contact, "/v1/writes?contact_id=" + contact} {
		if r := api.do(http.MethodGet, page, ""); r.Status != http.StatusOK || strings.Contains(string(r.raw), "zither") {
			t.Errorf("%s: %d %s", page, r.Status, r.raw)
		}
	}
	for _, n := range []*node{api, worker} {
		if strings.Contains(n.log.String(), "zither") {
			t.Error("a log names the contact's values")
		}
	}
}
