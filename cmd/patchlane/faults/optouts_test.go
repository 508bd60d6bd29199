package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
)

// reached is how many contacts share one number: more than an event reaches in
// one transaction, so that it can be killed between two of them.
const reached = 620

// TestOptOutCrash kills the API and the worker at each step between the
// signature of a provider's event and the flag. The provider sends its event
// again only while it has heard no success, the very same bytes. In the end
// every contact is opted out, by one event that is stored once.
func TestOptOutCrash(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	for _, c := range []struct { //nolint:paralleltest // One place after the other: they share a stack.
		role, place string
		provider    signature.Provider
		people      int
	}{
		{"api", "webhook.verified", signature.Twilio, 1},
		{"api", "webhook.consumed", signature.Twilio, 1},
		{"api", "webhook.appended", signature.Twilio, 1},
		// Mailgun signs a token that is consumed before the event is durable.
		{"api", "webhook.verified", signature.Mailgun, 1},
		{"api", "webhook.consumed", signature.Mailgun, 1},
		{"api", "webhook.appended", signature.Mailgun, 1},
		{"worker", "optouts.before_heard", signature.Twilio, 1},
		{"worker", "optouts.heard", signature.Twilio, 1},
		{"worker", "optouts.reached", signature.Twilio, reached},
		{"worker", "optouts.before_settled", signature.Mailgun, 1},
		{"worker", "optouts.settled", signature.Twilio, 1},
	} {
		t.Run(c.place+" "+string(c.provider), func(t *testing.T) {
			h.during(t, func() {
				p := h.people(c.provider, c.people)
				h.settled(20 * time.Second)
				began := time.Now()
				h.killed(c.role, c.place, p)
				h.flagged(p, 12*time.Second)
				h.settled(20 * time.Second)
				t.Logf("opted out %s after the first post", time.Since(began).Round(time.Millisecond))
				h.once(p)
			})
		})
	}
}

// TestOptOutChaos lets both roles die at random at every one of these steps,
// and in between, while providers post. Some people change their mind
// once their STOP was taken: a STOP that is sent again must not undo that.
func TestOptOutChaos(t *testing.T) {
	t.Parallel()
	seed := environment(t).seed
	t.Logf("PATCHLANE_SEED=%d", seed)
	h := newHooks(t)
	const places = 60
	crowd := make([]*people, places)
	for i := range crowd {
		crowd[i] = h.people([]signature.Provider{signature.Twilio, signature.Mailgun}[i%2], 1)
	}
	h.settled(20 * time.Second)
	h.worker.kill()
	h.worker.restart("optouts.before_heard=0.05,optouts.heard=0.05,optouts.before_settled=0.05,optouts.settled=0.05,drain.trimmed=0.02")
	h.api.kill()
	h.api.restart("webhook.verified=0.05,webhook.consumed=0.05,webhook.appended=0.1")
	killing, stop := context.WithCancel(t.Context())
	defer stop()
	var kills atomic.Int64
	var killers, providers errgroup.Group
	for p, failpoints := range map[*process]string{
		h.worker: "optouts.heard=0.1,optouts.settled=0.1", h.api: "webhook.consumed=0.05,webhook.appended=0.1",
	} {
		dice := rand.New(rand.NewPCG(seed, uint64(len(p.role))))
		killers.Go(func() error { kills.Add(int64(p.killAtRandom(killing, failpoints, dice))); return nil })
	}
	providers.SetLimit(4)
	for i, p := range crowd {
		providers.Go(func() error {
			err := h.post(p.event)
			if err == nil && i%4 == 0 {
				p.back = true
				err = h.post(h.start(p))
			}
			return err
		})
	}
	if err := providers.Wait(); err != nil {
		t.Fatal(err)
	}
	stop()
	_ = killers.Wait()
	for _, p := range []*process{h.api, h.worker} {
		p.kill()
		p.restart("")
		p.ready()
	}
	h.settled(30 * time.Second)
	for _, p := range crowd {
		h.flagged(p, 20*time.Second)
		h.once(p)
	}
	if t.Logf("%d kills", kills.Load()); kills.Load() == 0 {
		t.Error("nothing was killed: nothing was tested")
	}
}

// hooks is a stack with an endpoint for each of two providers.
type hooks struct {
	*stack
	api, worker *process
	endpoints   map[signature.Provider]hookEndpoint
	db          *pgx.Conn
	made        int
}

type hookEndpoint struct{ id, key string }

func newHooks(t *testing.T) *hooks {
	t.Helper()
	h := &hooks{stack: newStack(t, "faults"), endpoints: map[signature.Provider]hookEndpoint{}}
	var accounts struct{ Accounts []struct{ ID string } }
	h.runJSON(&accounts, "admin", "account", "list")
	for _, p := range []signature.Provider{signature.Twilio, signature.Mailgun} {
		keys, err := simulate.NewKeys(p, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var made struct{ ID string }
		h.runJSON(&made, "admin", "endpoint", "create", "--account", accounts.Accounts[0].ID, "--provider", string(p), "--secret", keys.Secret)
		h.endpoints[p] = hookEndpoint{made.ID, keys.Key}
	}
	db, err := pgx.Connect(t.Context(), h.pg.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.WithoutCancel(t.Context())) })
	h.db = db
	h.api, h.worker = h.role("api"), h.role("worker")
	return h
}

// role starts an API or a worker.
func (h *hooks) role(name string) *process {
	p := h.stack.start(name)
	p.ready()
	return p
}

// during lets a subtest have the failures of the stack.
func (h *hooks) during(t *testing.T, do func()) {
	t.Helper()
	outer := h.t
	h.t = t
	defer func() { h.t = outer }()
	do()
}

// people share an address, and the event that opts them out.
type people struct {
	ids              []string
	channel, address string
	drill            simulate.Drill
	event            *http.Request
	// back: they opted in again.
	back bool
}

// people makes contacts with an address that nobody else has. What a provider
// sends about it is signed once: sending it again changes no byte.
func (h *hooks) people(p signature.Provider, n int) *people {
	h.t.Helper()
	h.made++
	who := &people{channel: "sms", address: fmt.Sprintf("+1415555%04d", 2000+h.made)}
	event, member := simulate.Stop, "phone"
	if p == signature.Mailgun {
		who.channel, who.address = "email", fmt.Sprintf("person%d@example.com", h.made)
		event, member = simulate.Complaint, "email"
	}
	e := h.endpoints[p]
	target := h.api.url + "/v1/webhooks/" + e.id
	who.drill = simulate.Drill{Provider: p, Event: event, Address: who.address, Key: e.key, Target: target, Signed: target}
	who.event = h.signed(&who.drill)
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf(`{"patch":{"first_name":"Jane",%q:%q}}`, member, who.address)
	}
	status, body, err := h.call(h.t.Context(), http.MethodPost, h.api.url+"/v1/contacts/batch", nil,
		[]byte(`{"writes":[`+strings.Join(rows, ",")+`]}`))
	var reply struct {
		Data struct {
			Accepted int
			Results  []struct {
				ContactID string `json:"contact_id"`
			}
		}
	}
	if err == nil {
		err = json.Unmarshal(body, &reply)
	}
	if err != nil || reply.Data.Accepted != n {
		h.t.Fatalf("make people: %d %s %v", status, body, err)
	}
	for _, r := range reply.Data.Results {
		who.ids = append(who.ids, r.ContactID)
	}
	return who
}

// signed makes the request of an event.
func (h *hooks) signed(d *simulate.Drill) *http.Request {
	h.t.Helper()
	r, err := d.Request(h.t.Context(), time.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// start is the event by which a person who sent STOP comes back.
func (h *hooks) start(p *people) *http.Request {
	d := p.drill
	d.Event, d.ID = simulate.Start, ""
	return h.signed(&d)
}

// post sends an event until it hears a success, as its provider does.
func (h *hooks) post(event *http.Request) error {
	ctx, cancel := context.WithTimeout(event.Context(), 30*time.Second)
	defer cancel()
	for {
		body, err := event.GetBody()
		if err != nil {
			return err
		}
		r := event.Clone(ctx)
		r.Body = body
		res, err := plainClient.Do(r)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			if res.StatusCode < 500 {
				return fmt.Errorf("post event: refused with %s", res.Status)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("post event: never taken, at last %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// killed lets a role die at a place, surely, while an event is posted, and then
// starts an ordinary process in its stead.
func (h *hooks) killed(role, place string, p *people) {
	h.t.Helper()
	victim := h.api
	if role == "worker" {
		victim = h.worker
	}
	victim.kill()
	victim.restart(place + "=1")
	victim.ready()
	posted := make(chan error, 1)
	go func() { posted <- h.post(p.event) }()
	if err := victim.died(20 * time.Second); err != nil {
		h.t.Error(err)
	}
	victim.kill()
	victim.restart("")
	if err := <-posted; err != nil {
		h.t.Fatal(err)
	}
}

// flagged waits until every contact shows what its person wants.
func (h *hooks) flagged(p *people, within time.Duration) {
	h.t.Helper()
	want, column := len(p.ids), p.channel+"_unsubscribed"
	if p.back {
		want = 0
	}
	eventually(h.t, within, func() error {
		var out, waiting int
		err := h.db.QueryRow(h.t.Context(), `SELECT count(*) FILTER (WHERE `+column+`),
			(SELECT count(*) FROM webhook_events WHERE address = $2 AND NOT done)
			FROM contacts WHERE id = ANY ($1::uuid[])`, p.ids, p.address).Scan(&out, &waiting)
		if err != nil {
			return err
		}
		if out != want || waiting > 0 {
			return fmt.Errorf("%d of %d contacts are opted out, %d wanted; %d events are not done", out, len(p.ids), want, waiting)
		}
		return nil
	})
	// What is stored is what a client reads.
	status, body, err := h.call(h.t.Context(), http.MethodGet, h.api.url+"/v1/contacts/"+p.ids[0], nil, nil)
	if err != nil || status != http.StatusOK || !strings.Contains(string(body), `"`+column+`":`+strconv.FormatBool(!p.back)) {
		h.t.Errorf("read contact: %d %s %v", status, body, err)
	}
}

// once expects one stored row for each event and one change of every contact by
// it, whatever was sent again and applied again.
func (h *hooks) once(p *people) {
	h.t.Helper()
	want := 1
	if p.back {
		want = 2
	}
	var events, changes, contacts, highest int
	if err := h.db.QueryRow(h.t.Context(), `SELECT
			(SELECT count(*) FROM webhook_events WHERE address = $2),
			(SELECT count(*) FROM writes w JOIN webhook_events e ON e.id::text = w.source_event
				WHERE w.contact_id = ANY ($1::uuid[]) AND w.kind = 'consent'),
			(SELECT coalesce(sum(contacts), 0) FROM webhook_events WHERE address = $2),
			(SELECT max(version) FROM contacts WHERE id = ANY ($1::uuid[]))`,
		p.ids, p.address).Scan(&events, &changes, &contacts, &highest); err != nil {
		h.t.Fatal(err)
	}
	if n := want * len(p.ids); events != want || changes != n || contacts != n || highest != 1+want {
		h.t.Errorf("%s: %d events, %d changes of %d contacts, %d counted, version %d", p.address, events, changes, len(p.ids), contacts, highest)
	}
}
