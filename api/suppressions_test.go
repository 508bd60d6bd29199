package api

import (
	"net/url"
	"slices"
	"testing"

	"github.com/google/uuid"

	"patchlane/api/signature"
	"patchlane/tasks/contact"
)

func TestSuppressionsGoThroughTheirLane(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.do(t, "POST", "/v1/suppressions", `{"channel":"email","address":"Jane.Doe@EXAMPLE.com"}`).want(t, 201, "")
	if r.str("data.address") != "jane.doe@example.com" || r.str("data.reason") != "manual" || r.str("data.source") != "suppression" {
		t.Errorf("answered %s", r.raw)
	}
	events := b.hooks.taken()
	if len(events) != 1 || events[0].Actor != b.key.ID.String() || r.str("data.event_id") != events[0].ID.String() {
		t.Fatalf("kept %+v", events)
	}
	b.do(t, "POST", "/v1/suppressions", `{"channel":"sms","address":"+41791234567","reason":"complaint"}`).want(t, 201, "")
	page := b.do(t, "GET", "/v1/suppressions?limit=1", "").want(t, 200, "")
	next := b.do(t, "GET", "/v1/suppressions?limit=1&cursor="+url.QueryEscape(page.str("pagination.next_cursor")), "").want(t, 200, "")
	if page.str("data.0.reason") != "complaint" || next.str("data.0.address") != "jane.doe@example.com" {
		t.Errorf("listed %s, then %s", page.raw, next.raw)
	}
	one := b.do(t, "GET", "/v1/suppressions?channel=sms&address=+41791234567", "").want(t, 200, "")
	if rows, _ := one.at("data").([]any); len(rows) != 1 {
		t.Errorf("a bare plus sign finds %s", one.raw)
	}
	for range 2 {
		b.do(t, "DELETE", "/v1/suppressions?channel=sms&address=%2B41791234567", "").want(t, 204, "")
	}
	if got := b.hooks.standing(b.key.Account, contact.SMSChannel, "+41791234567"); got != "" {
		t.Errorf("still %s", got)
	}
	if got := b.hooks.standing(b.key.Account, contact.EmailChannel, "jane.doe@example.com"); got != "manual" {
		t.Errorf("jane is %q", got)
	}
}

// TestLostRepliesOfEvents: the store is asked when nobody replies.
func TestLostRepliesOfEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.set(func() { b.mute = true })
	b.do(t, "POST", "/v1/suppressions", `{"channel":"email","address":"jane@example.com"}`).want(t, 201, "")
	b.do(t, "DELETE", "/v1/suppressions?channel=email&address=jane@example.com", "").want(t, 204, "")
}

// TestNumbersOfTwoSpellings are suppressed under both.
func TestNumbersOfTwoSpellings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do(t, "POST", "/v1/suppressions", `{"channel":"sms","address":"+54 9 11 2345-6789"}`).want(t, 201, "")
	for _, key := range []string{"+5491123456789", "+541123456789"} {
		if got := b.hooks.standing(b.key.Account, contact.SMSChannel, key); got != "manual" {
			t.Errorf("%s is %q", key, got)
		}
	}
}

func TestSuppressionsThatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hooks.set(func() { b.hooks.paused = true })
	r := b.do(t, "POST", "/v1/suppressions", `{"channel":"email","address":"a@example.com"}`, "Prefer: respond-async").want(t, 202, "")
	if r.str("data.state") != "queued" || r.Header.Get("Preference-Applied") != "respond-async" {
		t.Errorf("answered %s", r.raw)
	}
	b.do(t, "DELETE", "/v1/suppressions?channel=email&address=a@example.com", "", "Prefer: wait=0").want(t, 202, "")
	b.hooks.set(func() { b.hooks.appendErr = &contact.Error{Code: contact.CodeOverloaded, Message: "Full."} })
	b.do(t, "POST", "/v1/suppressions", `{"channel":"email","address":"a@example.com"}`).want(t, 503, contact.CodeOverloaded)
	b.hooks.set(func() { b.hooks.appendErr = errAway })
	b.do(t, "POST", "/v1/suppressions", `{"channel":"email","address":"a@example.com"}`).want(t, 503, contact.CodeQueueUnavailable)
	b.hooks.set(func() { b.hooks.storeErr = errAway })
	b.do(t, "GET", "/v1/suppressions", "").want(t, 503, contact.CodeStoreUnavailable)
}

func TestSuppressionProblems(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for body, want := range map[string][]string{
		`{}`: {"address required", "channel required"},
		`{"channel":"fax","address":"x","reason":"why"}`: {"channel invalid_format", "reason invalid_format"},
		`{"channel":"email","address":"nobody"}`:         {"address invalid_format"},
		`{"channel":"sms","address":"12345"}`:            {"address invalid_format"},
		`{"channel":1,"address":null,"x":2}`:             {"channel invalid_type", "address invalid_type", "x unknown"},
	} {
		if got := b.do(t, "POST", "/v1/suppressions", body).want(t, 400, contact.CodeValidationFailed).fields(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, wanted %q", body, got, want)
		}
	}
	b.do(t, "DELETE", "/v1/suppressions", "").want(t, 400, contact.CodeValidationFailed)
	b.do(t, "DELETE", "/v1/suppressions?channel=sms&address=abc", "").want(t, 400, contact.CodeValidationFailed)
	b.do(t, "GET", "/v1/suppressions?channel=fax&colour=red", "").want(t, 400, contact.CodeValidationFailed)
	// A number that looks invalid is kept: not to keep an opt-out is worse.
	b.do(t, "POST", "/v1/suppressions", `{"channel":"sms","address":"+999123456789"}`).want(t, 201, "")
}

func TestReviewsAreDecided(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	id := h.endpoint(t, signature.Twilio)
	ask := func() string {
		t.Helper()
		if r := h.deliver(t, id, h.request(t, h.sample(t, "twilio/sms_please_stop_texting_me.txt"), id)); r.StatusCode != 200 {
			t.Fatalf("answered %d", r.StatusCode)
		}
		return h.do(t, "GET", "/v1/optout-reviews", "").want(t, 200, "").str("data.0.id")
	}
	review := ask()
	shown := h.do(t, "GET", "/v1/optout-reviews/"+review, "").want(t, 200, "")
	if shown.str("data.state") != "pending" || shown.str("data.cause") != "keyword_stop" || h.hooks.standing(h.key.Account, contact.SMSChannel, "+14155552671") != "" {
		t.Errorf("shown %s", shown.raw)
	}
	accepted := h.do(t, "POST", "/v1/optout-reviews/"+review+"/accept", "").want(t, 200, "")
	if accepted.str("data.state") != "accepted" || accepted.str("data.decided_by") != h.key.ID.String() {
		t.Errorf("accepted %s", accepted.raw)
	}
	if got := h.hooks.standing(h.key.Account, contact.SMSChannel, shown.str("data.address")); got != "keyword_stop" {
		t.Errorf("the address is %q", got)
	}
	h.do(t, "POST", "/v1/optout-reviews/"+review+"/accept", "").want(t, 200, "")
	h.do(t, "POST", "/v1/optout-reviews/"+review+"/dismiss", "").want(t, 409, contact.CodeAlreadyDecided)
	if r := h.do(t, "GET", "/v1/optout-reviews", "").want(t, 200, ""); len(r.at("data").([]any)) != 0 {
		t.Errorf("still to be decided: %s", r.raw)
	}
	if r := h.do(t, "GET", "/v1/optout-reviews?state=accepted", "").want(t, 200, ""); r.str("data.0.id") != review {
		t.Errorf("listed %s", r.raw)
	}
	h.do(t, "GET", "/v1/optout-reviews?state=undecided", "").want(t, 400, contact.CodeValidationFailed)
	h.do(t, "POST", "/v1/optout-reviews/"+uuid.NewString()+"/accept", "").want(t, 404, contact.CodeNotFound)

	h.addKey("pl_another-account-0123456789", contact.Key{Account: uuid.New(), Scopes: contact.Scopes()})
	for _, verb := range []string{"accept", "dismiss"} {
		h.send(t, h.server, request{"POST", "/v1/optout-reviews/" + review + "/" + verb, "", nil, "pl_another-account-0123456789"}).
			want(t, 404, contact.CodeNotFound)
	}
}

func TestDismissedReviewsChangeNothing(t *testing.T) {
	t.Parallel()
	h := setupHooks(t)
	id := h.endpoint(t, signature.Twilio)
	h.deliver(t, id, h.request(t, h.sample(t, "twilio/sms_please_stop_texting_me.txt"), id))
	review := h.do(t, "GET", "/v1/optout-reviews?state=all", "").want(t, 200, "").str("data.0.id")
	for range 2 {
		if r := h.do(t, "POST", "/v1/optout-reviews/"+review+"/dismiss", "").want(t, 200, ""); r.str("data.state") != "dismissed" {
			t.Errorf("dismissed %s", r.raw)
		}
	}
	h.do(t, "POST", "/v1/optout-reviews/"+review+"/accept", "").want(t, 409, contact.CodeAlreadyDecided)
	h.hooks.set(func() {
		for address, s := range h.hooks.suppressions {
			if _, _, out := s.Clock.Standing(); out {
				t.Errorf("%v is suppressed", address)
			}
		}
	})
}
