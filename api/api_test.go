package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"patchlane/api/token"
	"patchlane/tasks/contact"
)

func TestMain(m *testing.M) {
	// Pages are checked by their media type alone.
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.FileBodyDecoder)
	goleak.VerifyTestMain(m)
}

const secret = "pl_0123456789abcdefghijklmnop"

// bench is one server in a world of its own.
type bench struct {
	*world
	server *Server
	tokens *token.Service
	key    contact.Key
	limits limiter
	log    *syncBuffer
	reg    *prometheus.Registry
	hooks  *hookWorld
}

// setup makes a server, and a key with every scope.
func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		world:  newWorld(),
		limits: freely{}, log: &syncBuffer{}, reg: prometheus.NewRegistry(), hooks: newHookWorld(),
	}
	b.hooks.reply = func(e *contact.Event) {
		b.set(func() {
			if ch := b.waiters[e.ID]; ch != nil && !b.mute {
				ch <- contact.Outcome{WriteID: e.ID, Kind: contact.KindConsent, State: contact.Applied}
			}
		})
	}
	b.key = b.addKey(secret, contact.Key{Account: uuid.New(), Scopes: contact.Scopes()})
	b.tokens = newTokens(t, token.Config{})
	b.server = b.newServer(t, b.reg)
	return b
}

// newServerAlone makes another server in the same world, as a second process.
func (b *bench) newServerAlone(t *testing.T) *Server {
	t.Helper()
	return b.newServer(t, prometheus.NewRegistry())
}

func (b *bench) newServer(t *testing.T, reg prometheus.Registerer) *Server {
	t.Helper()
	return newServerWith(t, b.options(reg))
}

// options are what a server in this world needs.
func (b *bench) options(reg prometheus.Registerer) Options {
	return Options{
		Lanes:    contact.LaneCounts{Contact: 32, Address: 8},
		Contacts: b, Ledger: b, Failed: b, Keys: keyTruth{b.world}, Mirror: keyCopy{b.world},
		Settings: lawBook{b.world}, SettingsEditor: lawBook{b.world}, SettingsMirror: lawCopy{b.world},
		Tokens:   b.tokens,
		Appender: b, Lane: b, Replies: b, Limits: b.limits,
		Ready: func(context.Context) Readiness {
			return Readiness{Ready: true, Durable: true, Redis: "ok", Postgres: "ok"}
		},
		Logger:     slog.New(slog.NewJSONHandler(b.log, nil)),
		Registerer: reg,
		Optouts:    b.hooks.options(),
	}
}

func newServerWith(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

type metricFamily = dto.MetricFamily

// syncBuffer is a buffer that many goroutines may write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// request is one call of the API; headers are "Name: value".
type request struct {
	method, path, body string
	headers            []string
	secret             string
}

// response is an answer that fits the specification.
type response struct {
	*http.Response
	raw  []byte
	json map[string]any
}

// do sends a request and holds request and reply against the specification.
func (b *bench) do(t *testing.T, method, path, body string, headers ...string) response {
	t.Helper()
	return b.send(t, b.server, request{method, path, body, headers, secret})
}

func (b *bench) send(t *testing.T, s *Server, q request) response {
	t.Helper()
	r := httptest.NewRequest(q.method, q.path, strings.NewReader(q.body))
	if q.secret != "" {
		r.Header.Set("Authorization", "Bearer "+q.secret)
	}
	if q.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range q.headers {
		name, value, _ := strings.Cut(h, ": ")
		if value == "" {
			r.Header.Del(name)
		} else {
			r.Header.Set(name, value)
		}
	}
	checked := r.Clone(t.Context())
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	a := response{Response: w.Result(), raw: w.Body.Bytes()}
	if strings.Contains(a.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(a.raw, &a.json); err != nil {
			t.Fatalf("%s %s: reply is no JSON: %s", q.method, q.path, a.raw)
		}
	}
	conform(t, checked, q.body, a)
	return a
}

// specified loads the specification once; kin-openapi checks 3.1 documents by
// JSON Schema 2020-12.
var specified = sync.OnceValues(func() (routers.Router, error) {
	doc, err := openapi3.NewLoader().LoadFromData(specification)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(doc)
})

// conform checks a reply against the specification, and the request of every
// reply but 4xx, 5xx and 207: what was accepted must be specified. Replies on
// paths and methods that are not specified must be 404 and 405, or 400 where an
// id is missing.
func conform(t *testing.T, r *http.Request, body string, a response) {
	t.Helper()
	router, err := specified()
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Host, r.URL.Scheme = "", ""
	method := r.Method
	if method == http.MethodHead {
		r.Method = http.MethodGet
	}
	route, params, err := router.FindRoute(r)
	if err != nil {
		noID := a.StatusCode == 400 && strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/contacts")
		if a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusMethodNotAllowed && a.StatusCode != 401 && !noID {
			t.Errorf("%s %s is not specified and answers %d", method, r.URL.Path, a.StatusCode)
		}
		return
	}
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, MultiError: true,
		},
	}
	r.Body = io.NopCloser(strings.NewReader(body))
	if a.StatusCode < 300 && a.StatusCode != http.StatusMultiStatus {
		if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
			t.Errorf("%s %s: accepted request is not specified: %v", method, r.URL.Path, err)
		}
	}
	if method == http.MethodHead {
		return // a recorder keeps the body that net/http leaves out
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.StatusCode, Header: a.Header,
		Body: io.NopCloser(bytes.NewReader(a.raw)), Options: in.Options,
	}
	if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
		t.Errorf("%s %s: reply %d is not specified: %v\n%s", method, r.URL.Path, a.StatusCode, err, a.raw)
	}
}

// at is find for a value that may be missing: it is nil then.
func (a response) at(path string) any {
	v, _ := a.find(path)
	return v
}

// find walks a reply by a path such as "data.results.0.status".
func (a response) find(path string) (v any, there bool) {
	v = a.json
	for name := range strings.SplitSeq(path, ".") {
		switch node := v.(type) {
		case map[string]any:
			if v, there = node[name]; !there {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(node) {
				return nil, false
			}
			v = node[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// str is at for a string.
func (a response) str(path string) string {
	s, _ := a.at(path).(string)
	return s
}

// want checks the status and, if it is not empty, the code of a problem.
func (a response) want(t *testing.T, status int, code contact.Code) response {
	t.Helper()
	if a.StatusCode != status || (code != "" && a.str("code") != string(code)) {
		t.Fatalf("got %d %s, want %d %s\n%s", a.StatusCode, a.str("code"), status, code, a.raw)
	}
	return a
}

// fields returns the names and codes of a problem's errors.
func (a response) fields() []string {
	list, _ := a.at("errors").([]any)
	names := make([]string, 0, len(list))
	for _, e := range list {
		m, _ := e.(map[string]any)
		field, _ := m["field"].(string)
		code, _ := m["code"].(string)
		names = append(names, field+" "+code)
	}
	return names
}

// create makes a contact and returns its id.
func (b *bench) create(t *testing.T, body string) string {
	t.Helper()
	return b.do(t, "POST", "/v1/contacts", body).want(t, 201, "").str("data.id")
}
