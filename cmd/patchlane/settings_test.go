package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// define makes a definition that must not be there yet.
func (n *node) define(path, body string) {
	n.site.tb.Helper()
	if r := n.do(http.MethodPost, path, body); r.Status != http.StatusCreated {
		n.site.tb.Fatalf("%s %s: %d %s", path, body, r.Status, r.raw)
	}
}

// TestTwoHundredWritersLoseNothing lets every writer add one tag, one metadata
// key, one custom field and one note line to one contact, through two APIs and
// two workers: all of them are there, each once, and each write is a version.
func TestTwoHundredWritersLoseNothing(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	replicas := []*node{s.start("api").ready(), s.start("api").ready()}
	s.start("worker").ready()
	s.start("worker").ready()
	a := replicas[0]
	path := a.create()
	const writers = 200
	for i := range writers {
		a.define("/v1/tags", fmt.Sprintf(`{"name":"Tag %d"}`, i))
		a.define("/v1/custom-fields", fmt.Sprintf(`{"internal_name":"field_%d","label":"Field %d","type":"number"}`, i, i))
	}
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			body := fmt.Sprintf(`{"tags_add":["tag %d"],"metadata_merge":{"key_%d":%d},"custom_fields":{"Field %d":%d},"notes_append":"line %d"}`,
				i, i, i, i, i, i)
			r, err := replicas[i%2].client().do(t.Context(), http.MethodPatch, path, body, "Prefer", "wait=25")
			if err != nil || r.Status != http.StatusOK || len(r.Meta.Changes) != 4 {
				t.Errorf("writer %d: %+v, %v", i, r, err)
			}
		})
	}
	wg.Wait()
	var got struct {
		Data struct {
			Tags         []string
			Metadata     map[string]int
			CustomFields map[string]int `json:"custom_fields"`
			Notes        string
			Version      int
		}
	}
	r := replicas[1].do(http.MethodGet, path, "")
	if err := json.Unmarshal(r.raw, &got); err != nil {
		t.Fatalf("%v: %s", err, r.raw)
	}
	c := got.Data
	seen := map[string]int{}
	for _, tag := range c.Tags {
		seen[tag]++
	}
	for line := range strings.SplitSeq(c.Notes, "\n") {
		seen[line]++
	}
	for i := range writers {
		key, field := fmt.Sprintf("key_%d", i), fmt.Sprintf("field_%d", i)
		m, hasKey := c.Metadata[key]
		f, hasField := c.CustomFields[field]
		if seen[fmt.Sprintf("Tag %d", i)] != 1 || seen[fmt.Sprintf("line %d", i)] != 1 || !hasKey || m != i || !hasField || f != i {
			t.Errorf("writer %d lost something", i)
		}
	}
	if len(seen) != 2*writers || len(c.Metadata) != writers || len(c.CustomFields) != writers || c.Version != writers+1 {
		t.Errorf("%d tags and lines, %d keys, %d fields, version %d", len(seen), len(c.Metadata), len(c.CustomFields), c.Version)
	}
}

// TestDefinitionsCountOnEveryReplica makes and deletes definitions through one
// API and writes through another, at once.
func TestDefinitionsCountOnEveryReplica(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	a, b := s.start("api").ready(), s.start("api").ready()
	s.start("worker").ready()
	path := a.create()
	for n := range 10 {
		tag, field := fmt.Sprintf("t%d", n), fmt.Sprintf("f%d", n)
		body := fmt.Sprintf(`{"tags_add":[%q],"custom_fields":{%q:"x"}}`, tag, field)
		if r := b.do(http.MethodPatch, path, body); r.Status != http.StatusBadRequest || len(r.Errors) != 2 {
			t.Fatalf("undefined: %d %s", r.Status, r.raw)
		}
		a.define("/v1/tags", fmt.Sprintf(`{"name":%q}`, tag))
		a.define("/v1/custom-fields", fmt.Sprintf(`{"internal_name":%q,"label":"Label of %s","type":"string"}`, field, field))
		if r := b.do(http.MethodPatch, path, body, "Prefer", "wait=10"); r.Status != http.StatusOK {
			t.Fatalf("defined: %d %s", r.Status, r.raw)
		}
		for _, name := range []string{"/v1/tags/" + tag, "/v1/custom-fields/" + field} {
			if r := a.do(http.MethodDelete, name, ""); r.Status != http.StatusConflict || r.Code != "in_use" {
				t.Fatalf("in use: %d %s", r.Status, r.raw)
			}
			if r := a.do(http.MethodDelete, name+"?force=true", ""); r.Status != http.StatusNoContent {
				t.Fatalf("forced: %d %s", r.Status, r.raw)
			}
		}
		if r := b.do(http.MethodPatch, path, body); r.Status != http.StatusBadRequest {
			t.Fatalf("deleted: %d %s", r.Status, r.raw)
		}
	}
}

// TestDefinitionDeletedBeforeItsWriteIsApplied fails a write whose tag goes
// while it waits, and tells so whoever waits for it.
func TestDefinitionDeletedBeforeItsWriteIsApplied(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	a := s.start("api").ready()
	w := s.start("worker").ready()
	path := a.create()
	a.define("/v1/tags", `{"name":"VIP"}`)
	w.stop()
	if code := w.ended(); code != exitOK {
		t.Fatalf("worker ended with %d", code)
	}
	type answer struct {
		*reply
		err error
	}
	waited := make(chan answer, 1)
	go func() {
		r, err := a.client().do(t.Context(), http.MethodPatch, path, `{"tags_add":["VIP"]}`, "Prefer", "wait=25")
		waited <- answer{r, err}
	}()
	s.eventually(10*time.Second, "queued", func() error {
		_, body := s.get(a.Ops + "/metrics")
		if !strings.Contains(body, `patchlane_lane_appends_total{outcome="accepted"} 2`) {
			return fmt.Errorf("the write is not queued yet")
		}
		return nil
	})
	if r := a.do(http.MethodDelete, "/v1/tags/vip", ""); r.Status != http.StatusNoContent {
		t.Fatalf("delete: %d %s", r.Status, r.raw)
	}
	s.start("worker").ready()
	r := <-waited
	if r.err != nil || r.Status != http.StatusBadRequest || r.Code != "validation_failed" || !strings.Contains(r.Detail, "tags_add[0]") {
		t.Errorf("waited: %+v, %v", r.reply, r.err)
	}
}
