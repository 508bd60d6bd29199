package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane/lanetest"
	"patchlane/tasks/limit"
)

// till is a server in a world whose limits and credits are kept by a real Redis.
type till struct {
	*bench
	books  *books
	redis  *lanetest.Server
	limits *limit.Limiter
}

func setupTill(t *testing.T) *till {
	t.Helper()
	b := setup(t)
	l := &till{bench: b, books: &books{rows: map[uuid.UUID]contact.Balance{}}, redis: lanetest.Start(t, false)}
	l.limits = l.limiter(t)
	b.limits = l.limits
	b.reg = prometheus.NewRegistry()
	b.server = b.newServer(t, b.reg)
	return l
}

// limiter makes one that waits for Redis as long as a busy machine takes: the tests
// count, and a Redis that counts as away is not asked.
func (l *till) limiter(t *testing.T) *limit.Limiter {
	t.Helper()
	return limit.New(lanetest.DialPatiently(t, l.redis.Addr()), limit.Config{Book: l.books, TripTime: time.Minute})
}

// limited makes a key with limits and returns its secret.
func (l *till) limited(k contact.Key) string {
	secret := "pl_limited_" + uuid.NewString()
	k.Account, k.Scopes = l.key.Account, contact.Scopes()
	l.addKey(secret, k)
	return secret
}

// ask sends a request and returns the reply, which fits the specification.
func (l *till) ask(t *testing.T, secret, method, path, body string) response {
	t.Helper()
	return l.send(t, l.server, request{method, path, body, nil, secret})
}

// quota reads the headers of a limited key: limit, remaining, and the time of
// the reset.
func quota(t *testing.T, a response) [3]int {
	t.Helper()
	var q [3]int
	for i, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
		n, err := strconv.Atoi(a.Header.Get(name))
		if err != nil {
			t.Fatalf("%d: %s: %v", a.StatusCode, name, err)
		}
		q[i] = n
	}
	return q
}

func TestLimitHeadersOnEveryReply(t *testing.T) {
	t.Parallel()
	l := setupTill(t)
	id := l.create(t, `{"email":"a@example.com"}`)
	secret := l.limited(contact.Key{PerMinute: 100, PerDay: 12})
	left := 12
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1/contacts/" + id, "", 200},
		{"HEAD", "/contacts/" + id, "", 200},
		{"GET", "/v1/contacts/" + uuid.NewString(), "", 404},
		{"PATCH", "/v1/contacts/" + id, `{"job_title":"CTO"}`, 202},
		{"PATCH", "/v1/contacts/" + id, `{"job`, 400},
		{"PATCH", "/v1/contacts/x", `{}`, 404},
		{"PATCH", "/v1/contacts/" + uuid.NewString(), `{}`, 404},
		{"PUT", "/v1/contacts/" + id, `{}`, 405},
		{"POST", "/v1/contacts", `{"email":"b@example.com"}`, 201},
		{"POST", "/v1/contacts/batch", `{"writes":[{}]}`, 207},
		{"POST", "/v1/contacts/batch", `{`, 400},
		{"DELETE", "/v1/contacts/" + id, "", 204},
		{"GET", "/v1/writes", "", 429},
	} {
		a := l.ask(t, secret, c.method, c.path, c.body).want(t, c.status, "")
		left = max(0, left-1)
		q := quota(t, a)
		if q[0] != 12 || q[1] != left {
			t.Errorf("%s %s: %v, want %d left of the day", c.method, c.path, q, left)
		}
		if reset := time.Until(time.Unix(int64(q[2]), 0)); reset <= 0 || reset > 25*time.Hour {
			t.Errorf("reset in %s", reset)
		}
		if got := a.Header.Get("RateLimit-Policy"); got != `"minute";q=100;w=60, "day";q=12;w=86400` {
			t.Errorf("policy %s", got)
		}
		if got := a.Header.Get("RateLimit"); !strings.Contains(got, fmt.Sprintf(`"day";r=%d;t=`, left)) {
			t.Errorf("limit %s", got)
		}
	}
	for _, path := range []string{"/v1/contacts", "/v1/nothing"} {
		if a := l.do(t, "GET", path, ""); a.Header.Get("RateLimit") != "" {
			t.Error("a key without limits is told some")
		}
	}
}

func TestOverTheLimit(t *testing.T) {
	t.Parallel()
	l := setupTill(t)
	id := l.create(t, `{"email":"a@example.com"}`)
	// One of a day comes back in half a day: not while a slow machine runs this.
	secret := l.limited(contact.Key{PerDay: 2})
	for i, status := range []int{202, 202, 429, 429} {
		a := l.ask(t, secret, "PATCH", "/v1/contacts/"+id, `{"notes_append":"x"}`).want(t, status, "")
		if pause, _ := strconv.Atoi(a.Header.Get("Retry-After")); status == 429 && (pause < 42_000 || pause > 43_200) {
			t.Errorf("%d: retry after %d", i, pause)
		}
	}
	if got := l.do(t, "GET", "/v1/contacts/"+id, ""); got.str("data.notes") != "x\nx" {
		t.Errorf("notes %q", got.str("data.notes"))
	}
	// Whatever else is wrong: over the limit it is told that.
	for _, body := range []string{`{"nots":1}`, `{`} {
		l.ask(t, secret, "PATCH", "/v1/contacts/"+id, body).want(t, 429, contact.CodeRateLimited)
	}
	l.ask(t, secret, "GET", "/v1/contacts/"+uuid.NewString(), "").want(t, 429, contact.CodeRateLimited)
	if n := metric(t, l.reg, "patchlane_api_rate_limited_total"); n != 5 {
		t.Errorf("%v counted, want 5", n)
	}
}

// metric adds up the series of a counter.
func metric(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestBatchCountsItsRows(t *testing.T) {
	t.Parallel()
	l := setupTill(t)
	id := l.create(t, `{"email":"a@example.com"}`)
	secret := l.limited(contact.Key{PerDay: 4})
	row := func(n int) string { return fmt.Sprintf(`{"id":%q,"patch":{"notes_append":"%d"}}`, id, n) }
	batch := `{"writes":[` + strings.Join([]string{row(0), `{}`, row(2), row(3), row(4), row(5)}, ",") + `]}`
	statuses := func(a response) (all []int) {
		for i := range 6 {
			status, _ := a.at(fmt.Sprintf("data.results.%d.status", i)).(float64)
			all = append(all, int(status))
		}
		return all
	}
	a := l.ask(t, secret, "POST", "/v1/contacts/batch", batch).want(t, 207, "")
	if got := statuses(a); !slices.Equal(got, []int{202, 400, 202, 202, 429, 429}) {
		t.Errorf("rows %v", got)
	}
	if q := quota(t, a); q[1] != 0 || a.Header.Get("Retry-After") != "21600" {
		t.Errorf("quota %v, retry after %s", q, a.Header.Get("Retry-After"))
	}
	a = l.ask(t, secret, "POST", "/v1/contacts/batch", batch).want(t, 207, "")
	if got := statuses(a); !slices.Equal(got, []int{429, 429, 429, 429, 429, 429}) {
		t.Errorf("rows %v", got)
	}
	l.ask(t, secret, "POST", "/v1/contacts/batch", `{"writes":[]}`).want(t, 429, "")
	if got := l.do(t, "GET", "/v1/contacts/"+id, ""); got.str("data.notes") != "0\n2\n3" {
		t.Errorf("notes %q", got.str("data.notes"))
	}
}

// Two servers on one Redis grant exactly the allowance together.
func TestLimitsAreExactAcrossServers(t *testing.T) {
	t.Parallel()
	l := setupTill(t)
	id := l.create(t, `{"email":"a@example.com"}`)
	secret := l.limited(contact.Key{PerMinute: 150_000, PerDay: 100})
	l.bench.limits = l.limiter(t)
	servers := []*Server{l.server, l.newServerAlone(t)}
	var accepted atomic.Int64
	var callers sync.WaitGroup
	for i := range 16 {
		callers.Go(func() {
			for range 10 {
				a := l.send(t, servers[i%2], request{"PATCH", "/v1/contacts/" + id, `{}`, nil, secret})
				if a.StatusCode == http.StatusAccepted {
					accepted.Add(1)
				}
			}
		})
	}
	callers.Wait()
	if accepted.Load() != 100 {
		t.Errorf("%d accepted, want 100", accepted.Load())
	}
}

// While Redis is away reads go on without limits, and no write is accepted.
func TestLimitsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	l := setupTill(t)
	id := l.create(t, `{"email":"a@example.com"}`)
	secret := l.limited(contact.Key{PerMinute: 1})
	l.ask(t, secret, "GET", "/v1/contacts/"+id, "").want(t, 200, "")
	l.ask(t, secret, "GET", "/v1/contacts/"+id, "").want(t, 429, "")
	l.redis.Kill()
	for range 3 {
		a := l.ask(t, secret, "GET", "/v1/contacts/"+id, "").want(t, 200, "")
		if a.Header.Get("RateLimit") != "" {
			t.Error("a limit is told that nobody was asked for")
		}
	}
	before := len(l.appended)
	l.ask(t, secret, "PATCH", "/v1/contacts/"+id, `{}`).want(t, 503, contact.CodeQueueUnavailable)
	l.ask(t, secret, "POST", "/v1/contacts/batch", `{"writes":[{}]}`).want(t, 503, contact.CodeQueueUnavailable)
	l.ask(t, secret, "PATCH", "/v1/contacts/"+id, `{`).want(t, 400, contact.CodeInvalidJSON)
	if len(l.appended) != before {
		t.Error("something was written")
	}
}

func TestRatesOfAKey(t *testing.T) {
	t.Parallel()
	minute := contact.Rate{Name: "minute", Limit: 5, Period: time.Minute}
	day := contact.Rate{Name: "day", Limit: 7, Period: 24 * time.Hour}
	second := contact.Rate{Name: "second", Limit: 300, Period: time.Second}
	for _, c := range []struct {
		key    contact.Key
		traits dialect.Traits
		want   []contact.Rate
	}{
		{contact.Key{}, dialect.Traits{}, nil},
		{contact.Key{PerMinute: 5, PerDay: 7}, dialect.Traits{}, []contact.Rate{minute, day}},
		{contact.Key{}, dialect.Traits{PerSecond: 300}, []contact.Rate{second}},
		{contact.Key{PerMinute: 5}, dialect.Traits{PerSecond: 300}, []contact.Rate{minute}},
		{contact.Key{}, dialect.Callbell{}.Traits(), []contact.Rate{second}},
		{contact.Key{}, dialect.TrustPager{}.Traits(), nil},
	} {
		if got := rates(&c.key, c.traits); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.key, got, c.want)
		}
	}
}

// The routes that pay late are in the table, with those methods.
func TestPaysLate(t *testing.T) {
	t.Parallel()
	l := setup(t)
	var late []string
	for _, r := range l.server.routes() {
		if r.paysLate() {
			late = append(late, r.method+" "+r.pattern)
		}
	}
	slices.Sort(late)
	want := []string{
		"DELETE /contacts/{id}", "PATCH /contacts/{id}", "POST /contacts", "POST /contacts/batch", "POST /contacts/{id}/restore",
	}
	if !slices.Equal(late, want) {
		t.Errorf("late %q", late)
	}
}
