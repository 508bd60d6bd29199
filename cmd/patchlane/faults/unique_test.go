package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestTwoContactsOneAddress gives two contacts one e-mail address at the same
// moment, through two APIs: exactly one has it. The other is told when it
// waits, and its write ends failed: duplicate when it does not.
func TestTwoContactsOneAddress(t *testing.T) {
	t.Parallel()
	s := newStack(t, "faults")
	apis := []*process{s.start("api"), s.start("api")}
	s.start("worker").ready()
	for _, p := range apis {
		p.ready()
	}
	for round := range 10 {
		people := s.createContacts(t, apis[0].url, 2)
		ids := []string{people[0].id, people[1].id}
		waited := s.both(t, apis, ids, "wait=10", fmt.Sprintf("waited-%d@example.com", round))
		if statuses := []int{waited[0].status, waited[1].status}; !slices.Contains(statuses, http.StatusOK) || !slices.Contains(statuses, http.StatusConflict) {
			t.Errorf("round %d: waited: %v", round, statuses)
		}
		states := map[string]int{}
		for _, a := range s.both(t, apis, ids, "respond-async", fmt.Sprintf("async-%d@example.com", round)) {
			states[s.outcome(t, apis[0].url, a.WriteID)]++
		}
		if states["applied"] != 1 || states["failed duplicate"] != 1 {
			t.Errorf("round %d: async: %v", round, states)
		}
	}
}

// told is what the client of one write was told.
type told struct {
	status  int
	WriteID string `json:"write_id"`
}

// both writes one e-mail address to two contacts at once.
func (s *stack) both(t *testing.T, apis []*process, ids []string, prefer, email string) [2]told {
	t.Helper()
	var answers [2]told
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			status, body, err := s.call(t.Context(), http.MethodPatch, apis[i].url+"/v1/contacts/"+id,
				http.Header{"Prefer": {prefer}}, fmt.Appendf(nil, `{"email":%q}`, email))
			var reply struct{ Data told }
			if err == nil {
				err = json.Unmarshal(body, &reply)
			}
			if err != nil {
				t.Error(err)
			}
			reply.Data.status = status
			answers[i] = reply.Data
		})
	}
	wg.Wait()
	return answers
}

// outcome waits for what became of a write: its state, and why it failed.
func (s *stack) outcome(t *testing.T, api, write string) string {
	t.Helper()
	var reply struct {
		Data struct {
			State string
			Error *struct{ Code string }
		}
	}
	eventually(t, 20*time.Second, func() error {
		status, body, err := s.call(t.Context(), http.MethodGet, api+"/v1/writes/"+write, http.Header{"Prefer": {"wait=10"}}, nil)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(body, &reply); err != nil {
			return err
		}
		if status != http.StatusOK || reply.Data.State == "queued" {
			return fmt.Errorf("write %s: %d %s", write, status, reply.Data.State)
		}
		return nil
	})
	if reply.Data.Error != nil {
		return reply.Data.State + " " + reply.Data.Error.Code
	}
	return reply.Data.State
}
