package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"patchlane/api/signature"
	"patchlane/tasks/contact"
)

const (
	sampleTopic = "arn:aws:sns:us-east-1:123456789012:ses-feedback"
	sampleCert  = "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
)

// samples is the table of the providers' samples.
type samples struct {
	Clock    int64             `json:"clock"`
	Secrets  map[string]string `json:"secrets"`
	Fixtures []sampleCase      `json:"fixtures"`
}

// sampleCase is one sample and what is wanted of it.
type sampleCase struct {
	File     string            `json:"file"`
	Provider string            `json:"provider"`
	Method   string            `json:"method"`
	URL      string            `json:"url"`
	Headers  map[string]string `json:"headers"`
	Verified bool              `json:"verified"`
	Expect   []struct {
		Channel, Action, Cause, Address string
	} `json:"expect"`
	Respond string `json:"respond"`
}

func readSamples(t *testing.T) samples {
	t.Helper()
	var s samples
	if err := json.Unmarshal(sampleFile(t, "manifest.json"), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (c *sampleCase) provider() signature.Provider {
	return signature.Provider(strings.TrimSuffix(c.Provider, "-sms"))
}

// secretOf is what the endpoint of a sample verifies with.
func (s *samples) secretOf(p signature.Provider) string {
	return s.Secrets[map[signature.Provider]string{
		signature.Twilio: "twilio_auth_token", signature.Vonage: "vonage_signature_secret",
		signature.Telnyx: "telnyx_public_key", signature.Plivo: "plivo_auth_token",
		signature.MessageBird: "messagebird_signing_key", signature.Bird: "bird_signing_key",
		signature.SendGrid: "sendgrid_public_key", signature.Mailgun: "mailgun_signing_key",
		signature.Postmark: "basic_auth", signature.SparkPost: "basic_auth", signature.Brevo: "brevo_bearer",
		signature.Mandrill: "mandrill_webhook_key", signature.Resend: "resend_secret", signature.Standard: "standard_secret",
	}[p]]
}

// hookBench is a server at the time of the samples.
type hookBench struct {
	*bench
	samples samples
	now     time.Time
}

func setupHooks(t *testing.T) *hookBench {
	t.Helper()
	h := &hookBench{bench: setup(t), samples: readSamples(t)}
	h.now = time.Unix(h.samples.Clock, 0).UTC()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, sampleCert), sampleFile(t, "keys/sns_test_cert.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.hooks.verifier = signature.NewVerifier(signature.CertDir(dir))
	h.reg = prometheus.NewRegistry()
	h.server = h.hookServer(t, h.reg)
	return h
}

func (h *hookBench) hookServer(t *testing.T, reg prometheus.Registerer) *Server {
	t.Helper()
	o := h.options(reg)
	o.Now = func() time.Time { return h.now }
	return newServerWith(t, o)
}

// endpoint makes an endpoint by the API.
func (h *hookBench) endpoint(t *testing.T, p signature.Provider) uuid.UUID {
	t.Helper()
	body := map[string]any{"provider": p}
	if p == signature.SES {
		body["topic_arn"] = sampleTopic
	} else {
		body["secret"] = h.samples.secretOf(p)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r := h.do(t, "POST", "/v1/webhook-endpoints", string(raw)).want(t, 201, "")
	if strings.Contains(string(r.raw), h.samples.secretOf(p)) && p != signature.SES {
		t.Fatalf("the secret is shown: %s", r.raw)
	}
	id, err := uuid.Parse(r.str("id"))
	if err != nil || r.str("url") != h.hooks.publicURL+EndpointPath(id) {
		t.Fatalf("answered %s", r.raw)
	}
	return id
}

// deliver posts raw bytes to an endpoint.
func (h *hookBench) deliver(t *testing.T, id uuid.UUID, req signature.Request) response {
	t.Helper()
	return h.deliverTo(t, h.server, EndpointPath(id), req)
}

func (h *hookBench) deliverTo(t *testing.T, s *Server, path string, req signature.Request) response {
	t.Helper()
	if req.RawQuery != "" {
		path += "?" + req.RawQuery
	}
	r := httptest.NewRequest(req.Method, path, strings.NewReader(string(req.Body)))
	r.Header = req.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	checked := r.Clone(t.Context())
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	a := response{Response: w.Result(), raw: w.Body.Bytes()}
	conform(t, checked, string(req.Body), a)
	return a
}

// request is a sample as it arrives at an endpoint of ours: where the address
// is signed, it is signed again for ours.
func (h *hookBench) request(t *testing.T, c *sampleCase, id uuid.UUID) signature.Request {
	t.Helper()
	u, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	req := signature.Request{
		Method: c.Method, Header: http.Header{}, RawQuery: u.RawQuery, Body: sampleFile(t, c.File), ReceivedAt: h.now,
	}
	for name, value := range c.Headers {
		req.Header.Set(name, value)
	}
	switch c.provider() {
	case signature.Twilio, signature.Plivo, signature.Mandrill, signature.MessageBird, signature.Bird:
		key := h.samples.secretOf(c.provider())
		if strings.Contains(c.File, "test_empty") {
			key = "test-webhook"
		}
		ep := signature.Endpoint{Provider: c.provider(), URL: h.hooks.publicURL + EndpointPath(id)}
		if err := signature.Sign(ep, &req, key); err != nil {
			t.Fatal(err)
		}
	default:
	}
	return req
}

// TestEverySample posts each sample of the table through the handler.
func TestEverySample(t *testing.T) {
	t.Parallel()
	all := readSamples(t)
	if len(all.Fixtures) != 89 {
		t.Fatalf("the table has %d samples", len(all.Fixtures))
	}
	for _, c := range all.Fixtures {
		t.Run(c.File, func(t *testing.T) {
			t.Parallel()
			h := setupHooks(t)
			id := h.endpoint(t, c.provider())
			r := h.deliver(t, id, h.request(t, &c, id))
			if !c.Verified {
				if r.StatusCode != http.StatusForbidden && r.StatusCode != http.StatusUnauthorized {
					t.Fatalf("answered %d", r.StatusCode)
				}
				if len(h.hooks.taken()) != 0 {
					t.Fatal("something of a refused request was kept")
				}
				return
			}
			h.checkSample(t, &c, r)
		})
	}
}

func (h *hookBench) checkSample(t *testing.T, c *sampleCase, r response) {
	t.Helper()
	twiml := c.provider() == signature.Twilio
	if r.StatusCode != http.StatusOK || (twiml && string(r.raw) != "<Response/>") || (!twiml && len(r.raw) > 0) {
		t.Fatalf("answered %d %q, wanted %s", r.StatusCode, r.raw, c.Respond)
	}
	var got, want []string
	for _, e := range h.hooks.taken() {
		if e.Action == contact.StartIfStopped || e.Action == contact.Note {
			continue
		}
		action := e.Action.String()
		if e.Action == contact.Start || e.Action == contact.Resubscribe {
			action = "opt_in"
		}
		got = append(got, fmt.Sprint(e.Channel, " ", action, " ", e.Reason, " ", e.Address))
		if e.Account != h.key.Account || e.Source != contact.SourceWebhook || e.Provider != string(c.provider()) {
			t.Errorf("event %+v", e)
		}
	}
	for _, e := range c.Expect {
		if e.Action != "none" {
			want = append(want, fmt.Sprint(e.Channel, " ", e.Action, " ", e.Cause, " ", e.Address))
		}
	}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("kept %q, wanted %q", got, want)
	}
	if confirms := strings.Contains(c.File, "subscription_confirmation"); confirms != (len(h.hooks.confirmed) == 1) {
		t.Errorf("confirmed %q", h.hooks.confirmed)
	}
}

// stops is a signed STOP by Twilio.
func (h *hookBench) stop(t *testing.T, id uuid.UUID) signature.Request {
	t.Helper()
	return h.request(t, h.sample(t, "twilio/sms_stop_default.txt"), id)
}

func (h *hookBench) sample(t *testing.T, file string) *sampleCase {
	t.Helper()
	for i := range h.samples.Fixtures {
		if h.samples.Fixtures[i].File == file {
			return &h.samples.Fixtures[i]
		}
	}
	t.Fatalf("no sample %s", file)
	return nil
}

func TestRefusedWebhooksKeepNothing(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]struct {
		do     func(h *hookBench, req *signature.Request)
		status int
		reason string
	}{
		"flipped byte":  {func(_ *hookBench, q *signature.Request) { q.Body[len(q.Body)/2] ^= 1 }, 403, "bad_signature"},
		"no signature":  {func(_ *hookBench, q *signature.Request) { q.Header.Del("X-Twilio-Signature") }, 403, "missing_signature"},
		"duplicate key": {func(_ *hookBench, q *signature.Request) { q.Body = append(q.Body, "&From=%2B1"...) }, 403, "bad_signature"},
		"too large": {
			func(_ *hookBench, q *signature.Request) { q.Body = make([]byte, signature.MaxBody+1) }, 413, "too_large",
		},
		"largest body": {
			func(_ *hookBench, q *signature.Request) { q.Body = make([]byte, signature.MaxBody) }, 403, "bad_signature",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := setupHooks(t)
			id := h.endpoint(t, signature.Twilio)
			req := h.stop(t, id)
			spoil.do(h, &req)
			if r := h.deliver(t, id, req); r.StatusCode != spoil.status {
				t.Errorf("answered %d, wanted %d", r.StatusCode, spoil.status)
			}
			if len(h.hooks.taken()) != 0 {
				t.Error("an event was kept")
			}
			if n := h.counter(t, "patchlane_webhook_refusals_total", "twilio", spoil.reason); n != 1 {
				t.Errorf("counted %v refusals for %s\n%s", n, spoil.reason, h.log.String())
			}
		})
	}
}

// counter reads a counter with two label values, whatever the names.
func (h *hookBench) counter(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := h.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			values := map[string]bool{}
			for _, l := range m.GetLabel() {
				values[l.GetValue()] = true
			}
			match := len(values) == len(labels)
			for _, l := range labels {
				match = match && values[l]
			}
			if match {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

func TestStaleAndForgedWebhooks(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	id := h.endpoint(t, signature.Standard)
	req := h.request(t, h.sample(t, "standard/sms_opted_out.json"), id)
	h.now = h.now.Add(6 * time.Minute)
	if r := h.deliver(t, id, req); r.StatusCode != 401 {
		t.Errorf("a stale signature is answered %d", r.StatusCode)
	}
	if n := h.counter(t, "patchlane_webhook_refusals_total", "standard", "stale"); n != 1 {
		t.Errorf("counted %v", n)
	}

	ses := setupHooks(t)
	id = ses.endpoint(t, signature.SES)
	good := ses.request(t, ses.sample(t, "ses/bounce_permanent_general.json"), id)
	for from, to := range map[string]string{
		"https://sns.us-east-1.amazonaws.com/Simple": "https://sns.us-east-1.amazonaws.com.evil.example/Simple",
		"123456789012:ses-feedback":                  "999999999999:ses-feedback",
	} {
		bad := good
		bad.Header = http.Header{"Content-Type": {"text/plain; charset=UTF-8"}}
		bad.Body = []byte(strings.ReplaceAll(string(good.Body), from, to))
		if r := ses.deliver(t, id, bad); r.StatusCode != 403 {
			t.Errorf("%s: answered %d", to, r.StatusCode)
		}
	}
	if len(ses.hooks.taken()) != 0 {
		t.Error("an event was kept")
	}
}

// TestTokensAreConsumedWithTheirBody: Mailgun signs a token, not the body.
func TestTokensAreConsumedWithTheirBody(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	id := h.endpoint(t, signature.Mailgun)
	req := h.request(t, h.sample(t, "mailgun/complained.json"), id)
	for range 2 {
		if r := h.deliver(t, id, req); r.StatusCode != 200 {
			t.Fatalf("answered %d", r.StatusCode)
		}
	}
	forged := req
	forged.Body = []byte(strings.ReplaceAll(string(req.Body), "jane.doe@example.com", "victim@example.com"))
	if r := h.deliver(t, id, forged); r.StatusCode != 406 {
		t.Errorf("a token with another body is answered %d", r.StatusCode)
	}
	// A second endpoint of the account with the same key takes it no more.
	if r := h.deliver(t, h.endpoint(t, signature.Mailgun), forged); r.StatusCode != 406 {
		t.Errorf("a token with another body at another endpoint is answered %d", r.StatusCode)
	}
	if n := h.counter(t, "patchlane_webhook_refusals_total", "mailgun", "replayed_token"); n != 2 {
		t.Errorf("counted %v", n)
	}
	if got := h.hooks.standing(h.key.Account, contact.EmailChannel, "victim@example.com"); got != "" {
		t.Errorf("the victim is %s", got)
	}
	if got := h.hooks.standing(h.key.Account, contact.EmailChannel, "jane.doe@example.com"); got != "complaint" {
		t.Errorf("jane is %q", got)
	}
	h.hooks.set(func() { h.hooks.mirrorErr = errAway })
	if r := h.deliver(t, id, req); r.StatusCode != 503 {
		t.Errorf("with Redis away: %d", r.StatusCode)
	}
}

// TestOverloadIsTheProvidersOwn: the same outage in the words of each.
func TestOverloadIsTheProvidersOwn(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]int{
		"twilio/sms_stop_default.txt": 503, "brevo/hard_bounce.json": 429, "ses/bounce_permanent_general.json": 503,
		"mailgun/complained.json": 503, "postmark/spam_complaint.json": 503, "standard/sms_opted_out.json": 503,
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			h := setupHooks(t)
			c := h.sample(t, file)
			id := h.endpoint(t, c.provider())
			h.hooks.set(func() {
				h.hooks.appendErr = &contact.Error{Code: contact.CodeOverloaded, Message: "Full.", RetryAfter: 7 * time.Second}
			})
			req := h.request(t, c, id)
			r := h.deliver(t, id, req)
			if r.StatusCode != want || r.Header.Get("Retry-After") != "7" {
				t.Errorf("answered %d, Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
			}
			h.hooks.set(func() { h.hooks.appendErr = nil })
			if r := h.deliver(t, id, req); r.StatusCode != 200 || len(h.hooks.taken()) != 1 {
				t.Errorf("the repetition is answered %d, kept %d", r.StatusCode, len(h.hooks.taken()))
			}
			if n := h.counter(t, "patchlane_webhook_requests_total", string(c.provider()), "overloaded"); n != 1 {
				t.Errorf("counted %v", n)
			}
		})
	}
}

// TestFloodOfAnEndpoint takes a second's worth of one provider and tells it to
// come back, in its own words. Forged requests use up nothing of that, and no
// other endpoint notices.
func TestFloodOfAnEndpoint(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	h.reg = prometheus.NewRegistry()
	o := h.options(h.reg)
	o.Now = func() time.Time { return h.now }
	o.Optouts.Rate = 3
	h.server = newServerWith(t, o)
	brevo, standard := h.endpoint(t, signature.Brevo), h.endpoint(t, signature.Standard)
	req := h.request(t, h.sample(t, "brevo/hard_bounce.json"), brevo)
	forged := req
	forged.Header = http.Header{"Authorization": {"Bearer guessed"}, "Content-Type": {"application/json"}}
	for range 20 {
		if r := h.deliver(t, brevo, forged); r.StatusCode != 401 {
			t.Fatalf("forged: %d", r.StatusCode)
		}
	}
	for i, want := range []int{200, 200, 200, 429, 429} {
		r := h.deliver(t, brevo, req)
		if r.StatusCode != want || (want == 429) != (r.Header.Get("Retry-After") != "") {
			t.Errorf("request %d: %d, Retry-After %q, want %d", i, r.StatusCode, r.Header.Get("Retry-After"), want)
		}
	}
	if r := h.deliver(t, standard, h.request(t, h.sample(t, "standard/sms_opted_out.json"), standard)); r.StatusCode != 200 {
		t.Errorf("another endpoint: %d", r.StatusCode)
	}
	h.now = h.now.Add(time.Second)
	if r := h.deliver(t, brevo, req); r.StatusCode != 200 {
		t.Errorf("a second later: %d", r.StatusCode)
	}
}

// TestEndpointsAreFoundWithoutPostgres and, for the right words of a refusal,
// remembered without anybody.
func TestEndpointsAreFoundWithoutPostgres(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	id := h.endpoint(t, signature.Brevo)
	req := h.request(t, h.sample(t, "brevo/hard_bounce.json"), id)
	h.hooks.set(func() { h.hooks.storeErr = errAway })
	if r := h.deliver(t, id, req); r.StatusCode != 200 {
		t.Errorf("with Postgres away: %d", r.StatusCode)
	}
	h.hooks.set(func() { h.hooks.mirrorErr, h.hooks.appendErr = errAway, errAway })
	if r := h.deliver(t, id, req); r.StatusCode != 429 {
		t.Errorf("with both away: %d", r.StatusCode)
	}
	h.hooks.set(func() {
		h.hooks.mirrorErr, h.hooks.appendErr, h.hooks.storeErr = nil, nil, nil
		clear(h.hooks.mirrored)
	})
	if r := h.deliver(t, id, req); r.StatusCode != 200 || h.hooks.fills != 1 {
		t.Errorf("with an empty mirror: %d, %d fills", r.StatusCode, h.hooks.fills)
	}
	if r := h.deliver(t, uuid.New(), req); r.StatusCode != 404 {
		t.Errorf("an unknown endpoint is answered %d", r.StatusCode)
	}
	other := newHookWorld()
	other.storeErr, other.mirrorErr = errAway, errAway
	h.hooks.set(func() { h.hooks.storeErr, h.hooks.mirrorErr = errAway, errAway })
	if r := h.deliverTo(t, h.hookServer(t, prometheus.NewRegistry()), EndpointPath(id), req); r.StatusCode != 503 {
		t.Errorf("a process that knows nothing yet answers %d", r.StatusCode)
	}
}

// TestBatchesAreSplit: one bad element costs no other, and a large batch goes in
// by parts.
func TestBatchesAreSplit(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	id := h.endpoint(t, signature.SparkPost)
	const n = 2500
	list := make([]string, 0, n+2)
	for i := range n {
		list = append(list, fmt.Sprintf(`{"msys":{"message_event":{"type":"bounce","event_id":"%d","rcpt_to":"p%d@example.com","timestamp":"1795140001","bounce_class":"10"}}}`, i, i))
	}
	list = append(list, `{"msys":{"message_event":"nonsense"}}`, `{"msys":{"message_event":{"type":"bounce","event_id":"x","rcpt_to":"nobody","timestamp":"1","bounce_class":"10"}}}`)
	req := signature.Request{Method: "POST", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte("[" + strings.Join(list, ",") + "]"), ReceivedAt: h.now}
	if err := signature.Sign(signature.Endpoint{Provider: signature.SparkPost}, &req, h.samples.secretOf(signature.SparkPost)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := h.deliver(t, id, req); r.StatusCode != 200 {
			t.Fatalf("answered %d", r.StatusCode)
		}
	}
	if h.hooks.calls != 6 {
		t.Errorf("%d appends", h.hooks.calls)
	}
	h.hooks.set(func() {
		if len(h.hooks.suppressions) != n || len(h.hooks.records) != n+2 {
			t.Errorf("%d suppressions, %d records", len(h.hooks.suppressions), len(h.hooks.records))
		}
	})
	if got := h.counter(t, "patchlane_webhook_events_total", "sparkpost", "opt_out"); got != 2*n {
		t.Errorf("counted %v", got)
	}
	page := h.do(t, "GET", "/v1/quarantined-events", "").want(t, 200, "")
	if rows, _ := page.at("data").([]any); len(rows) != 4 || page.str("data.0.endpoint_id") != id.String() {
		t.Errorf("quarantined: %s", page.raw)
	}
}

// TestLogsHoldNoAddress: neither of what was taken nor of what was refused.
func TestLogsHoldNoAddress(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	id := h.endpoint(t, signature.Twilio)
	req := h.stop(t, id)
	h.deliver(t, id, req)
	req.RawQuery = "From=%2B14155552671"
	h.deliver(t, id, req)
	log := h.log.String()
	for _, secret := range []string{"14155552671", "Stop", h.samples.secretOf(signature.Twilio), req.Header.Get("X-Twilio-Signature")} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	for _, part := range []string{`"endpoint_id":"` + id.String(), `"provider":"twilio"`, `"reason":"bad_signature"`, `"route":"/v1/webhooks/{id}"`} {
		if !strings.Contains(log, part) {
			t.Errorf("the log lacks %s\n%s", part, log)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	id := h.endpoint(t, signature.SES)
	req := h.request(t, h.sample(t, "ses/sns_subscription_confirmation.json"), id)
	h.hooks.set(func() { h.hooks.confirmErr = errAway })
	if r := h.deliver(t, id, req); r.StatusCode != 503 {
		t.Errorf("a confirmation that SNS did not take is answered %d", r.StatusCode)
	}
	h.hooks.set(func() { h.hooks.confirmErr = nil })
	if r := h.deliver(t, id, req); r.StatusCode != 200 {
		t.Errorf("answered %d", r.StatusCode)
	}
	h.deliver(t, id, h.request(t, h.sample(t, "ses/sns_unsubscribe_confirmation.json"), id))
	if n := h.counter(t, "patchlane_webhook_feeds_cut_total"); n != 1 || !strings.Contains(h.log.String(), "SNS SUBSCRIPTION WAS ENDED") {
		t.Errorf("counted %v cut feeds", n)
	}
}

func TestMethodsOfProviders(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	mandrill, standard := h.endpoint(t, signature.Mandrill), h.endpoint(t, signature.Standard)
	if r := h.deliver(t, mandrill, signature.Request{Method: "HEAD"}); r.StatusCode != 200 {
		t.Errorf("HEAD of Mandrill is answered %d", r.StatusCode)
	}
	if r := h.deliver(t, standard, signature.Request{Method: "GET"}); r.StatusCode != 405 || r.Header.Get("Allow") != "POST" {
		t.Errorf("GET of Standard Webhooks is answered %d, Allow %q", r.StatusCode, r.Header.Get("Allow"))
	}
	if r := h.deliver(t, standard, signature.Request{Method: "PUT"}); r.StatusCode != 405 {
		t.Errorf("PUT is answered %d", r.StatusCode)
	}
}

// TestFloodsOfOneEndpoint leave room to the others: who waits longest for a
// place is told to come back.
func TestFloodsOfOneEndpoint(t *testing.T) {
	t.Parallel()
	i := newIntakes()
	flooded, other := uuid.New(), uuid.New()
	leaves := make([]func(), 0, intakeSlots)
	for range intakeSlots {
		leave, ok := i.enter(t.Context(), flooded, 10)
		if !ok {
			t.Fatal("no place")
		}
		leaves = append(leaves, leave)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, ok := i.enter(ctx, flooded, 10); ok {
		t.Error("a place beyond the last")
	}
	leave, ok := i.enter(t.Context(), other, signature.MaxBody)
	if !ok {
		t.Fatal("the flood takes the places of others")
	}
	leave()
	var wg sync.WaitGroup
	wg.Go(func() {
		if leave, ok := i.enter(t.Context(), flooded, 10); ok {
			leave()
		} else {
			t.Error("no place after one was left")
		}
	})
	for _, leave := range leaves {
		leave()
	}
	wg.Wait()
	if len(i.slots) != 0 {
		t.Errorf("%d endpoints are remembered", len(i.slots))
	}
}

// TestMemoryOfBodiesIsBounded however many endpoints there are.
func TestMemoryOfBodiesIsBounded(t *testing.T) {
	t.Parallel()
	i := newIntakes()
	leaves := make([]func(), 0, intakeBytes/signature.MaxBody)
	for range intakeBytes / signature.MaxBody {
		leave, ok := i.enter(t.Context(), uuid.New(), signature.MaxBody)
		if !ok {
			t.Fatal("no memory")
		}
		leaves = append(leaves, leave)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, ok := i.enter(ctx, uuid.New(), signature.MaxBody); ok {
		t.Error("memory beyond the bound")
	}
	for _, leave := range leaves {
		leave()
	}
}

// TestSlowBodies end as what every provider repeats.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	id := h.endpoint(t, signature.Brevo)
	r := httptest.NewRequest("POST", EndpointPath(id), io.MultiReader(strings.NewReader("{"), failing{}))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	h.server.Handler().ServeHTTP(w, r)
	if w.Code != 429 {
		t.Errorf("a body that was cut is answered %d", w.Code)
	}
}

// failing is a connection that breaks.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
