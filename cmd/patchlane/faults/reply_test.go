package faults

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestOneKeyFiftyTimes sends one write 50 times at once through two APIs.
func TestOneKeyFiftyTimes(t *testing.T) {
	t.Parallel()
	s := newStack(t, "faults")
	apis := []*process{s.start("api", ""), s.start("api", "")}
	s.start("worker", "").ready()
	for _, p := range apis {
		p.ready()
	}
	id := s.createContacts(t, apis[0].url, 1)[0]
	ids := make([]string, 50)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			header := http.Header{"Idempotency-Key": {"only-once"}, "Prefer": {"respond-async"}}
			status, body, err := s.call(t.Context(), http.MethodPatch, apis[i%2].url+"/v1/contacts/"+id, header, []byte(`{"notes_append":"once"}`))
			if err != nil || status != http.StatusAccepted {
				t.Errorf("request %d: %d %s %v", i, status, body, err)
				return
			}
			var reply struct {
				Data struct {
					WriteID string `json:"write_id"`
				}
			}
			if err := json.Unmarshal(body, &reply); err != nil {
				t.Error(err)
			}
			ids[i] = reply.Data.WriteID
		})
	}
	wg.Wait()
	if slices.Sort(ids); len(slices.Compact(ids)) != 1 {
		t.Errorf("fifty requests with one key are more than one write: %v", slices.Compact(ids))
	}
	s.settled(20 * time.Second)
	if notes := s.notes(t, apis[0].url, id); notes != "once" {
		t.Errorf("notes are %q", notes)
	}
}

// TestLostAppendReply cuts the reply of Redis to an append, with and without
// an Idempotency-Key: the API settles the fate itself, and the effect is one.
func TestLostAppendReply(t *testing.T) {
	t.Parallel()
	s := newStack(t, "faults")
	s.start("worker", "").ready()
	p := newProxy(t, s.redis.Addr(), "cut-here")
	s.env = append(slices.Clone(s.env), "REDIS_URL="+strings.Replace(s.redis.URL(), s.redis.Addr(), p.addr(), 1))
	api := s.start("api", "")
	api.ready()
	ids := s.createContacts(t, api.url, 2)
	for i, header := range []http.Header{{}, {"Idempotency-Key": {"cut"}}} {
		p.armed.Store(true)
		header.Set("Prefer", "wait=10")
		status, body, err := s.call(t.Context(), http.MethodPatch, api.url+"/v1/contacts/"+ids[i], header, []byte(`{"notes_append":"cut-here"}`))
		if err != nil || status != http.StatusOK {
			t.Errorf("write %d: %d %s %v", i, status, body, err)
		}
		if got := p.cuts.Load(); got != int64(i+1) {
			t.Fatalf("%d replies were cut, not %d: nothing was tested", got, i+1)
		}
	}
	s.settled(20 * time.Second)
	for _, id := range ids {
		if notes := s.notes(t, api.url, id); notes != "cut-here" {
			t.Errorf("notes are %q", notes)
		}
	}
}

// notes reads the notes of a contact.
func (s *stack) notes(t *testing.T, api, id string) string {
	t.Helper()
	status, body, err := s.call(t.Context(), http.MethodGet, api+"/v1/contacts/"+id, nil, nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("read contact: %d %s %v", status, body, err)
	}
	var reply struct{ Data struct{ Notes string } }
	if err := json.Unmarshal(body, &reply); err != nil {
		t.Fatal(err)
	}
	return reply.Data.Notes
}
