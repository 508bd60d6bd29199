package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"patchlane/api/signature"
	"patchlane/tasks/contact"
)

func TestEndpointProblemsAreSaidAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for body, want := range map[string][]string{
		`{}`:                                 {"provider required"},
		`{"provider":"nobody","secret":"x"}`: {"provider invalid_format"},
		`{"provider":"twilio"}`:              {"secrets invalid_format"},
		`{"provider":"twilio","secret":""}`:  {"secrets invalid_format"},
		`{"provider":"twilio","secret":"a","secrets":["b"]}`: {"secret conflict"},
		`{"provider":"twilio","secrets":["a","b","c","d"]}`:  {"secrets invalid_format"},
		`{"provider":"ses"}`: {"topic_arn invalid_format"},
		`{"provider":"standard","secret":"whsec_c2hvcnQ="}`:                        {"secrets invalid_format"},
		`{"provider":"postmark","secret":"nouser"}`:                                {"secrets invalid_format"},
		`{"provider":"telnyx","secret":"AAAA"}`:                                    {"secrets invalid_format"},
		`{"provider":1,"secret":2,"colour":"red"}`:                                 {"provider invalid_type", "secret invalid_type", "colour unknown"},
		`{"provider":"twilio","secret":"s","topic_arn":"arn:aws:sns:a:b:c"}`:       {"topic_arn invalid_format"},
		`{"provider":"twilio","secret":"s","stop_words":[" "],"basic_auth":["x"]}`: {"basic_auth invalid_format", "stop_words invalid_format"},
	} {
		got := b.do(t, "POST", "/v1/webhook-endpoints", body).want(t, 400, contact.CodeValidationFailed).fields()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, wanted %q", body, got, want)
		}
	}
	b.hooks.set(func() {
		if len(b.hooks.endpoints) != 0 {
			t.Error("an endpoint was made")
		}
	})
}

// TestSecretsAreRotated: the old and the new verify until the new is alone.
func TestSecretsAreRotated(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	id := h.endpoint(t, signature.Twilio)
	path := "/v1/webhook-endpoints/" + id.String()
	old := h.stop(t, id)
	fresh := old
	fresh.Header = http.Header{"Content-Type": old.Header["Content-Type"]}
	ep := signature.Endpoint{Provider: signature.Twilio, URL: h.hooks.publicURL + EndpointPath(id)}
	if err := signature.Sign(ep, &fresh, "the next token"); err != nil {
		t.Fatal(err)
	}
	check := func(when string, wantOld, wantFresh int) {
		t.Helper()
		if got := h.deliver(t, id, old).StatusCode; got != wantOld {
			t.Errorf("%s: the old is answered %d", when, got)
		}
		if got := h.deliver(t, id, fresh).StatusCode; got != wantFresh {
			t.Errorf("%s: the new is answered %d", when, got)
		}
	}
	check("before", 200, 403)
	r := h.do(t, "PATCH", path, `{"secrets":["`+h.samples.secretOf(signature.Twilio)+`","the next token"],"stop_words":["basta"]}`).want(t, 200, "")
	if strings.Contains(string(r.raw), "token") || r.at("data.secrets") != float64(2) || r.str("data.stop_words.0") != "basta" {
		t.Errorf("answered %s", r.raw)
	}
	check("between", 200, 200)
	r = h.do(t, "PATCH", path, `{"secret":"the next token"}`).want(t, 200, "")
	if r.at("data.secrets") != float64(1) || r.str("data.stop_words.0") != "basta" {
		t.Errorf("answered %s", r.raw)
	}
	check("after", 403, 200)
	h.do(t, "PATCH", path, `{"secrets":[]}`).want(t, 400, contact.CodeValidationFailed)
	h.do(t, "PATCH", path, `{"provider":"plivo"}`).want(t, 400, contact.CodeValidationFailed)

	h.hooks.set(func() { h.hooks.mirrorErr = errAway })
	h.do(t, "PATCH", path, `{"secret":"later"}`).want(t, 503, contact.CodeQueueUnavailable)
	h.do(t, "DELETE", path, "").want(t, 503, contact.CodeQueueUnavailable)
	h.hooks.set(func() { h.hooks.mirrorErr = nil })
	h.do(t, "DELETE", path, "").want(t, 204, "")
	check("deleted", 404, 404)
	h.do(t, "DELETE", path, "").want(t, 204, "")
	h.do(t, "GET", path, "").want(t, 404, contact.CodeNotFound)
	h.do(t, "PATCH", path, `{"secret":"x"}`).want(t, 404, contact.CodeNotFound)
}

func TestEndpointsBelongToAnAccount(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	ids := []string{h.endpoint(t, signature.Twilio).String(), h.endpoint(t, signature.SES).String(), h.endpoint(t, signature.Brevo).String()}
	slices.Sort(ids)
	page := h.do(t, "GET", "/v1/webhook-endpoints?limit=2", "").want(t, 200, "")
	second := h.do(t, "GET", "/v1/webhook-endpoints?limit=2&cursor="+page.str("pagination.next_cursor"), "").want(t, 200, "")
	got := []string{page.str("data.0.id"), page.str("data.1.id"), second.str("data.0.id")}
	if !slices.Equal(got, ids) || second.at("pagination.has_more") != false {
		t.Errorf("listed %q, wanted %q", got, ids)
	}
	if r := h.do(t, "GET", "/v1/webhook-endpoints/"+ids[0], "").want(t, 200, ""); r.str("data.id") != ids[0] {
		t.Errorf("answered %s", r.raw)
	}
	h.addKey("pl_another-account-0123456789", contact.Key{Account: uuid.New(), Scopes: contact.Scopes()})
	h.addKey("pl_a-weak-key-0123456789abc", contact.Key{Account: h.key.Account, Scopes: []contact.Scope{contact.ContactsWrite}})
	for _, q := range []request{
		{"GET", "/v1/webhook-endpoints/" + ids[0], "", nil, ""},
		{"PATCH", "/v1/webhook-endpoints/" + ids[0], `{"secret":"mine"}`, nil, ""},
		{"DELETE", "/v1/webhook-endpoints/" + ids[0], "", nil, ""},
	} {
		q.secret = "pl_another-account-0123456789"
		h.send(t, h.server, q).want(t, 404, contact.CodeNotFound)
		q.secret = "pl_a-weak-key-0123456789abc"
		h.send(t, h.server, q).want(t, 403, contact.CodeInsufficientScope)
	}
}
