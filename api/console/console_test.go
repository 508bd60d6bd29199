package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/api"
	"patchlane/tasks/contact"
)

const token = "a-token-of-operators"

// ward is everything that a console works on.
type ward struct {
	mu       sync.Mutex
	away     error
	failures []contact.Failure
	pauses   []contact.Pause
	log      []contact.OperatorAction
	decided  []string
	replays  []api.Replay
	// hold keeps a replay under way until it is closed or cancelled.
	hold chan struct{}
}

func (w *ward) Stats(context.Context) ([]Lane, error) {
	return []Lane{{Lane: contact.Lane{Kind: 'c', N: 3}, Depth: 7, Oldest: 90 * time.Second, Owner: "worker/1"}, {Lane: contact.Lane{Kind: 'a'}}}, w.away
}

func (w *ward) FindAny(context.Context, uuid.UUID) (contact.Entry, bool, error) {
	return contact.Entry{}, false, w.away
}
func (w *ward) Pauses(context.Context) ([]contact.Pause, error) { return w.pauses, w.away }

func (w *ward) Pause(_ context.Context, p contact.Pause) error {
	w.pauses = append(w.pauses, p)
	return w.away
}
func (w *ward) Resume(context.Context, contact.Pause) error { w.pauses = nil; return w.away }

func (w *ward) Failures(_ context.Context, q contact.FailureQuery) ([]contact.Failure, error) {
	var list []contact.Failure
	for _, f := range w.failures {
		if q.After == nil || f.Origin.After(q.After.Origin) {
			list = append(list, f)
		}
	}
	return list[:min(len(list), q.Limit)], w.away
}

func (w *ward) FailureCounts(context.Context, contact.FailureQuery) ([]contact.FailureCount, error) {
	if len(w.failures) == 0 {
		return nil, w.away
	}
	return []contact.FailureCount{{Code: "duplicate", Count: int64(len(w.failures))}}, w.away
}

func (w *ward) PreviewRetries(_ context.Context, refs []contact.WriteRef, force bool) ([]contact.RetryPreview, error) {
	list := make([]contact.RetryPreview, 0, len(refs))
	for _, ref := range refs {
		p := contact.RetryPreview{Failure: contact.Failure{WriteRef: ref, Code: "duplicate", Kind: contact.KindPatch}}
		p.Outcome.State = contact.Applied
		p.Outcome.Changes = []contact.Change{{Field: "company_name", Old: []byte(`null`), New: []byte(`"<b>Acme</b>"`)}}
		title := contact.Change{Field: "job_title", Old: []byte(`"CEO"`), New: []byte(`"CFO"`)}
		if force {
			p.Outcome.Changes = append(p.Outcome.Changes, title)
		} else {
			p.Outcome.Skipped = []contact.Skip{{Field: title.Field, Reason: contact.SkipChangedSince}}
		}
		list = append(list, p)
	}
	return list, w.away
}

func (w *ward) DiscardMany(_ context.Context, refs []contact.WriteRef) (int, error) {
	return len(refs), w.away
}

func (w *ward) Write(context.Context, uuid.UUID, uuid.UUID) (contact.Record, error) {
	return contact.Record{}, w.away
}

func (w *ward) Writes(context.Context, contact.WriteQuery) (contact.WritePage, error) {
	return contact.WritePage{}, w.away
}

func (w *ward) ChangeLog(context.Context, contact.LogQuery) (contact.LogPage, error) {
	return contact.LogPage{}, w.away
}

func (w *ward) AccountsOfWrite(_ context.Context, id uuid.UUID) ([]uuid.UUID, error) {
	for _, f := range w.failures {
		if f.ID == id {
			return []uuid.UUID{f.Account}, w.away
		}
	}
	return nil, w.away
}

func (w *ward) AccountsOfContact(context.Context, uuid.UUID) ([]uuid.UUID, error) { return nil, w.away }

func (w *ward) Undecided(context.Context) (int64, int64, error) { return 1, 2, w.away }

func (w *ward) Reviews(context.Context, contact.ReviewQuery) (contact.ReviewPage, error) {
	return contact.ReviewPage{}, w.away
}

func (w *ward) Quarantined(context.Context, contact.QuarantineQuery) (contact.QuarantinePage, error) {
	return contact.QuarantinePage{Events: []contact.Event{{Evidence: []byte("<script>alert(1)</script>\xff")}}}, w.away
}

func (w *ward) DismissReview(_ context.Context, _, id uuid.UUID, who string) (contact.OptOutReview, error) {
	w.decided = append(w.decided, "dismiss "+id.String()+" "+who)
	return contact.OptOutReview{}, w.away
}

func (w *ward) AcceptReview(_ context.Context, _, id uuid.UUID, who string) error {
	w.decided = append(w.decided, "accept "+id.String()+" "+who)
	return w.away
}

func (w *ward) Replay(ctx context.Context, how api.Replay) (api.ReplayProgress, error) {
	w.mu.Lock()
	w.replays = append(w.replays, how)
	w.mu.Unlock()
	how.Progress(api.ReplayProgress{Retried: 1})
	select {
	case <-w.hold:
		return api.ReplayProgress{Retried: 2}, nil
	case <-ctx.Done():
		return api.ReplayProgress{Retried: 1}, ctx.Err()
	}
}

func (w *ward) Accounts(context.Context) ([]contact.Account, error) {
	return []contact.Account{{ID: uuid.UUID{1}, Name: "Acme"}}, w.away
}

func (w *ward) KeysChangedSince(context.Context, time.Time) ([]contact.Key, error) {
	return []contact.Key{{Account: uuid.UUID{1}, Prefix: "pl_abc", Hash: [32]byte{0xaa}, Dialect: "native"}}, w.away
}

func (w *ward) EndpointsChangedSince(context.Context, time.Time) ([]contact.Endpoint, error) {
	return []contact.Endpoint{{Account: uuid.UUID{1}, Provider: "twilio", Secrets: []string{"the-secret"}, BasicAuth: []string{"u:the-secret"}}}, w.away
}

func (w *ward) LogOperator(_ context.Context, a contact.OperatorAction) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, a)
	return w.away
}

func (w *ward) OperatorLog(context.Context, int, string) ([]contact.OperatorAction, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log, "", w.away
}

// desk is a console and a browser without scripts before it.
type desk struct {
	*ward
	t       *testing.T
	console *Console
	cookie  *http.Cookie
}

func newDesk(t *testing.T, token string) *desk {
	t.Helper()
	w := &ward{hold: make(chan struct{})}
	c, err := New(Options{
		Token: token, Lanes: w, Failures: w, Ledger: w, Optouts: w, Book: w, API: w, LaneCount: 8,
		Ready:  func(context.Context) api.Readiness { return api.Readiness{Ready: true, Redis: "ok", Postgres: "ok"} },
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &desk{ward: w, t: t, console: c}
}

// send sends a request with the session's cookie, and keeps the one that comes.
func (d *desk) send(method, path string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	d.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if d.cookie != nil {
		r.AddCookie(d.cookie)
	}
	w := httptest.NewRecorder()
	d.console.ServeHTTP(w, r)
	for _, k := range w.Result().Cookies() {
		d.cookie = k
	}
	return w
}

func (d *desk) get(path string) *httptest.ResponseRecorder {
	d.t.Helper()
	return d.send(http.MethodGet, path, nil)
}

// act posts a form with the token that a page of the session has.
func (d *desk) act(path string, values ...string) *httptest.ResponseRecorder {
	d.t.Helper()
	found := regexp.MustCompile(`name="form" value="([^"]+)"`).FindStringSubmatch(d.get("/ops/lanes").Body.String())
	if found == nil {
		d.t.Fatal("no form on the page")
	}
	form := url.Values{"form": {found[1]}}
	for i := 0; i+1 < len(values); i += 2 {
		form.Add(values[i], values[i+1])
	}
	return d.send(http.MethodPost, path, form)
}

func (d *desk) login(name string) *httptest.ResponseRecorder {
	d.t.Helper()
	return d.send(http.MethodPost, "/ops/login", url.Values{"token": {token}, "name": {name}, "to": {"/ops/failed"}})
}

func everyPage() []string {
	return []string{"/ops", "/ops/lanes", "/ops/failed", "/ops/failed/retry", "/ops/optouts", "/ops/follow", "/ops/keys", "/ops/log"}
}

func TestLoginIsNeeded(t *testing.T) {
	t.Parallel()
	d := newDesk(t, token)
	for _, path := range everyPage() {
		w := d.get(path)
		if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/ops/login?to=") || strings.Contains(w.Body.String(), "Acme") {
			t.Errorf("%s: %d to %q", path, w.Code, w.Header().Get("Location"))
		}
		if w := d.send(http.MethodGet, path, nil, "Authorization", "Bearer "+token); w.Code != http.StatusOK {
			t.Errorf("%s with the token: %d", path, w.Code)
		} else if strings.Contains(w.Body.String(), `name="form"`) {
			t.Errorf("%s: a bearer token is given forms", path)
		}
		if w := d.send(http.MethodGet, path, nil, "Authorization", "Bearer nothing"); w.Code != http.StatusSeeOther {
			t.Errorf("%s with another token: %d", path, w.Code)
		}
	}
	if w := d.send(http.MethodPost, "/ops/pause", url.Values{"scope": {"writes"}}, "Authorization", "Bearer "+token); w.Code != http.StatusSeeOther {
		t.Errorf("pause by a bearer token: %d", w.Code)
	}
	w := d.login("Ada\x00\n Lovelace")
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/ops/failed" {
		t.Fatalf("login: %d to %q", w.Code, w.Header().Get("Location"))
	}
	k := d.cookie
	if !k.HttpOnly || k.SameSite != http.SameSiteStrictMode || k.Path != "/ops" || strings.Contains(k.Value, token) {
		t.Errorf("cookie %+v", k)
	}
	if w := d.get("/ops"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Ada Lovelace") {
		t.Errorf("after the login: %d", w.Code)
	}
	if w := d.act("/ops/logout"); w.Code != http.StatusSeeOther || d.cookie.MaxAge >= 0 {
		t.Errorf("logout: %d, %+v", w.Code, d.cookie)
	}
}

func TestLoginRefuses(t *testing.T) {
	t.Parallel()
	d := newDesk(t, token)
	codes := map[int]int{}
	for range loginBurst + 5 {
		codes[d.send(http.MethodPost, "/ops/login", url.Values{"token": {"guess"}, "name": {"Eve"}}).Code]++
	}
	if codes[http.StatusForbidden] != loginBurst || codes[http.StatusTooManyRequests] != 5 || d.cookie != nil {
		t.Errorf("answers %v, cookie %v", codes, d.cookie)
	}
	for to, want := range map[string]string{
		"": "/ops", "/ops/log": "/ops/log", "/ops/failed?code=x": "/ops/failed?code=x", "//evil.example": "/ops",
		"https://evil.example/ops": "/ops", "/ops/\\evil": "/ops", "/opsx": "/ops", "/ops//evil": "/ops", "/ops/logout": "/ops",
	} {
		if got := ownPath(to); got != want {
			t.Errorf("%q goes to %q, want %q", to, got, want)
		}
	}
}

func TestSessionsCannotBeForged(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := newSessions(token, func() time.Time { return now })
	good := s.cookie(s.start("Ada"), true)
	read := func(value string) *session {
		r := httptest.NewRequest(http.MethodGet, "/ops", http.NoBody)
		r.AddCookie(&http.Cookie{Name: cookieName, Value: value})
		return s.read(r)
	}
	if v := read(good.Value); v == nil || v.name != "Ada" || !good.Secure {
		t.Errorf("good session %+v", v)
	}
	parts := strings.Split(good.Value, ".")
	for name, value := range map[string]string{
		"empty": "", "no signature": strings.Join(parts[:3], "."), "later": "9" + good.Value,
		"another name":  strings.Join([]string{parts[0], parts[1], "RXZl", parts[3]}, "."),
		"another token": newSessions("another-token-here", time.Now).text(s.start("Ada")),
		"a form token":  strings.Join(parts[:3], ".") + "." + s.formToken(s.start("Ada")),
	} {
		if v := read(value); v != nil {
			t.Errorf("%s is taken: %+v", name, v)
		}
	}
	now = now.Add(sessionTime + time.Second)
	if read(good.Value) != nil {
		t.Error("a session outlives its time")
	}
}

func TestChangesNeedAFormOfTheSession(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "")
	d.get("/ops") // starts a session
	other := d.console.sessions.formToken(d.console.sessions.start("Eve"))
	for name, form := range map[string]url.Values{
		"no token": {"scope": {"writes"}}, "another session's": {"scope": {"writes"}, "form": {other}},
	} {
		if w := d.send(http.MethodPost, "/ops/pause", form); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	good := url.Values{"scope": {"writes"}, "form": {d.console.sessions.formToken(d.console.sessions.read(requestWith(d.cookie)))}}
	for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		if w := d.send(http.MethodPost, "/ops/pause", good, headers...); w.Code != http.StatusForbidden {
			t.Errorf("%v: %d", headers, w.Code)
		}
	}
	if len(d.pauses) > 0 {
		t.Fatalf("paused: %+v", d.pauses)
	}
	if w := d.send(http.MethodPost, "/ops/pause", good, "Sec-Fetch-Site", "same-origin"); w.Code != http.StatusSeeOther || len(d.pauses) != 1 {
		t.Errorf("the session's own form: %d", w.Code)
	}
}

func requestWith(k *http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/ops", http.NoBody)
	r.AddCookie(k)
	return r
}

func TestPagesAreTheirOwn(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "")
	d.failures = []contact.Failure{{WriteRef: contact.WriteRef{Account: uuid.UUID{1}, ID: uuid.New()}, Code: "duplicate", Message: "<i>x</i>", Origin: time.Now()}}
	for _, path := range append(everyPage(), "/ops/failed/"+d.failures[0].ID.String(), "/ops/console.css", "/ops/console.js") {
		w := d.get(path)
		body := w.Body.String()
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, body)
		}
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %q", path, policy)
		}
		for _, bad := range []string{"the-secret", "aa0000", "<script>alert", "<b>Acme", "<i>x", " style=", "onclick", "//cdn", "http://", "https://"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s holds %q", path, bad)
			}
		}
	}
	page := d.get("/ops/failed/" + d.failures[0].ID.String()).Body.String()
	for _, want := range []string{"changes it", "leaves it", "changed since", "&lt;b&gt;Acme", "CEO", "CFO"} {
		if !strings.Contains(page, want) {
			t.Errorf("the preview lacks %q", want)
		}
	}
	if w := d.get("/ops/failed/" + uuid.NewString()); w.Code != http.StatusNotFound {
		t.Errorf("no such write: %d", w.Code)
	}
	for _, path := range []string{"/ops/failed?account=x", "/ops/failed?since=soon", "/ops/failed?after=1", "/ops/follow?id=x"} {
		if w := d.get(path); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// At night something is away: the overview says what, and no page breaks.
func TestPagesDuringAnOutage(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "")
	d.away = errors.New("dial tcp: secret-host refused")
	for _, path := range everyPage() {
		w := d.get(path)
		want := http.StatusServiceUnavailable
		if path == "/ops" || path == "/ops/follow" {
			want = http.StatusOK
		}
		if w.Code != want || strings.Contains(w.Body.String(), "secret-host") {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if body := d.get("/ops").Body.String(); !strings.Contains(body, "Redis does not answer") || !strings.Contains(body, "Postgres does not answer") {
		t.Error("the overview does not say what is away")
	}
}
