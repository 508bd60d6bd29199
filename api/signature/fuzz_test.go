package signature

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzTwilio(f *testing.F) { fuzzProvider(f, Twilio) }

func FuzzVonage(f *testing.F) { fuzzProvider(f, Vonage) }

func FuzzTelnyx(f *testing.F) { fuzzProvider(f, Telnyx) }

func FuzzPlivo(f *testing.F) { fuzzProvider(f, Plivo) }

func FuzzMessageBird(f *testing.F) { fuzzProvider(f, MessageBird) }

func FuzzBird(f *testing.F) { fuzzProvider(f, Bird) }

func FuzzSES(f *testing.F) { fuzzProvider(f, SES) }

func FuzzSendGrid(f *testing.F) { fuzzProvider(f, SendGrid) }

func FuzzMailgun(f *testing.F) { fuzzProvider(f, Mailgun) }

func FuzzPostmark(f *testing.F) { fuzzProvider(f, Postmark) }

func FuzzSparkPost(f *testing.F) { fuzzProvider(f, SparkPost) }

func FuzzBrevo(f *testing.F) { fuzzProvider(f, Brevo) }

func FuzzMandrill(f *testing.F) { fuzzProvider(f, Mandrill) }

func FuzzResend(f *testing.F) { fuzzProvider(f, Resend) }

func FuzzStandard(f *testing.F) { fuzzProvider(f, Standard) }

// fuzzProvider feeds a provider with the samples and what grows out of them.
// What is not signed is refused, nothing panics, and every event is one that
// can be stored.
func fuzzProvider(f *testing.F, p Provider) {
	f.Helper()
	m := readManifest(f)
	var sample fixture
	for _, s := range m.Fixtures {
		if s.provider() == p {
			sample = s
			f.Add(readSample(f, s.File), s.Headers["Content-Type"], s.Method == http.MethodGet)
		}
	}
	v := newSampleVerifier(f)
	f.Fuzz(func(t *testing.T, body []byte, contentType string, get bool) {
		req := Request{
			Method: http.MethodPost, Body: body, ReceivedAt: time.Unix(m.Clock, 0).UTC(),
			Header: http.Header{"Content-Type": {contentType}},
		}
		if get {
			req.Method, req.RawQuery, req.Body = http.MethodGet, string(body), nil
		}
		ep := sample.endpoint(m)
		if _, err := v.Verify(t.Context(), ep, req); err == nil && p != Mailgun && p != SES {
			t.Fatalf("verified without a signature: %q", body)
		}
		got := Decode(ep, req)
		if !reflect.DeepEqual(got, Decode(ep, req)) {
			t.Fatal("decoded differently the second time")
		}
		for _, e := range got.Events {
			checkEvent(t, e)
		}
	})
}

// checkEvent checks what holds for every event.
func checkEvent(t *testing.T, e Event) {
	t.Helper()
	key, ok := EmailKey(e.Address)
	if e.Channel == SMS {
		ok = strings.HasPrefix(e.Address, "+") && len(e.Address) <= 16
	} else {
		ok = ok && key != ""
	}
	if !ok || len(e.DedupID) != 32 || len(e.ProviderID) > maxProviderID || e.Reason == "" {
		t.Errorf("event %+v", e)
	}
	for _, s := range []string{e.Address, e.ProviderID, e.Kind, string(e.Evidence)} {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			t.Errorf("not storable: %q", s)
		}
	}
	var fields map[string]string
	if err := json.Unmarshal(e.Evidence, &fields); err != nil || len(e.Evidence) > 16<<10 {
		t.Errorf("evidence of %d bytes: %v", len(e.Evidence), err)
	}
}
