package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// answer is what a client was told about a write.
type answer uint8

const (
	unknown answer = iota
	acknowledged
	refused
)

// attempt is one write as its client saw it.
type attempt struct {
	token   string
	contact int
	client  int
	n       int
	sent    time.Time
	acked   time.Time
	answer  answer
}

// history is everything that the clients of a run were told.
type history struct {
	contacts []string
	mu       sync.Mutex
	attempts []*attempt
}

func (h *history) add(a *attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attempts = append(h.attempts, a)
}

// load says what the writers of a run do.
type load struct {
	contacts, clients int
	// writes a contact, shared by all clients.
	writes int
	// keyless is the share of writes sent without an Idempotency-Key and hence
	// never repeated: what became of them may stay unknown.
	keyless float64
	// waited is the share of writes that wait for their outcome.
	waited float64
}

// createContacts makes the contacts of a run, each with an id of its own.
func (s *stack) createContacts(t *testing.T, api string, n int) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		status, body, err := s.call(t.Context(), http.MethodPost, api+"/v1/contacts", nil, fmt.Appendf(nil, `{"first_name":"Contact %d"}`, i))
		if err != nil || status != http.StatusCreated {
			t.Fatalf("create contact: %d %s %v", status, body, err)
		}
		var reply struct{ Data struct{ ID string } }
		if err := json.Unmarshal(body, &reply); err != nil {
			t.Fatal(err)
		}
		ids[i] = reply.Data.ID
	}
	return ids
}

// write runs the load against the APIs and returns the history. It ends when
// every write was answered, or ctx is over.
func (s *stack) write(ctx context.Context, t *testing.T, apis []string, contacts []string, l load) *history {
	t.Helper()
	h := &history{contacts: contacts}
	var wg sync.WaitGroup
	for client := range l.clients {
		wg.Go(func() {
			for n := range l.writes / l.clients {
				for contact := range contacts {
					// Each client walks the contacts from a place of its own.
					contact = (contact + client*len(contacts)/l.clients) % len(contacts)
					if ctx.Err() != nil {
						return
					}
					s.writeOne(ctx, h, apis, l, &attempt{client: client, contact: contact, n: n})
				}
			}
		})
	}
	wg.Wait()
	return h
}

// writeOne sends one write until it has an answer. With a key it is repeated,
// to any replica, while its fate is unknown; without one it is sent once.
func (s *stack) writeOne(ctx context.Context, h *history, apis []string, l load, a *attempt) {
	a.token = fmt.Sprintf("%d:%d:%d", a.client, a.contact, a.n)
	body := fmt.Appendf(nil, `{"notes_append":%q,"job_title":%q}`, a.token, a.token)
	header := http.Header{"Prefer": {"respond-async"}}
	if rand.Float64() < l.waited {
		header.Set("Prefer", "wait=5")
	}
	keyed := rand.Float64() >= l.keyless
	if keyed {
		header.Set("Idempotency-Key", a.token)
	}
	h.add(a)
	a.sent = time.Now()
	for ctx.Err() == nil {
		api := apis[rand.IntN(len(apis))]
		status, reply, err := s.call(ctx, http.MethodPatch, api+"/v1/contacts/"+h.contacts[a.contact], header, body)
		switch {
		case err == nil && (status == http.StatusOK || status == http.StatusAccepted):
			a.acked, a.answer = time.Now(), acknowledged
			return
		case err == nil && status < 500 && status != http.StatusTooManyRequests:
			s.t.Errorf("write %s: refused: %d %s", a.token, status, reply)
			a.answer = refused
			return
		case !keyed:
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// keepAlive is the client of a run's writers. net/http itself repeats a request
// on a stale connection only if it carries an Idempotency-Key, so a write
// without one is sent at most once.
func keepAlive() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
}

// call sends one request with the stack's key.
func (s *stack) call(ctx context.Context, method, url string, header http.Header, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Authorization", "Bearer "+s.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	reply, err := io.ReadAll(res.Body)
	return res.StatusCode, reply, err
}
