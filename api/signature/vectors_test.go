package signature

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// vector is one published signature; which members it has depends on its
// scheme.
type vector struct {
	ID         string            `json:"id"`
	Scheme     string            `json:"scheme"`
	Valid      bool              `json:"valid"`
	Method     string            `json:"method"`
	URL        string            `json:"url"`
	AuthToken  string            `json:"auth_token"`
	SigningKey string            `json:"signing_key"`
	PublicKey  string            `json:"public_key"`
	Secret     string            `json:"secret"`
	Key        string            `json:"key"`
	Params     map[string]string `json:"params"`
	Query      map[string]string `json:"query"`
	Form       string            `json:"form"`
	Body       string            `json:"body"`
	Payload    *string           `json:"payload"`
	Nonce      string            `json:"nonce"`
	Timestamp  string            `json:"timestamp"`
	Token      string            `json:"token"`
	MsgID      string            `json:"msg_id"`
	Signature  string            `json:"signature"`
	Now        string            `json:"now"`
	CertPEM    string            `json:"cert_pem"`
	Message    json.RawMessage   `json:"message"`
}

// formHeader is the header of a form.
func formHeader(pairs ...string) http.Header {
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// encode returns fields as a form.
func encode(fields map[string]string) string {
	v := url.Values{}
	for k, s := range fields {
		v.Set(k, s)
	}
	return v.Encode()
}

// at returns the moment of a vector: its timestamp, or any.
func (v vector) at() time.Time {
	if t, ok := signedAt(v.Timestamp); ok {
		return t
	}
	return time.Unix(1_600_112_502, 0)
}

// request builds endpoint and request of a vector.
func (v vector) request(tb testing.TB) (Endpoint, Request) {
	tb.Helper()
	place, query, _ := strings.Cut(v.URL, "?")
	ep := Endpoint{URL: place}
	req := Request{Method: http.MethodPost, RawQuery: query, Body: []byte(v.Body), ReceivedAt: v.at()}
	secret := ""
	switch v.Scheme {
	case "twilio", "twilio-multi":
		ep.Provider, secret = Twilio, v.AuthToken
		req.Header, req.Body = formHeader("X-Twilio-Signature", v.Signature), []byte(v.Form+encode(v.Params))
	case "twilio-json":
		ep.Provider, secret = Twilio, v.AuthToken
		req.Header = http.Header{"X-Twilio-Signature": {v.Signature}, "Content-Type": {"application/json"}}
	case "sendgrid":
		ep.Provider, secret = SendGrid, v.PublicKey
		req.Header = formHeader("X-Twilio-Email-Event-Webhook-Timestamp", v.Timestamp,
			"X-Twilio-Email-Event-Webhook-Signature", v.Signature)
	case "mailgun":
		ep.Provider, secret, req.Header = Mailgun, v.SigningKey, http.Header{}
		req.Body = []byte(`{"signature":{"timestamp":"` + v.Timestamp + `","token":"` + v.Token +
			`","signature":"` + v.Signature + `"},"event-data":{}}`)
	case "standard":
		ep.Provider, secret = Standard, v.Secret
		req.Header = formHeader("webhook-id", v.MsgID, "webhook-timestamp", v.Timestamp, "webhook-signature", v.Signature)
	case "mandrill":
		ep.Provider, secret = Mandrill, v.Key
		req.Header, req.Body = formHeader("X-Mandrill-Signature", v.Signature), []byte(encode(v.Params))
	case "telnyx":
		ep.Provider, secret = Telnyx, v.PublicKey
		req.Header = formHeader("telnyx-timestamp", v.Timestamp, "telnyx-signature-ed25519", v.Signature)
	case "vonage-jwt":
		ep.Provider, secret = Vonage, v.Secret
		req.Header = http.Header{"Authorization": {"Bearer " + v.Token}}
		req.ReceivedAt = time.Date(2026, 1, 1, 0, 1, 0, 0, time.UTC)
	case "bird":
		ep.Provider, secret = Bird, v.SigningKey
		req.Header = formHeader("MessageBird-Request-Timestamp", v.Timestamp, "MessageBird-Signature", v.Signature)
	default:
		return v.moreRequest(tb, ep, req)
	}
	ep.Secrets = []string{"not-the-secret", secret}
	return ep, req
}

// moreRequest is request for the schemes that come in versions.
func (v vector) moreRequest(tb testing.TB, ep Endpoint, req Request) (Endpoint, Request) {
	tb.Helper()
	secret := v.AuthToken
	switch v.Scheme {
	case "plivo-v1":
		ep.Provider, req.Header = Plivo, formHeader("X-Plivo-Signature", v.Signature)
		req.Body = []byte(encode(v.Params))
	case "plivo-v2":
		ep.Provider = Plivo
		req.Header = formHeader("X-Plivo-Signature-V2", v.Signature, "X-Plivo-Signature-V2-Nonce", v.Nonce)
	case "plivo-v3":
		ep.Provider, req.Method = Plivo, v.Method
		req.Header = formHeader("X-Plivo-Signature-V3", v.Signature, "X-Plivo-Signature-V3-Nonce", v.Nonce)
		if v.Method == http.MethodPost {
			req.Body = []byte(encode(v.Params))
		} else {
			req.RawQuery = encode(v.Params)
		}
	case "messagebird-hmac":
		ep.Provider, secret, req.Method = MessageBird, v.SigningKey, http.MethodGet
		req.RawQuery = encode(v.Query)
		req.Header = formHeader("MessageBird-Request-Timestamp", v.Timestamp, "MessageBird-Signature", v.Signature)
	case "messagebird-jwt":
		ep.Provider, secret = MessageBird, v.Secret
		req.Header = formHeader("MessageBird-Signature-JWT", v.Token)
		if v.Payload != nil {
			req.Body = []byte(*v.Payload)
		}
		now, err := time.Parse(time.RFC3339, v.Now)
		if err != nil {
			tb.Fatal(err)
		}
		req.ReceivedAt = now
	case "sns":
		var e snsEnvelope
		if err := json.Unmarshal(v.Message, &e); err != nil {
			tb.Fatal(err)
		}
		ep.Provider, ep.TopicARN = SES, e.TopicARN
		req.Header, req.Body, req.ReceivedAt = http.Header{}, v.Message, isoTime(e.Timestamp).at
	default:
		tb.Fatalf("no scheme %s", v.Scheme)
	}
	ep.Secrets = []string{"not:the-secret", secret}
	return ep, req
}

func TestVectors(t *testing.T) {
	t.Parallel()
	var all struct {
		Published []vector `json:"published"`
		Broken    []vector `json:"published_but_broken"`
		Own       []vector `json:"own"`
	}
	if err := json.Unmarshal(readSample(t, "vectors.json"), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Published) != 47 || len(all.Broken) != 1 || len(all.Own) != 7 {
		t.Fatalf("%d, %d, %d vectors", len(all.Published), len(all.Broken), len(all.Own))
	}
	for _, v := range slices.Concat(all.Published, all.Broken, all.Own) {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			ep, req := v.request(t)
			verifier := NewVerifier(func(context.Context, *url.URL) ([]byte, error) { return []byte(v.CertPEM), nil })
			_, err := verifier.Verify(t.Context(), ep, req)
			if (err == nil) != v.Valid {
				t.Fatalf("valid %v, Verify: %v", v.Valid, err)
			}
			if err != nil && ReasonOf(err) == "" {
				t.Fatalf("not a refusal: %v", err)
			}
			// Whatever the vector says, a key of nobody verifies nothing.
			ep.Secrets = slices.Repeat([]string{""}, 2)
			if _, err := verifier.Verify(t.Context(), ep, req); err == nil && ep.Provider != SES && v.ID != "mandrill-empty-check" {
				t.Error("verified with the empty secret")
			}
		})
	}
}
