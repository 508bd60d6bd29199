package signature

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"testing"
	"time"
)

// signingKey is what the provider of a sample signs with.
func signingKey(tb testing.TB, p Provider, ep Endpoint) string {
	tb.Helper()
	switch p {
	case Telnyx:
		return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	case SendGrid:
		return string(readSample(tb, "keys/sendgrid_test_p256.pem"))
	case SES:
		return string(readSample(tb, "keys/sns_test_key.pem"))
	default:
		return ep.Secrets[0]
	}
}

func TestSignedIsVerified(t *testing.T) {
	t.Parallel()
	forEachSample(t, func(t *testing.T, v *Verifier, ep Endpoint, req Request) {
		t.Helper()
		want := summary(Decode(ep, req))
		contentType := req.Header["Content-Type"]
		req.Header = http.Header{"Content-Type": contentType, "Svix-Id": req.Header["Svix-Id"]}
		req.RawQuery = "b=2&a=1"
		req.ReceivedAt = req.ReceivedAt.Add(30 * 24 * time.Hour)
		if err := Sign(ep, &req, signingKey(t, ep.Provider, ep)); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), ep, req); err != nil {
			t.Fatalf("Verify: %v", err)
		}
		if got := summary(Decode(ep, req)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestSignRefusesKeysThatDoNotFit(t *testing.T) {
	t.Parallel()
	for _, p := range []Provider{Telnyx, SendGrid, SES, Standard, Resend, "nobody"} {
		if err := Sign(Endpoint{Provider: p}, &Request{Body: []byte("{}")}, "x"); err == nil {
			t.Errorf("%s: signed with no key", p)
		}
	}
	ec := string(readSample(t, "keys/sendgrid_test_p256.pem"))
	if err := Sign(Endpoint{Provider: SES}, &Request{Body: []byte("{}")}, ec); err == nil {
		t.Error("ses: signed with an elliptic curve")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	m := readManifest(t)
	for p, f := range signedSamples(t, m) {
		ep := f.endpoint(m)
		if err := ep.Validate(); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		ep.Secrets = append(ep.Secrets, "")
		if err := ep.Validate(); err == nil {
			t.Errorf("%s: took an empty secret", p)
		}
		ep.Secrets, ep.TopicARN = nil, ""
		if err := ep.Validate(); err == nil {
			t.Errorf("%s: took no secret", p)
		}
	}
	for _, ep := range []Endpoint{
		{Provider: "nobody", Secrets: []string{"x"}},
		{Provider: Twilio, Secrets: []string{"a", "b", "c", "d"}},
		{Provider: Standard, Secrets: []string{"whsec_c2hvcnQ="}},
		{Provider: Standard, Secrets: []string{"whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}},
		{Provider: Telnyx, Secrets: []string{"AAAA"}},
		{Provider: SendGrid, Secrets: []string{"AAAA"}},
		{Provider: Postmark, Secrets: []string{"no password"}},
		{Provider: SES, TopicARN: "arn:aws:sqs:us-east-1:1:x"},
	} {
		if err := ep.Validate(); err == nil {
			t.Errorf("took %+v", ep)
		}
	}
}

func TestStandardKeysOfBothKinds(t *testing.T) {
	t.Parallel()
	m := readManifest(t)
	f := signedSamples(t, m)[Standard]
	ep, req := f.endpoint(m), f.request(t, m)
	good := req.Header.Get("Webhook-Signature")
	for sent, want := range map[string]Reason{
		"v1,AAAA " + good + " v2,x": "", "v1a," + good[3:]: RefusedBadSignature, "v1,!": RefusedBadSignature,
	} {
		req.Header.Set("Webhook-Signature", sent)
		if got := refusal(t.Context(), t, NewVerifier(nil), ep, req); got != want {
			t.Errorf("%s: refused %q", sent, got)
		}
	}
	req.Header.Set("Webhook-Signature", good)
	req.Header.Set("Webhook-Id", "a.b")
	if got := refusal(t.Context(), t, NewVerifier(nil), ep, req); got != RefusedBadSignature {
		t.Errorf("id with a dot: refused %q", got)
	}

	seed := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
	public, _ := seed.Public().(ed25519.PublicKey)
	ep.Secrets = []string{"whpk_" + base64.StdEncoding.EncodeToString(public)}
	req.Header.Set("Webhook-Id", "msg_1")
	text := "msg_1." + req.Header.Get("Webhook-Timestamp") + "." + string(req.Body)
	sig := base64.StdEncoding.EncodeToString(ed25519.Sign(seed, []byte(text)))
	for sent, want := range map[string]Reason{"v1a," + sig: "", "v1," + sig: RefusedBadSignature} {
		req.Header.Set("Webhook-Signature", sent)
		if got := refusal(t.Context(), t, NewVerifier(nil), ep, req); got != want {
			t.Errorf("%s: refused %q", sent, got)
		}
	}
}
