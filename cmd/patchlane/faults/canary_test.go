package faults

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// canaries puts keys and personal data into every place of a request, good and
// bad, while logs hold everything and the servers are cut off again and again.
// What any process logs, counts, profiles or tells of an error is then searched
// for them; inject does so for logs, metrics and errors in every entry.
func canaries(r *run) {
	r.env = append(r.env, "PATCHLANE_LOG_LEVEL=debug")
	apis, workers := r.processes(1, 1)
	api := apis[0]
	if u, err := url.Parse(r.pg.URL()); err == nil {
		if password, set := u.User.Password(); set && len(password) > 3 {
			r.secret(password)
		}
	}
	tr := r.begin(r.t, apis, load{contacts: 10, clients: 2, pace: 20 * time.Millisecond}, r.seed)
	people := r.createContacts(r.t, api.url, 2)
	r.exchange(api)
	for round := range r.rounds(1, 5) {
		r.whisper(api, people, round)
		for _, w := range []*wire{r.apiPostgres, r.apiRedis, r.workerPostgres, r.workerRedis} {
			w.partition()
			r.whisper(api, people, round)
			w.heal()
			r.pass(500 * time.Millisecond)
		}
	}
	r.judge(tr.end())
	for _, p := range append(apis, workers...) {
		for _, page := range []string{"goroutine?debug=2", "heap?debug=1", "allocs?debug=1", "cmdline", "", "threadcreate?debug=1"} {
			_, body := p.probe("/debug/pprof/" + page)
			r.search("profile "+page+" of "+p.role, body)
		}
	}
}

// search looks for what may stand nowhere.
func (r *run) search(where, text string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, secret := range append([]string{canary}, r.private...) {
		if i := strings.Index(text, secret); i >= 0 {
			r.t.Errorf("%s holds %q: …%s…", where, secret, text[max(0, i-80):min(len(text), i+120)])
		}
	}
}

// exchange exchanges the key for an access token and uses it, and makes a link.
func (r *run) exchange(api *process) {
	r.t.Helper()
	id := r.keyID()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {r.key}}
	res, err := plainClient.PostForm(api.url+"/oauth2/token", form)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil || token.AccessToken == "" {
		r.t.Fatalf("token: %d %v", res.StatusCode, err)
	}
	r.secret(token.AccessToken)
	if status, body, err := r.callAs(r.t.Context(), token.AccessToken, http.MethodGet, api.url+"/v1/contacts?limit=1", nil, nil); err != nil || status != http.StatusOK {
		r.t.Fatalf("with the token: %d %s %v", status, body, err)
	}
	r.injected(1)
}

// keyID is the id of the stack's key.
func (r *run) keyID() string {
	r.t.Helper()
	var id string
	err := r.postgres(r.t).QueryRow(r.t.Context(), `SELECT id::text FROM api_keys WHERE account_id = $1 ORDER BY created_at LIMIT 1`, r.account).Scan(&id)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// whisper sends secrets and addresses in every place where a client might.
func (r *run) whisper(api *process, people []person, round int) {
	secret := fmt.Sprintf("%s-secret-%d", canary, round)
	a, b := people[0], people[1]
	contact := "/v1/contacts/" + a.id
	for _, w := range []struct {
		method, path, auth, body string
		header                   http.Header
	}{
		{"PATCH", contact, "Bearer " + r.key, `{"email":"` + b.email + `"}`, http.Header{"Prefer": {"wait=1"}}}, // a duplicate
		{"PATCH", contact, "Bearer " + r.key, `{"phone":"` + a.phone + `x","email":"` + secret + `","date_of_birth":"` + secret + `"}`, nil},
		{"PATCH", contact, "Bearer " + r.key, `{"notes_append":"` + secret + `"`, nil},
		{"PATCH", contact, "Bearer " + r.key, `{"notes_append":"` + secret + `\u0000"}`, nil},
		{"PATCH", contact, "Bearer " + r.key, `"` + secret + `"`, nil},
		{"PATCH", contact, "Bearer " + r.key, `{"tags":["` + secret + `"],"custom_fields":{"x":"` + secret + `"}}`, nil},
		{"PATCH", contact, "Bearer " + r.key, `{}`, http.Header{"Idempotency-Key": {secret}, "If-Match": {secret}, "X-As-Of": {secret}, "Prefer": {secret}}},
		{"PATCH", contact, "Bearer " + r.key, `{"metadata":{"` + secret + `":"` + secret + `"}}`, http.Header{"Prefer": {"respond-async"}}},
		{"PATCH", "/v1/contacts/" + secret, "Bearer " + r.key, `{}`, nil},
		{"GET", "/v1/contacts/" + url.PathEscape(a.phone), "Bearer " + r.key, "", nil},
		{"GET", "/v1/contacts?email=" + url.QueryEscape(a.email) + "&phone=" + url.QueryEscape(a.phone) + "&cursor=" + secret, "Bearer " + r.key, "", nil},
		{"GET", "/v1/contacts?email=" + url.QueryEscape(a.email), "Bearer " + r.key, "", nil},
		{"GET", "/v1/suppressions?channel=sms&address=" + url.QueryEscape(a.phone), "Bearer " + r.key, "", nil},
		{"POST", "/v1/suppressions", "Bearer " + r.key, `{"channel":"sms","address":"` + secret + `"}`, nil},
		{"POST", "/v1/contacts/batch", "Bearer " + r.key, `{"writes":[{"id":"` + secret + `","patch":{"email":"` + secret + `"}}]}`, nil},
		{"POST", "/v1/webhook-endpoints", "Bearer " + r.key, `{"provider":"twilio","secret":"` + secret + `","topic_arn":"` + secret + `"}`, nil},
		{"POST", "/v1/webhook-endpoints", "Bearer " + r.key, `{"provider":"` + secret + `","secret":"` + secret + `"}`, nil},
		{"GET", contact, "Bearer pl_" + secret, "", nil},
		{"GET", contact, "Basic " + secret, "", nil},
		{"GET", contact, "Bearer eyJhbGciOiJFZERTQSIsImtpZCI6IjEifQ." + secret + "." + secret, "", nil},
		{"POST", "/oauth2/token", "", "grant_type=client_credentials&client_id=" + secret + "&client_secret=" + secret, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}},
		{"POST", r.hook.path, "", `{"type":"contact.sms.opted_out","data":{"phone":"` + a.phone + `"}}`, http.Header{"Webhook-Signature": {"v1," + secret}, "Webhook-Id": {secret}, "Webhook-Timestamp": {secret}}},
		{"POST", r.hook.path + "?token=" + secret, "Basic " + secret, secret, nil},
		{"GET", "/v1/unsubscribe/" + secret, "", "", nil},
		{"GET", "/" + secret, "Bearer " + r.key, "", http.Header{"Cookie": {secret}, "Referer": {secret}, "User-Agent": {secret}, "X-Forwarded-For": {secret}, "Traceparent": {secret}}},
	} {
		req, err := http.NewRequestWithContext(r.t.Context(), w.method, api.url+w.path, strings.NewReader(w.body))
		if err != nil {
			r.t.Fatal(err)
		}
		maps.Copy(req.Header, w.header)
		if w.auth != "" {
			req.Header.Set("Authorization", w.auth)
		}
		if req.Header.Get("Content-Type") == "" {
			req.Header.Set("Content-Type", "application/json")
		}
		r.listen(req)
	}
}

// listen sends a request and keeps the answer, if it is an error.
func (r *run) listen(req *http.Request) {
	r.injected(1)
	res, err := r.client.Do(req)
	if err != nil {
		return // A wire was cut.
	}
	defer func() { _ = res.Body.Close() }()
	var b strings.Builder
	_ = res.Header.Write(&b)
	buffer := make([]byte, 8<<10)
	n, _ := res.Body.Read(buffer)
	if res.StatusCode >= http.StatusBadRequest {
		r.hear([]byte(b.String() + string(buffer[:n])))
	}
}
