package simulate

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"patchlane/api/signature"
	"patchlane/tasks/contact"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "arn:aws:sns:us-east-1:123456789012:feedback"

// pairs makes keys of every provider, and a folder with the certificate of SNS.
func pairs(t *testing.T) (keys map[signature.Provider]Keys, certs string) {
	t.Helper()
	keys, certs = map[signature.Provider]Keys{}, t.TempDir()
	for _, p := range signature.Providers() {
		k, err := NewKeys(p, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		ep := signature.Endpoint{Provider: p, TopicARN: topic}
		if k.Secret != "" {
			ep.Secrets = []string{k.Secret}
		}
		if err := ep.Validate(); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		if k.Certificate != "" {
			file := filepath.Join(certs, filepath.Base(k.CertURL))
			if err := os.WriteFile(file, []byte(k.Certificate), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		keys[p] = k
	}
	return keys, certs
}

// TestEventsMeanWhatTheySay posts every event of every provider to a receiver
// that verifies and decodes as the API does.
func TestEventsMeanWhatTheySay(t *testing.T) {
	t.Parallel()
	keys, certs := pairs(t)
	verifier := signature.NewVerifier(signature.CertDir(certs))
	causes := map[Event]contact.Cause{
		Stop: contact.KeywordStop, Bounce: contact.HardBounce, Complaint: contact.Complaint, Unsubscribe: contact.Unsubscribe,
	}
	for _, p := range signature.Providers() {
		for _, e := range EventsOf(p) {
			t.Run(string(p)+"/"+string(e), func(t *testing.T) {
				t.Parallel()
				got := received(t, verifier, keys[p], p, e)
				switch e {
				case Garbage:
					if len(got.Events) != 0 || len(got.Quarantined) != 1 {
						t.Fatalf("decoded %+v", got)
					}
					return
				case Sentence:
					if len(got.Events) != 1 || got.Events[0].Action != signature.Review {
						t.Fatalf("decoded %+v", got)
					}
					return
				default:
				}
				if len(got.Events) != 1 || got.Events[0].Address != defaultAddress(p, e) {
					t.Fatalf("decoded %+v", got)
				}
				want := signature.OptOut
				if e == Start {
					want = signature.OptIn
				}
				if ev := got.Events[0]; ev.Action != want || (e != Start && ev.Cause != causes[e]) {
					t.Errorf("%s %s is %s %s", p, e, ev.Action, ev.Reason)
				}
			})
		}
	}
}

// received posts one event and returns what the receiver made of it.
func received(t *testing.T, v *signature.Verifier, keys Keys, p signature.Provider, e Event) signature.Decoded {
	t.Helper()
	var got signature.Decoded
	var refused error
	ep := signature.Endpoint{Provider: p, Secrets: []string{keys.Secret}, TopicARN: topic, URL: "https://hooks.example.com/v1/webhooks/x"}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		req := signature.Request{Method: r.Method, Header: r.Header, RawQuery: r.URL.RawQuery, Body: body, ReceivedAt: time.Now()}
		if _, refused = v.Verify(r.Context(), ep, req); refused != nil {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		got = signature.Decode(ep, req)
	}))
	defer srv.Close()
	d := Drill{Provider: p, Event: e, Target: srv.URL, Signed: ep.URL, Key: keys.Key, TopicARN: topic, CertURL: keys.CertURL}
	client := srv.Client()
	a, err := d.Post(t.Context(), client, time.Now())
	client.CloseIdleConnections()
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("posted: %v, answered %d (%v)", err, a.Status, refused)
	}
	return got
}

func TestWhatCannotBeSimulated(t *testing.T) {
	t.Parallel()
	for _, d := range []struct {
		drill Drill
		want  string
	}{
		{Drill{Provider: "nobody", Event: Stop}, "is none of"},
		{Drill{Provider: signature.Twilio, Event: Bounce}, `sends no "bounce"`},
		{Drill{Provider: signature.SES, Event: Stop}, `sends no "stop"`},
		{Drill{Provider: signature.Standard, Event: Sentence}, "sends no"},
		{Drill{Provider: signature.Telnyx, Event: Stop, Key: "not a seed"}, "does not fit"},
	} {
		_, err := d.drill.Post(t.Context(), http.DefaultClient, time.Now())
		if err == nil || !strings.Contains(err.Error(), d.want) {
			t.Errorf("%s %s: %v", d.drill.Provider, d.drill.Event, err)
		}
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	const id = "0194f1a2-0000-7000-8000-000000000001"
	for _, c := range []struct{ base, endpoint, want string }{
		{"http://127.0.0.1:8080", id, "http://127.0.0.1:8080/v1/webhooks/" + id},
		{"https://crm.example.com/base/", id, "https://crm.example.com/base/v1/webhooks/" + id},
		{"https://crm.example.com/v1/webhooks/" + id, "", "https://crm.example.com/v1/webhooks/" + id},
		{"https://crm.example.com", "", ""},
		{"crm.example.com", id, ""},
		{"https://crm.example.com", "twilio", ""},
	} {
		got, err := Target(c.base, c.endpoint)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("Target(%q, %q) = %q, %v", c.base, c.endpoint, got, err)
		}
	}
}
