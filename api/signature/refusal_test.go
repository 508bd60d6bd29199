package signature

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// covered tells whether the signature of a provider covers the body.
func covered(p Provider) bool {
	switch p {
	case Mailgun, Postmark, SparkPost, Brevo:
		return false
	default:
		return true
	}
}

// forEachSample runs a test with the first opt-out of every provider.
func forEachSample(t *testing.T, test func(t *testing.T, v *Verifier, ep Endpoint, req Request)) {
	t.Helper()
	m := readManifest(t)
	v := newSampleVerifier(t)
	for p, f := range signedSamples(t, m) {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			test(t, v, f.endpoint(m), f.request(t, m))
		})
	}
}

func TestFlippedByteIsRefused(t *testing.T) {
	t.Parallel()
	forEachSample(t, func(t *testing.T, v *Verifier, ep Endpoint, req Request) {
		t.Helper()
		before, err := v.Verify(t.Context(), ep, req)
		if err != nil {
			t.Fatal(err)
		}
		i := max(bytes.Index(req.Body, []byte("STOP")), bytes.Index(req.Body, []byte("ane.")), bytes.Index(req.Body, []byte("+61")))
		req.Body = bytes.Clone(req.Body)
		req.Body[i] ^= 1
		if covered(ep.Provider) {
			if got := refusal(t.Context(), t, v, ep, req); got != RefusedBadSignature {
				t.Fatalf("refused %q", got)
			}
			return
		}
		after, err := v.Verify(t.Context(), ep, req)
		if err != nil {
			t.Fatal(err)
		}
		if ep.Provider == Mailgun && (after.OneTime.Token != before.OneTime.Token || after.OneTime.BodyHash == before.OneTime.BodyHash) {
			t.Errorf("the token is not bound to the body: %v, %v", before.OneTime, after.OneTime)
		}
	})
}

func TestWrongSecretIsRefused(t *testing.T) {
	t.Parallel()
	forEachSample(t, func(t *testing.T, v *Verifier, ep Endpoint, req Request) {
		t.Helper()
		if ep.Provider == SES {
			ep.TopicARN = strings.Replace(ep.TopicARN, "1234", "4321", 1)
			if got := refusal(t.Context(), t, v, ep, req); got != RefusedTopic {
				t.Fatalf("refused %q", got)
			}
			return
		}
		right := ep.Secrets[0]
		ep.Secrets = []string{right[:len(right)-3] + "AAA"}
		if ep.Provider == Telnyx || ep.Provider == SendGrid || ep.Provider == Standard || ep.Provider == Resend {
			ep.Secrets = []string{right[:10] + "AAAA" + right[14:]}
		}
		switch got := refusal(t.Context(), t, v, ep, req); got {
		case RefusedBadSignature, RefusedNoSecret:
		default:
			t.Fatalf("refused %q", got)
		}
		ep.Secrets = append(ep.Secrets, right)
		if _, err := v.Verify(t.Context(), ep, req); err != nil {
			t.Errorf("with the right one beside: %v", err)
		}
	})
}

func TestEmptySecretIsRefused(t *testing.T) {
	t.Parallel()
	forEachSample(t, func(t *testing.T, v *Verifier, ep Endpoint, req Request) {
		t.Helper()
		ep.TopicARN = ""
		for _, secrets := range [][]string{nil, {}, {""}, {"", ""}} {
			ep.Secrets = secrets
			if got := refusal(t.Context(), t, v, ep, req); got != RefusedNoSecret {
				t.Errorf("secrets %q: refused %q", secrets, got)
			}
		}
	})
}

func TestMissingSignatureIsRefused(t *testing.T) {
	t.Parallel()
	forEachSample(t, func(t *testing.T, v *Verifier, ep Endpoint, req Request) {
		t.Helper()
		req.Header = http.Header{"Content-Type": req.Header["Content-Type"]}
		switch ep.Provider {
		case SES:
			req.Body = bytes.Replace(req.Body, []byte(`"Signature":`), []byte(`"Signatur":`), 1)
		case Mailgun:
			req.Body = bytes.Replace(req.Body, []byte(`"signature":{`), []byte(`"signatur":{`), 1)
		default:
		}
		_, err := v.Verify(t.Context(), ep, req)
		switch got := ReasonOf(err); got {
		case RefusedMissingSignature, RefusedCredentials, RefusedBadSignature:
		default:
			t.Errorf("refused %q: %v", got, err)
		}
	})
}

func TestAge(t *testing.T) {
	t.Parallel()
	// The oldest signature that is good, and so the longest repetition.
	windows := map[Provider]time.Duration{
		Vonage: 25 * time.Hour, Telnyx: 5 * time.Minute, Bird: 8*time.Hour + 10*time.Minute,
		MessageBird: 70 * time.Second, SES: 90 * time.Minute, SendGrid: 25 * time.Hour,
		Mailgun: 9 * time.Hour, Resend: 5 * time.Minute, Standard: 5 * time.Minute,
	}
	forEachSample(t, func(t *testing.T, v *Verifier, ep Endpoint, req Request) {
		t.Helper()
		window, limited := windows[ep.Provider]
		if !limited {
			window = 10 * 365 * 24 * time.Hour / 2
		}
		// The samples are signed within six seconds of the clock.
		arrived := req.ReceivedAt
		req.ReceivedAt = arrived.Add(window)
		if got := refusal(t.Context(), t, v, ep, req); got != "" {
			t.Errorf("at the end of the window: refused %q", got)
		}
		if !limited {
			return
		}
		req.ReceivedAt = arrived.Add(window + 7*time.Second)
		if got := refusal(t.Context(), t, v, ep, req); got != RefusedStale {
			t.Errorf("behind the window: refused %q", got)
		}
		req.ReceivedAt = arrived.Add(-6 * time.Minute)
		if got := refusal(t.Context(), t, v, ep, req); got != RefusedFuture {
			t.Errorf("from the future: refused %q", got)
		}
	})
}

func TestMethodsAndSize(t *testing.T) {
	t.Parallel()
	forEachSample(t, func(t *testing.T, v *Verifier, ep Endpoint, req Request) {
		t.Helper()
		big := req
		big.Body = make([]byte, MaxBody+1)
		err := func() error { _, err := v.Verify(t.Context(), ep, big); return err }()
		if want := map[Provider]int{Mailgun: http.StatusNotAcceptable}[ep.Provider]; ReasonOf(err) != RefusedTooLarge ||
			(want != 0 && Refused(ep.Provider, err).Status != want) {
			t.Errorf("large body: %v", err)
		}
		req.Method = http.MethodDelete
		_, err = v.Verify(t.Context(), ep, req)
		if a := Refused(ep.Provider, err); a.Status != http.StatusMethodNotAllowed || !strings.Contains(a.Header.Get("Allow"), "POST") {
			t.Errorf("DELETE: %v, answered %+v", err, a)
		}
	})
	v := NewVerifier(nil)
	if got := refusal(t.Context(), t, v, Endpoint{Provider: "nobody"}, Request{Method: http.MethodPost}); got != RefusedProvider {
		t.Errorf("unknown provider: refused %q", got)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	type row struct{ refused, overloaded int }
	want := map[Provider]row{
		Twilio: {403, 503}, Vonage: {401, 503}, Telnyx: {401, 503}, Plivo: {403, 503},
		MessageBird: {401, 503}, Bird: {401, 503}, SES: {403, 503}, SendGrid: {401, 503},
		Mailgun: {406, 503}, Postmark: {401, 503}, SparkPost: {401, 503}, Brevo: {401, 429},
		Mandrill: {401, 503}, Resend: {401, 503}, Standard: {401, 503},
	}
	for _, p := range Providers() {
		over := Overloaded(p, 1500*time.Millisecond)
		got := row{Refused(p, refuse(RefusedBadSignature)).Status, over.Status}
		if got != want[p] {
			t.Errorf("%s: %+v, want %+v", p, got, want[p])
		}
		if over.Header.Get("Retry-After") != "2" {
			t.Errorf("%s: Retry-After %q", p, over.Header.Get("Retry-After"))
		}
		if Accepted(p).Status != 200 || Refused(p, Forged()).Status != want[p].refused {
			t.Errorf("%s: accepted %d", p, Accepted(p).Status)
		}
		if Refused(p, ErrUnavailable).Status != want[p].overloaded || Refused(p, http.ErrNoCookie).Status != want[p].overloaded {
			t.Errorf("%s: what cannot be judged is not asked for again", p)
		}
	}
	a := Refused(Postmark, &RefusalError{Reason: RefusedCredentials, challenge: true})
	if a.Status != 401 || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic") {
		t.Errorf("no challenge: %+v", a)
	}
}

func TestPlivoFallsBackNeverFromAFailedVersion(t *testing.T) {
	t.Parallel()
	m := readManifest(t)
	f := signedSamples(t, m)[Plivo]
	ep, req, v := f.endpoint(m), f.request(t, m), NewVerifier(nil)
	req.Body = bytes.Replace(req.Body, []byte("STOP"), []byte("STAY"), 1)
	if got := refusal(t.Context(), t, v, ep, req); got != RefusedBadSignature {
		t.Errorf("version 2 stood in: %q", got)
	}
	req.Header.Del("X-Plivo-Signature-V3")
	verified, err := v.Verify(t.Context(), ep, req)
	if err != nil || verified.OneTime == nil || verified.OneTime.Token != req.Header.Get("X-Plivo-Signature-V2-Nonce") {
		t.Fatalf("version 2: %+v, %v", verified, err)
	}
	req.Header.Del("X-Plivo-Signature-V2-Nonce")
	if got := refusal(t.Context(), t, v, ep, req); got != RefusedBadSignature {
		t.Errorf("without nonce: %q", got)
	}
}

func TestRepeatedFields(t *testing.T) {
	t.Parallel()
	m := readManifest(t)
	v := NewVerifier(nil)
	for p, want := range map[Provider]Reason{Twilio: RefusedBadSignature, Plivo: RefusedDuplicateKey, Mandrill: RefusedDuplicateKey} {
		f := signedSamples(t, m)[p]
		req := f.request(t, m)
		first, _, _ := bytes.Cut(req.Body, []byte("&"))
		key, _, _ := bytes.Cut(first, []byte("="))
		req.Body = append(bytes.Clone(req.Body), "&"+string(key)+"=other"...)
		if got := refusal(t.Context(), t, v, f.endpoint(m), req); got != want {
			t.Errorf("%s: refused %q", p, got)
		}
	}
	// Twilio defines how repeated fields are signed; what they mean stays open.
	req := Request{Method: http.MethodPost, Header: formHeader(), Body: []byte("MessageSid=SM1&From=%2B14155552671&Body=STOP&Body=hi")}
	got := Decode(Endpoint{Provider: Twilio}, req)
	if len(got.Events) != 0 || len(got.Quarantined) != 1 || got.Quarantined[0].Reason != QuarantineDuplicateKey {
		t.Errorf("contradiction: %+v", got)
	}
}

func TestTwilioURLSpellings(t *testing.T) {
	t.Parallel()
	const key, called = "12345", "https://h.example/x?a=1"
	body := "Body=STOP%3B+now&From=%2B14155552671&MessageSid=SM1"
	fields, err := parseForm(body)
	if err != nil {
		t.Fatal(err)
	}
	auth := http.Request{Header: http.Header{}}
	auth.SetBasicAuth("u", "p")
	for signed, ok := range map[string]bool{
		called: true, "https://h.example:443/x?a=1": true, "https://u:p@h.example/x?a=1": true,
		"https://u:p@h.example:443/x?a=1": true, "http://h.example/x?a=1": false, "https://h.example/x": false,
	} {
		req := Request{Method: http.MethodPost, RawQuery: "a=1", Body: []byte(body), Header: formHeader(
			"X-Twilio-Signature", twilioSign(key, signed+fields.concat()), "Authorization", auth.Header.Get("Authorization"))}
		ep := Endpoint{Provider: Twilio, Secrets: []string{key}, URL: "https://h.example/x"}
		if _, err := NewVerifier(nil).Verify(t.Context(), ep, req); (err == nil) != ok {
			t.Errorf("%s: %v", signed, err)
		}
	}
}

func TestTwilioGet(t *testing.T) {
	t.Parallel()
	query := url.Values{"Body": {"STOP"}, "From": {"+14155552671"}, "MessageSid": {"SM1"}}.Encode()
	ep := Endpoint{Provider: Twilio, Secrets: []string{"12345"}, URL: "https://h.example/x"}
	req := Request{
		Method: http.MethodGet, RawQuery: query,
		Header: http.Header{"X-Twilio-Signature": {twilioSign("12345", ep.URL+"?"+query)}},
	}
	if _, err := NewVerifier(nil).Verify(t.Context(), ep, req); err != nil {
		t.Fatal(err)
	}
	if got := Decode(ep, req); len(got.Events) != 1 || got.Events[0].Action != OptOut {
		t.Errorf("%+v", got)
	}
	req.RawQuery += "&To=1"
	if got := refusal(t.Context(), t, NewVerifier(nil), ep, req); got != RefusedBadSignature {
		t.Errorf("refused %q", got)
	}
}

func TestMandrillChallenges(t *testing.T) {
	t.Parallel()
	ep := Endpoint{Provider: Mandrill, URL: "http://localhost/"}
	v := NewVerifier(nil)
	got, err := v.Verify(t.Context(), ep, Request{Method: http.MethodHead})
	if err != nil || !got.Challenge {
		t.Errorf("HEAD: %+v, %v", got, err)
	}
	sign := func(body string) Request {
		fields, err := parseForm(body)
		if err != nil {
			t.Fatal(err)
		}
		return Request{Method: http.MethodPost, Body: []byte(body), Header: formHeader(
			"X-Mandrill-Signature", twilioSign(mandrillTestKey, ep.URL+fields.concat()))}
	}
	if got, err := v.Verify(t.Context(), ep, sign("mandrill_events=%5B%5D")); err != nil || !got.Challenge {
		t.Errorf("empty batch: %+v, %v", got, err)
	}
	ep.Secrets = []string{"the-key"}
	full := sign("mandrill_events=" + url.QueryEscape(`[{"event":"unsub","_id":"1","ts":1,"msg":{"email":"a@b.example"}}]`))
	if got := refusal(t.Context(), t, v, ep, full); got != RefusedBadSignature {
		t.Errorf("the test key admitted an event: %q", got)
	}
}

func TestVonageToken(t *testing.T) {
	t.Parallel()
	m := readManifest(t)
	f := signedSamples(t, m)[Vonage]
	ep, v := f.endpoint(m), NewVerifier(nil)
	req := f.request(t, m)
	good := req.Header.Get("Authorization")
	parts := strings.Split(strings.TrimPrefix(good, "Bearer "), ".")
	// {"alg":"none"} and an HS384 header over the same claims.
	for _, token := range []string{
		"eyJhbGciOiJub25lIn0." + parts[1] + ".", "eyJhbGciOiJIUzM4NCJ9." + parts[1] + "." + parts[2],
		parts[0] + "." + parts[1], "", "a.b.c", parts[0] + "." + parts[1] + ".!!!",
	} {
		req.Header.Set("Authorization", "Bearer "+token)
		if got := refusal(t.Context(), t, v, ep, req); got == "" {
			t.Errorf("accepted %q", token)
		}
	}
	req.Header.Set("Authorization", "Basic "+parts[0])
	if got := refusal(t.Context(), t, v, ep, req); got != RefusedMissingSignature {
		t.Errorf("refused %q", got)
	}
}
