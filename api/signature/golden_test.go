package signature

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The secrets of the samples.
const (
	sampleTopic = "arn:aws:sns:us-east-1:123456789012:ses-feedback"
	sampleCert  = "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
)

// manifest is the table of the samples.
type manifest struct {
	Clock    int64             `json:"clock"`
	Secrets  map[string]string `json:"secrets"`
	Fixtures []fixture         `json:"fixtures"`
}

// fixture is one sample and what is wanted of it.
type fixture struct {
	File     string            `json:"file"`
	Provider string            `json:"provider"`
	Method   string            `json:"method"`
	URL      string            `json:"url"`
	Headers  map[string]string `json:"headers"`
	Verified bool              `json:"verified"`
	Expect   []decision        `json:"expect"`
	Respond  string            `json:"respond"`
}

// decision is one wanted event.
type decision struct {
	Channel   string          `json:"channel"`
	Action    string          `json:"action"`
	Cause     string          `json:"cause"`
	Address   string          `json:"address"`
	ID        string          `json:"event_id"`
	At        json.RawMessage `json:"occurred_at"`
	Ambiguous bool            `json:"ambiguous"`
}

// readManifest reads the table.
func readManifest(tb testing.TB) manifest {
	tb.Helper()
	var m manifest
	if err := json.Unmarshal(readSample(tb, "manifest.json"), &m); err != nil {
		tb.Fatal(err)
	}
	return m
}

// readSample reads a file of testdata.
func readSample(tb testing.TB, name string) []byte {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// provider is the provider of a sample; the legacy API of Vonage is told apart
// by the request alone.
func (f fixture) provider() Provider { return Provider(strings.TrimSuffix(f.Provider, "-sms")) }

// request is the sample as it would arrive.
func (f fixture) request(tb testing.TB, m manifest) Request {
	tb.Helper()
	h := http.Header{}
	for k, v := range f.Headers {
		h.Set(k, v)
	}
	u, err := url.Parse(f.URL)
	if err != nil {
		tb.Fatal(err)
	}
	return Request{
		Method: f.Method, Header: h, RawQuery: u.RawQuery, Body: readSample(tb, f.File),
		ReceivedAt: time.Unix(m.Clock, 0).UTC(),
	}
}

// endpoint is the endpoint of a sample, with a secret that is gone beside the
// live one.
func (f fixture) endpoint(m manifest) Endpoint {
	secret := map[Provider]string{
		Twilio: "twilio_auth_token", Vonage: "vonage_signature_secret", Telnyx: "telnyx_public_key",
		Plivo: "plivo_auth_token", MessageBird: "messagebird_signing_key", Bird: "bird_signing_key",
		SendGrid: "sendgrid_public_key", Mailgun: "mailgun_signing_key", Postmark: "basic_auth",
		SparkPost: "basic_auth", Brevo: "brevo_bearer", Mandrill: "mandrill_webhook_key",
		Resend: "resend_secret", Standard: "standard_secret",
	}
	ep := Endpoint{Provider: f.provider(), URL: f.URL, TopicARN: sampleTopic}
	if name, ok := secret[f.provider()]; ok {
		ep.Secrets = []string{m.Secrets[name]}
	}
	return ep
}

// newSampleVerifier returns a verifier that has the certificate of the
// samples.
func newSampleVerifier(tb testing.TB) *Verifier {
	tb.Helper()
	dir := tb.TempDir()
	pem := readSample(tb, "keys/sns_test_cert.pem")
	if err := os.WriteFile(filepath.Join(dir, sampleCert), pem, 0o600); err != nil {
		tb.Fatal(err)
	}
	return NewVerifier(CertDir(dir))
}

// decisions brings events into the form of the table: what only a standing
// keyword would make an opt-in changes nothing by itself.
func decisions(events []Event) []decision {
	out := []decision{}
	for _, e := range events {
		if e.OptInIfStopped {
			continue
		}
		out = append(out, decision{
			Channel: string(e.Channel), Action: string(e.Action), Cause: e.Reason, Address: e.Address,
			ID: e.ProviderID, Ambiguous: e.Ambiguous,
		})
	}
	return out
}

func TestSamples(t *testing.T) {
	t.Parallel()
	m := readManifest(t)
	if len(m.Fixtures) != 89 {
		t.Fatalf("the table has %d samples", len(m.Fixtures))
	}
	v := newSampleVerifier(t)
	for _, f := range m.Fixtures {
		t.Run(f.File, func(t *testing.T) {
			t.Parallel()
			ep, req := f.endpoint(m), f.request(t, m)
			verified, err := v.Verify(t.Context(), ep, req)
			if !f.Verified {
				refusedUnlessPassword(t, v, f, m)
				return
			}
			if err != nil {
				t.Fatalf("Verify: %v", err)
			}
			if wants := f.provider() == Mailgun; (verified.OneTime != nil) != wants {
				t.Errorf("OneTime = %v", verified.OneTime)
			}
			checkSample(t, f, Decode(ep, req))
			checkAnswer(t, f, Accepted(ep.Provider))
		})
	}
}

// refusedUnlessPassword checks the samples that nobody signed.
func refusedUnlessPassword(t *testing.T, v *Verifier, f fixture, m manifest) {
	t.Helper()
	ep, req := f.endpoint(m), f.request(t, m)
	_, err := v.Verify(t.Context(), ep, req)
	want := map[Provider]int{SES: http.StatusForbidden, Vonage: http.StatusUnauthorized}[ep.Provider]
	if got := Refused(ep.Provider, err).Status; ReasonOf(err) == "" || got != want {
		t.Fatalf("without a password: %v, answered %d", err, got)
	}
	ep.BasicAuth = []string{m.Secrets["basic_auth"]}
	user, password, _ := strings.Cut(m.Secrets["basic_auth"], ":")
	r := http.Request{Header: req.Header}
	r.SetBasicAuth(user, password)
	if _, err := v.Verify(t.Context(), ep, req); err != nil {
		t.Fatalf("with a password: %v", err)
	}
	if got := Decode(ep, req); len(got.Events) != 1 || got.Events[0].Action != OptOut {
		t.Errorf("decoded %+v", got)
	}
}

// checkSample compares a decoded sample with the table.
func checkSample(t *testing.T, f fixture, got Decoded) {
	t.Helper()
	if len(got.Quarantined) > 0 {
		t.Errorf("quarantined %s: %s", got.Quarantined[0].Reason, got.Quarantined[0].Detail)
	}
	have := decisions(got.Events)
	for i := range have {
		if i < len(f.Expect) {
			checkTime(t, f.Expect[i].At, got.Events[i])
			if f.Expect[i].ID == "" {
				have[i].ID = ""
			}
			f.Expect[i].At = nil
		}
		if len(got.Events[i].DedupID) != 32 || got.Events[i].ProviderID == "" {
			t.Errorf("ids %q, %q", got.Events[i].DedupID, got.Events[i].ProviderID)
		}
	}
	if diff := cmp.Diff(f.Expect, have); diff != "" {
		t.Errorf("decisions (-want +got):\n%s", diff)
	}
	if confirm := strings.Contains(f.File, "subscription_confirmation"); confirm != (got.ConfirmURL != "") {
		t.Errorf("ConfirmURL = %q", got.ConfirmURL)
	}
	if cut := strings.Contains(f.File, "unsubscribe_confirmation"); cut != got.FeedCut {
		t.Errorf("FeedCut = %v", got.FeedCut)
	}
}

// checkTime compares the time of an event with the table, which tells it as a
// text, in seconds or in milliseconds.
func checkTime(t *testing.T, want json.RawMessage, e Event) {
	t.Helper()
	if want == nil {
		return
	}
	s := strings.Trim(string(want), `"`)
	at := anyTime(s)
	if len(s) == len("1795140001000") && !strings.Contains(s, ".") {
		at = milliTime(s)
	}
	if !e.At.Equal(at.at) || e.At.IsZero() {
		t.Errorf("At = %v, want %s", e.At, want)
	}
}

// checkAnswer compares an answer with the words of the table.
func checkAnswer(t *testing.T, f fixture, a Answer) {
	t.Helper()
	if a.Status != http.StatusOK {
		t.Errorf("answered %d", a.Status)
	}
	if f.Respond == "200 text/xml <Response/>" &&
		(a.Header.Get("Content-Type") != "text/xml" || string(a.Body) != "<Response/>") {
		t.Errorf("answered %v %q", a.Header, a.Body)
	}
}

// signedSamples returns the samples that carry a signature over their body.
func signedSamples(tb testing.TB, m manifest) map[Provider]fixture {
	tb.Helper()
	out := map[Provider]fixture{}
	for _, f := range m.Fixtures {
		if f.Verified && len(f.Expect) == 1 && f.Expect[0].Action == "opt_out" {
			if _, ok := out[f.provider()]; !ok {
				out[f.provider()] = f
			}
		}
	}
	if len(out) != len(Providers()) {
		tb.Fatalf("samples of %v", fmt.Sprint(maps.Keys(out)))
	}
	return out
}

// refusal runs Verify and returns the reason of its refusal, or "".
func refusal(ctx context.Context, tb testing.TB, v *Verifier, ep Endpoint, req Request) Reason {
	tb.Helper()
	_, err := v.Verify(ctx, ep, req)
	if err != nil && ReasonOf(err) == "" {
		tb.Fatalf("Verify: %v", err)
	}
	return ReasonOf(err)
}
