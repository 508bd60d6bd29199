package api

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// payer is a till with a key of TrustPager's and a contact.
type payer struct {
	*till
	id, path string
	epoch    int64
}

func setupPayer(t *testing.T) *payer {
	t.Helper()
	p := &payer{till: setupTill(t)}
	p.addKey(trustpagerKey, contact.Key{Account: p.key.Account, Dialect: "trustpager", Scopes: contact.Scopes()})
	p.id = p.create(t, `{"email":"a@example.com"}`)
	p.path = trustpagerPath + p.id
	return p
}

// give is `admin account credits --set`.
func (p *payer) give(t *testing.T, n int64) {
	t.Helper()
	p.epoch++
	b := contact.Balance{Account: p.key.Account, Left: n, Epoch: p.epoch}
	if err := p.limits.SetBalance(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// left is what `admin account credits` shows.
func (p *payer) left(t *testing.T) int64 {
	t.Helper()
	b, err := p.limits.Balance(t.Context(), p.key.Account)
	if err != nil {
		t.Fatal(err)
	}
	return b.Left
}

// pays sends a request and checks what it is answered and what is left then: in
// the answer, if it says so, and in truth.
func (p *payer) pays(t *testing.T, method, path, body string, status int, left int64, headers ...string) response {
	t.Helper()
	a := p.as(t, trustpagerKey, method, path, body, headers...).status(t, status)
	if shown := a.at("meta.credits_remaining"); shown != nil && shown != float64(left) {
		t.Errorf("%s %s: %v remaining, want %d", method, path, shown, left)
	}
	if got := p.left(t); got != left {
		t.Errorf("%s %s: %d left, want %d", method, path, got, left)
	}
	return a
}

func TestCreditsOfEachCall(t *testing.T) {
	t.Parallel()
	p := setupPayer(t)
	p.pays(t, "GET", p.path, "", 200, contact.Unmetered)
	p.pays(t, "PATCH", p.path, `{"first_name":"Ada"}`, 200, contact.Unmetered)
	p.give(t, 9501)
	p.pays(t, "GET", p.path, "", 200, 9500)
	p.pays(t, "PATCH", p.path, `{"first_name":"Jane"}`, 200, 9498)
	p.pays(t, "PATCH", p.path, `{"first_name":"Jane"}`, 200, 9496) // unchanged
	p.pays(t, "PATCH", p.path, `{"first_name":"Joan"}`, 202, 9494, "Prefer: respond-async")
	p.pays(t, "POST", strings.TrimSuffix(trustpagerPath, "/"), `{"first_name":"New"}`, 201, 9492)
	p.pays(t, "GET", strings.TrimSuffix(trustpagerPath, "/"), "", 200, 9491)
	p.pays(t, "DELETE", p.path, "", 204, 9489)
	p.pays(t, "POST", p.path+"/restore", "", 200, 9487)
	// Keys of other dialects cost nothing.
	p.do(t, "PATCH", "/v1/contacts/"+p.id, `{}`).want(t, 202, "")
	p.pays(t, "GET", p.path, "", 200, 9486)
}

func TestNotChargedForRefusals(t *testing.T) {
	t.Parallel()
	p := setupPayer(t)
	p.give(t, 10)
	other := p.create(t, `{"email":"b@example.com"}`)
	for _, c := range []struct {
		method, path, body string
		status             int
		headers            []string
	}{
		{"PATCH", p.path, `{`, 400, nil},
		{"PATCH", p.path, `{"nots":1}`, 400, nil},
		{"PATCH", p.path, `{"phone":"12"}`, 400, nil},
		{"PATCH", p.path, `{"email":"b@example.com"}`, 409, nil}, // known by the worker alone
		{"PATCH", p.path, `{}`, 412, []string{`If-Match: "77"`}},
		{"PATCH", trustpagerPath + uuid.NewString(), `{}`, 404, nil},
		{"GET", trustpagerPath + uuid.NewString(), "", 404, nil},
		{"GET", trustpagerPath[:len(trustpagerPath)-1] + "?limit=0", "", 400, nil},
		{"PUT", p.path, "", 405, nil},
		{"POST", "/v1/writes/" + uuid.NewString() + "/retry", "", 404, nil},
	} {
		p.pays(t, c.method, c.path, c.body, c.status, 10, c.headers...)
	}
	limited := "tp_live_limited_0123456789"
	p.addKey(limited, contact.Key{Account: p.key.Account, Dialect: "trustpager", Scopes: contact.Scopes(), PerDay: 1})
	p.as(t, limited, "GET", trustpagerPath+other, "").status(t, 200)
	if a := p.as(t, limited, "PATCH", p.path, `{}`).status(t, 429); a.Header.Get("Retry-After") == "" || p.left(t) != 9 {
		t.Errorf("%d left", p.left(t))
	}
	p.set(func() { p.appendErr = &contact.Error{Code: contact.CodeOverloaded} })
	p.pays(t, "PATCH", p.path, `{}`, 503, 9)
}

func TestRefusedWithoutCredits(t *testing.T) {
	t.Parallel()
	p := setupPayer(t)
	p.give(t, 1)
	before := len(p.appended)
	a := p.pays(t, "PATCH", p.path, `{"first_name":"Ada"}`, 403, 1)
	if a.str("error.code") != "INSUFFICIENT_CREDITS" || len(p.appended) != before {
		t.Errorf("%s", a.raw)
	}
	p.pays(t, "GET", p.path, "", 200, 0)
	p.pays(t, "GET", p.path, "", 403, 0)
	if n := metric(t, p.reg, "patchlane_api_credits_refused_total"); n != 2 {
		t.Errorf("%v counted, want 2", n)
	}
	p.give(t, 3)
	p.pays(t, "PATCH", p.path, `{"first_name":"Ada"}`, 200, 1)
}

func TestReplaysCostNothing(t *testing.T) {
	t.Parallel()
	p := setupPayer(t)
	p.give(t, 2)
	for _, left := range []int64{0, 0} { // the second time nothing is left to pay with
		p.pays(t, "PATCH", p.path, `{"first_name":"Ada"}`, 200, left, "Idempotency-Key: k")
	}
	p.pays(t, "PATCH", p.path, `{"first_name":"Bob"}`, 422, 0, "Idempotency-Key: k")
	p.pays(t, "PATCH", p.path, `{"first_name":"Bob"}`, 403, 0, "Idempotency-Key: l")
	p.give(t, 10)
	a := p.pays(t, "PATCH", p.path, `{"first_name":"Ada"}`, 200, 10, "Idempotency-Key: k")
	if a.Header.Get("Idempotent-Replayed") != "true" {
		t.Error("not replayed")
	}
	p.pays(t, "PATCH", p.path, `{"first_name":"Bob"}`, 422, 10, "Idempotency-Key: k")
	p.do(t, "DELETE", "/v1/contacts/"+p.id, "").want(t, 204, "")
	p.pays(t, "PATCH", p.path, `{"first_name":"Ada"}`, 200, 10, "Idempotency-Key: k")
}

func TestCreditsOfABatch(t *testing.T) {
	t.Parallel()
	p := setupPayer(t)
	batch := trustpagerPath + "batch"
	row := func(name, key string) string {
		return fmt.Sprintf(`{"id":%q,"patch":{"first_name":%q},"idempotency_key":%q}`, p.id, name, key)
	}
	send := func(left int64, want []int, rows ...string) {
		t.Helper()
		a := p.pays(t, "POST", batch, `{"writes":[`+strings.Join(rows, ",")+`]}`, 207, left)
		for i, status := range want {
			if got := a.at(fmt.Sprintf("data.results.%d.status", i)); got != float64(status) {
				t.Errorf("row %d: %v, want %d: %s", i, got, status, a.raw)
			}
		}
	}
	p.give(t, 9)
	send(5, []int{202, 400, 202}, row("a", "1"), `{}`, row("b", "2"))
	// Repeats are free, also where nothing would be left for what is new.
	send(1, []int{202, 202, 202, 202, 403}, row("a", "1"), row("c", "3"), row("b", "2"), row("d", "4"), row("e", "5"))
	send(1, []int{202, 202, 202, 202}, row("a", "1"), row("b", "2"), row("c", "3"), row("d", "4"))
	send(1, []int{403, 422, 202}, row("f", "6"), row("x", "1"), row("a", "1"))
}

// Two servers and many callers: the balance is what was given less what was
// answered with success, and never was below zero.
func TestCreditsAreExactAcrossServers(t *testing.T) {
	t.Parallel()
	p := setupPayer(t)
	p.give(t, 101)
	p.bench.limits = p.limiter(t)
	servers := []*Server{p.server, p.newServerAlone(t)}
	var cost atomic.Int64
	var callers sync.WaitGroup
	for i := range 16 {
		callers.Go(func() {
			for n := range 6 {
				q := request{"PATCH", p.path, `{"first_name":"Ada"}`, nil, trustpagerKey}
				switch (i + n) % 3 {
				case 0:
					q.body = `{"nots":1}`
				case 1:
					q.method, q.body = "GET", ""
				}
				a := p.send(t, servers[i%2], q)
				switch {
				case a.StatusCode == 200 && q.method == "GET":
					cost.Add(1)
				case a.StatusCode == 200:
					cost.Add(2)
				case a.StatusCode != 400 && a.StatusCode != 403:
					t.Errorf("%s: %d %s", q.method, a.StatusCode, a.raw)
				}
			}
		})
	}
	callers.Wait()
	if got := p.left(t); got != 101-cost.Load() || got < 0 {
		t.Errorf("%d left after %d were charged", got, cost.Load())
	}
}

// The charge of a write of unknown fate is decided by whether it came in.
func TestUnknownFateIsLeftToTheKeeper(t *testing.T) {
	t.Parallel()
	p := setupPayer(t)
	p.give(t, 10)
	p.set(func() { p.appendErr = errAway })
	p.pays(t, "PATCH", p.path, `{}`, 503, 8)
	p.pays(t, "POST", trustpagerPath+"batch", `{"writes":[{"id":"`+p.id+`","patch":{}}]}`, 207, 6)
	p.set(func() { p.appendErr = nil })
	p.pays(t, "PATCH", p.path, `{}`, 200, 4)
	wrote := p.appended[len(p.appended)-1].ID
	for id, want := range map[uuid.UUID]bool{wrote: true, uuid.New(): false} {
		if came, err := p.server.CameIn(t.Context(), p.key.Account, id); came != want || err != nil {
			t.Errorf("%s came in: %v, %v", id, came, err)
		}
	}
	p.as(t, trustpagerKey, "PATCH", p.path, `{}`, `If-Match: "77"`).status(t, 412)
	if came, err := p.server.CameIn(t.Context(), p.key.Account, p.appended[len(p.appended)-1].ID); came || err != nil {
		t.Errorf("a failed write came in: %v, %v", came, err)
	}
	p.set(func() { p.storeDown = errAway })
	if _, err := p.server.CameIn(t.Context(), p.key.Account, uuid.New()); err == nil {
		t.Error("decided although Postgres was not asked")
	}
}

// Credits need Redis alone. With Redis away a read is free and shows what was
// copied last.
func TestCreditsInOutages(t *testing.T) {
	t.Parallel()
	p := setupPayer(t)
	p.give(t, 10)
	p.set(func() { p.storeDown = errAway })
	p.books.mu.Lock()
	p.books.away = errAway
	p.books.mu.Unlock()
	a := p.as(t, trustpagerKey, "PATCH", p.path, `{}`, "Prefer: respond-async").status(t, 202)
	if p.left(t) != 8 || a.at("meta.credits_remaining") != nil && a.at("meta.credits_remaining") != float64(8) {
		t.Errorf("%d left: %s", p.left(t), a.raw)
	}
	p.set(func() { p.storeDown = nil })
	p.books.mu.Lock()
	p.books.away, p.books.rows = nil, map[uuid.UUID]contact.Balance{p.key.Account: {Left: 7}}
	p.books.mu.Unlock()
	p.redis.Kill()
	if a := p.as(t, trustpagerKey, "GET", p.path, "").status(t, 200); a.at("meta.credits_remaining") != float64(7) {
		t.Errorf("%s", a.raw)
	}
	p.as(t, trustpagerKey, "PATCH", p.path, `{}`).status(t, 503)
	if err := p.limits.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}
