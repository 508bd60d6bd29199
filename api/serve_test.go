package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"patchlane/tasks/contact"
)

// pipes is a listener whose connections live in memory, so that their deadlines
// are those of the bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.IPAddr{} }

// listen serves the API as a process does and returns a way to connect.
func (b *bench) listen(t *testing.T) func() net.Conn {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	server := NewHTTPServer(b.server.Handler(), slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(p) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		<-time.After(time.Second) // net/http lingers on connections that it cut
	})
	return func() net.Conn {
		client, remote := net.Pipe()
		p.conns <- remote
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
}

// raw sends bytes and returns the answer, or the error of reading it.
func raw(t *testing.T, c net.Conn, request string) (status int, body string, err error) {
	t.Helper()
	go func() { _, _ = io.WriteString(c, request) }()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, string(b), err
}

func head(method, path string, headers ...string) string {
	return method + " " + path + " HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer " + secret + "\r\n" +
		strings.Join(append(headers, "", ""), "\r\n")
}

// TestMemoryOfBodies fills the memory of all bodies with those of slow clients:
// a large body is then told to come back, a small one is not concerned, and the
// memory is free again when the slow ones are cut off.
func TestMemoryOfBodies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		connect := b.listen(t)
		path := "/v1/contacts/" + uuid.NewString()
		large := head("PATCH", path, "Content-Type: application/json", "Content-Length: 1048576") + "{" + strings.Repeat(" ", 600<<10)
		for range bodyMemory/(1<<20) + 1 {
			c := connect()
			go func() { _, _ = io.WriteString(c, large); _, _ = io.Copy(io.Discard, c) }()
		}
		synctest.Wait()
		start := time.Now()
		status, body, err := raw(t, connect(), large)
		if status != 503 || !strings.Contains(body, "overloaded") || err != nil || time.Since(start) > skipTime {
			t.Errorf("a large body beside them: %d after %s, %v: %s", status, time.Since(start), err, body)
		}
		small := head("PATCH", path, "Content-Type: application/json", "Content-Length: 2") + "[]"
		if status, body, err := raw(t, connect(), small); status != 400 || err != nil {
			t.Errorf("a small body beside them: %d, %v: %s", status, err, body)
		}
		<-time.After(bodyTime + 2*skipTime)
		if !b.server.bodies.TryAcquire(bodyMemory) {
			t.Error("the memory of those that were cut off is not free")
		}
	})
}

func TestSlowAndOversizedBodiesAreCutOff(t *testing.T) {
	t.Parallel()
	path := "/v1/contacts/" + uuid.NewString()
	for _, c := range []struct {
		name, request string
		status        int
		most          time.Duration
	}{
		{"slow", head("PATCH", path, "Content-Type: application/json", "Content-Length: 20") + `{"notes`, 408, bodyTime},
		{"slow chunks", head("PATCH", path, "Content-Type: application/json", "Transfer-Encoding: chunked") + "1\r\n{\r\n", 408, bodyTime},
		{"declared", head("PATCH", path, "Content-Type: application/json", "Content-Length: 1048577"), 413, 0},
		{"endless", head("PATCH", path, "Content-Type: application/json", "Transfer-Encoding: chunked") +
			strings.Repeat("10000\r\n"+strings.Repeat("a", 0x10000)+"\r\n", 17), 413, 0},
		{"no credential", "PATCH " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n", 401, 0},
		{"bad chunk", head("PATCH", path, "Content-Type: application/json", "Transfer-Encoding: chunked") + "zz\r\n", 400, 0},
		{"two lengths", head("PATCH", path, "Content-Length: 1", "Content-Length: 2"), 400, 0},
		{"bad length", head("PATCH", path, "Content-Length: +2"), 400, 0},
		{"bad coding", head("PATCH", path, "Transfer-Encoding: gzip, chunked"), 501, 0},
		{"folded header", head("PATCH", path, "X-A: b", " c: d", "bad header: x"), 400, 0},
		{"two hosts", head("GET", path, "Host: other.example"), 400, 0},
		{"header flood", head("GET", path, "X-Flood: "+strings.Repeat("a", 64<<10)), 431, 0},
		{"slow header", "GET " + path + " HTTP/1.1\r\nHost: a\r\nX-", 400, headerTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				connect := b.listen(t)
				start := time.Now()
				status, body, err := raw(t, connect(), c.request)
				if took := time.Since(start); took > c.most+time.Second {
					t.Errorf("took %v", took)
				}
				if err != nil || status != c.status {
					t.Fatalf("got %d, %v, want %d: %s", status, err, c.status, body)
				}
				if len(b.appended) > 0 {
					t.Error("something was written")
				}
			})
		})
	}
}

// A read deadline that was left behind would cut off a request that waits.
func TestAWaitOutlivesTheBodysDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id := b.create(t, `{"email":"a@example.com"}`)
		b.set(func() { b.paused = true })
		b.after(20*time.Second, b.resume)
		connect := b.listen(t)
		status, body, err := raw(t, connect(), head("PATCH", "/v1/contacts/"+id, "Content-Type: application/json",
			"Content-Length: 13", "Prefer: wait=30")+`{"notes":"x"}`)
		if err != nil || status != 200 {
			t.Fatalf("got %d, %v: %s", status, err, body)
		}
	})
}

func TestAPanicIsACleanFault(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	b.set(func() { b.panics = true })
	a := b.do(t, "PATCH", "/v1/contacts/"+id, `{}`).want(t, 500, contact.CodeInternal)
	if strings.Contains(string(a.raw)+b.log.String(), "a secret value") {
		t.Error("the value that was thrown is shown")
	}
	if !strings.Contains(b.log.String(), `"outcome":"panic"`) {
		t.Error("the panic is not in the line of the request")
	}
}

func TestEveryReplyCarries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"/v1/contacts", "/nothing", "/livez", "/readyz", "/openapi.yaml", "/v1/contacts/1"} {
		a := b.do(t, "GET", path, "", "X-Request-Id: my-id.1")
		if a.Header.Get("X-Request-Id") != "my-id.1" || a.Header.Get("X-Content-Type-Options") != "nosniff" ||
			a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") == "" {
			t.Errorf("%s: headers %v", path, a.Header)
		}
	}
	for _, bad := range []string{"with space", strings.Repeat("x", 129), "ünicode"} {
		if a := b.do(t, "GET", "/livez", "", "X-Request-Id: "+bad); len(a.Header.Get("X-Request-Id")) != 36 {
			t.Errorf("%q became %q", bad, a.Header.Get("X-Request-Id"))
		}
	}
}

func TestTraceContextTravels(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	b.do(t, "PATCH", "/v1/contacts/"+id, `{}`, "traceparent: "+trace).want(t, 202, "")
	b.do(t, "PATCH", "/v1/contacts/"+id, `{}`, "traceparent: "+strings.ToUpper(trace)).want(t, 202, "")
	if b.appended[1].TraceParent != trace || b.appended[2].TraceParent != "" {
		t.Errorf("appended %q, %q", b.appended[1].TraceParent, b.appended[2].TraceParent)
	}
	if !strings.Contains(b.log.String(), `"trace_id":"0af7651916cd43dd8448eb211c80319c"`) {
		t.Error("the trace is not in the log")
	}
}

func TestReadinessSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if a := b.do(t, "GET", "/readyz", "").want(t, 200, ""); a.at("durable") != true || a.at("postgres") != "ok" {
		t.Fatalf("ready %s", a.raw)
	}
	b.server.opt.Ready = func(context.Context) Readiness { return Readiness{Redis: "away", Postgres: "ok"} }
	if a := b.do(t, "GET", "/readyz", "").want(t, 503, ""); a.at("ready") != false || a.at("redis") != "away" {
		t.Fatalf("not ready %s", a.raw)
	}
}

// A load balancer that sends writes alone to a process goes on when Postgres is away.
func TestReadyForAPurpose(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.opt.Ready = func(context.Context) Readiness {
		return Readiness{Redis: "ok", Postgres: "away", Durable: true, Writes: true}
	}
	b.do(t, "GET", "/readyz", "").want(t, 503, "")
	b.do(t, "GET", "/readyz?for=reads", "").want(t, 503, "")
	b.do(t, "GET", "/readyz?for=writes", "").want(t, 200, "")
	b.do(t, "GET", "/readyz?for=everything", "").want(t, 400, "validation_failed")
}

func TestNewNamesEverythingThatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := New(Options{Registerer: prometheus.NewRegistry()})
	for _, name := range []string{"Lanes", "Contacts", "Ledger", "Appender", "Replies", "Ready", "Logger"} {
		if err == nil || !strings.Contains(err.Error(), "api option "+name+" ") {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}

func TestEveryCodeHasAnAnswer(t *testing.T) {
	t.Parallel()
	for code, a := range answers() {
		if a.status < 400 || a.title == "" || !strings.HasSuffix(a.fix, ".") {
			t.Errorf("%s: %+v", code, a)
		}
		if paused := a.status == 503 || a.status == 429; paused != (a.retryAfter > 0) {
			t.Errorf("%s: retry after %v", code, a.retryAfter)
		}
		if !strings.Contains(string(specification), "        - "+string(code)+"\n") {
			t.Errorf("%s is not specified", code)
		}
	}
}

func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	b.do(t, "PATCH", "/contacts/"+id, `{}`).want(t, 202, "")
	b.do(t, "BREW", "/contacts/"+id, `{}`).want(t, 405, "")
	families, err := b.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			counts[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"patchlane_api_requests_total 2xx /v1/contacts/{id}": 1,
		"patchlane_api_requests_total 4xx /v1/contacts/{id}": 1,
		"patchlane_api_requests_total 2xx /v1/contacts":      1,
		"patchlane_api_requests_total 5xx unknown":           0,
		"patchlane_api_accepts_total native accepted":        2,
		"patchlane_api_accept_seconds":                       2,
		"patchlane_api_waited_seconds":                       1,
		"patchlane_api_in_flight_requests":                   0,
	} {
		if got, found := counts[name]; !found || got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	if strings.Contains(fmt.Sprint(counts), id) {
		t.Error("a path is in the labels")
	}
}
