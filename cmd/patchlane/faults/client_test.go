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
	"sync/atomic"
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
	// token is what it appends to the notes; empty: it is a change of consent.
	token   string
	consent *opinion
	contact int
	client  int
	n       int
	sent    time.Time
	acked   time.Time
	answer  answer
	// id is the write's id, once acknowledged.
	id string
}

// history is everything that the clients of a run were told.
type history struct {
	contacts []person
	mu       sync.Mutex
	attempts []*attempt
	events   []opinion
	// strange are answers that no fault explains.
	strange []string
	// broken counts requests without an answer, unavailable those answered 503.
	broken, unavailable int
	firstBroken         error
}

func (h *history) add(a *attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attempts = append(h.attempts, a)
}

// failed counts a request that has to be sent again.
func (h *history) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.unavailable++
		return
	}
	if h.broken++; h.firstBroken == nil {
		h.firstBroken = err
	}
}

func (h *history) wonder(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.strange) < 5 {
		h.strange = append(h.strange, fmt.Sprintf(format, args...))
	}
}

// load says what the writers of a run do.
type load struct {
	contacts, clients int
	// writes is how many each contact gets; 0: until the traffic is ended.
	writes int
	// pace is the pause of a client between two writes.
	pace time.Duration
	// keyless is the share of writes sent without an Idempotency-Key and hence
	// never repeated: what became of them may stay unknown.
	keyless float64
	// waited is the share of writes that wait for their outcome.
	waited float64
}

// ordinary is the load of most faults: enough for every lane to be busy.
func ordinary() load {
	return load{contacts: 40, clients: 6, pace: 4 * time.Millisecond, keyless: 0.1, waited: 0.02}
}

// person is a contact of a run, with addresses of its own.
type person struct{ id, phone, email string }

// canary begins every value of a contact, so that a search finds them in a log.
const canary = "zq7note"

// createContacts makes the contacts of a run.
func (s *stack) createContacts(tb testing.TB, api string, n int) []person {
	tb.Helper()
	people := make([]person, n)
	for i := range people {
		s.mu.Lock()
		s.serial++
		serial := s.serial
		s.mu.Unlock()
		p := person{phone: fmt.Sprintf("+49151%08d", 23000000+serial), email: fmt.Sprintf("%s.%d@person.example", canary, serial)}
		s.secret(p.phone, p.phone[1:], p.email)
		status, body, err := s.call(tb.Context(), http.MethodPost, api+"/v1/contacts", nil,
			fmt.Appendf(nil, `{"first_name":"%s%d","phone":%q,"email":%q}`, canary, serial, p.phone, p.email))
		if err != nil || status != http.StatusCreated {
			tb.Fatalf("create contact: %d %s %v", status, body, err)
		}
		var reply struct{ Data struct{ ID string } }
		if err := json.Unmarshal(body, &reply); err != nil {
			tb.Fatal(err)
		}
		p.id = reply.Data.ID
		people[i] = p
	}
	return people
}

// traffic are the clients of a run while they write.
type traffic struct {
	s    *stack
	h    *history
	l    load
	urls []string
	// born is when the contacts had their addresses.
	born time.Time
	stop chan struct{}
	once sync.Once
	wg   sync.WaitGroup
	// away is the API that a load balancer has taken out.
	away atomic.Pointer[string]
}

// avoid sends nothing to an API any more; empty: to all of them again.
func (tr *traffic) avoid(url string) { tr.away.Store(&url) }

// choose returns an API.
func (tr *traffic) choose(dice *rand.Rand) string {
	i := dice.IntN(len(tr.urls))
	if away := tr.away.Load(); away != nil && tr.urls[i] == *away {
		i = (i + 1) % len(tr.urls)
	}
	return tr.urls[i]
}

// begin makes contacts and starts clients, which write through the APIs until
// the traffic is ended, or until each contact has its writes: some append notes,
// one changes consent, and one is the provider that posts opt-outs.
func (s *stack) begin(tb testing.TB, apis []*process, l load, seed uint64) *traffic {
	tb.Helper()
	tr := &traffic{s: s, l: l, stop: make(chan struct{}), h: &history{contacts: s.createContacts(tb, apis[0].url, l.contacts)}}
	tr.born = time.Now().Truncate(time.Millisecond).Add(time.Millisecond)
	for _, p := range apis {
		tr.urls = append(tr.urls, p.url)
	}
	ctx := tb.Context()
	for client := range l.clients {
		dice := rand.New(rand.NewPCG(seed, uint64(client)))
		tr.wg.Go(func() { tr.writer(ctx, client, dice) })
	}
	dice := rand.New(rand.NewPCG(seed, uint64(l.clients)))
	tr.wg.Go(func() { tr.provider(ctx, dice) })
	tb.Cleanup(func() { tr.end() })
	return tr
}

// end tells the clients to stop, waits until each has the answer to what it
// sent last, and returns the history.
func (tr *traffic) end() *history {
	tr.once.Do(func() { close(tr.stop) })
	tr.wg.Wait()
	return tr.h
}

// goesOn paces a client; false: it is to stop.
func (tr *traffic) goesOn(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-tr.stop:
		return false
	case <-timer.C:
		return true
	}
}

// writer walks the contacts from a place of its own and writes to each. Every
// twentieth write is a change of consent.
func (tr *traffic) writer(ctx context.Context, client int, dice *rand.Rand) {
	contacts, l := len(tr.h.contacts), tr.l
	for n := 0; l.writes == 0 || n < l.writes/l.clients; n++ {
		for i := range contacts {
			if !tr.goesOn(ctx, l.pace) {
				return
			}
			a := &attempt{client: client, contact: (i + client*contacts/l.clients) % contacts, n: n}
			tr.writeOne(ctx, a, dice)
		}
	}
}

// writeOne sends one write until it has an answer. With a key it is repeated,
// to any replica, while its fate is unknown; without one it is sent once.
func (tr *traffic) writeOne(ctx context.Context, a *attempt, dice *rand.Rand) {
	key := fmt.Sprintf("%s-%d:%d:%d", canary, a.client, a.contact, a.n)
	keyed := dice.Float64() >= tr.l.keyless
	var body []byte
	if dice.IntN(20) == 0 {
		o := tr.randomOpinion(dice, a.contact)
		a.consent, keyed = &o, true
		body = fmt.Appendf(nil, `{"sms_unsubscribed":%t,"as_of":%q}`, o.out, o.at.Format(time.RFC3339Nano))
	} else {
		a.token = key
		body = fmt.Appendf(nil, `{"notes_append":%q,"job_title":%q}`, key, key)
	}
	header := http.Header{"Prefer": {"respond-async"}}
	if dice.Float64() < tr.l.waited {
		header.Set("Prefer", "wait=5")
	}
	if keyed {
		header.Set("Idempotency-Key", key)
	}
	tr.h.add(a)
	a.sent = time.Now()
	for ctx.Err() == nil {
		api := tr.choose(dice)
		status, reply, err := tr.s.call(ctx, http.MethodPatch, api+"/v1/contacts/"+tr.h.contacts[a.contact].id, header, body)
		switch {
		case err == nil && (status == http.StatusOK || status == http.StatusAccepted):
			a.acked, a.answer, a.id = time.Now(), acknowledged, writeID(reply)
			return
		case err == nil && status < 500 && status != http.StatusTooManyRequests:
			tr.h.wonder("write %s was refused: %d %s", key, status, reply)
			a.answer = refused
			return
		case !keyed:
			tr.h.failed(err)
			return
		}
		tr.h.failed(err)
		if err == nil && status != http.StatusServiceUnavailable {
			tr.h.wonder("write %s: %d %s", key, status, reply)
		}
		tr.goesOnAnyway(ctx)
	}
}

// goesOnAnyway is the pause before a repeat, which ends with its answer even if
// the traffic is to stop.
func (tr *traffic) goesOnAnyway(ctx context.Context) {
	timer := time.NewTimer(20 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// writeID reads the id of a write from a 200 or a 202.
func writeID(reply []byte) string {
	var r struct {
		Data, Meta struct {
			WriteID string `json:"write_id"`
		}
	}
	if json.Unmarshal(reply, &r) != nil {
		return ""
	}
	return r.Data.WriteID + r.Meta.WriteID
}

// keepAlive is the client of a run's writers. net/http itself repeats a request
// on a stale connection only if it carries an Idempotency-Key, so a write
// without one is sent at most once.
func keepAlive() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
}

// call sends one request with the stack's key.
func (s *stack) call(ctx context.Context, method, url string, header http.Header, body []byte) (int, []byte, error) {
	return s.callAs(ctx, s.key, method, url, header, body)
}

// callAs sends one request with a key.
func (s *stack) callAs(ctx context.Context, key, method, url string, header http.Header, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Authorization", "Bearer "+key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	reply, err := io.ReadAll(res.Body)
	if res.StatusCode >= http.StatusBadRequest {
		s.hear(reply)
	}
	return res.StatusCode, reply, err
}

// hear keeps the body of an error, up to a number of them.
func (s *stack) hear(reply []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heard) < 10_000 {
		s.heard = append(s.heard, string(reply))
	}
}
