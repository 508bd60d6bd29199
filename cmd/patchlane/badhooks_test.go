package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
)

// badInput is one way in which a request of a provider is wrong.
type badInput struct {
	name string
	// of are the providers to which it can happen; none: all.
	of []signature.Provider
	// change is made before the event is signed, spoil afterwards.
	change func(d *simulate.Drill)
	spoil  func(p signature.Provider, header http.Header, body []byte) []byte
	signed time.Duration // how long ago
	reason func(p signature.Provider) signature.Reason
}

func always(r signature.Reason) func(signature.Provider) signature.Reason {
	return func(signature.Provider) signature.Reason { return r }
}

// windowed are the providers whose signature has a time.
func windowed() []signature.Provider {
	return []signature.Provider{
		signature.Vonage, signature.Telnyx, signature.MessageBird, signature.Bird, signature.SES, signature.SendGrid,
		signature.Mailgun, signature.Resend, signature.Standard,
	}
}

// badInputs are the ways, each with the reason that is counted for it.
func badInputs(others map[signature.Provider]providerEndpoint) []badInput {
	ses := []signature.Provider{signature.SES}
	return []badInput{
		{name: "a flipped byte", spoil: flip, reason: always(signature.RefusedBadSignature)},
		{
			name: "another secret", change: func(d *simulate.Drill) { d.Key = others[d.Provider].keys.Key },
			reason: always(signature.RefusedBadSignature),
		},
		{
			name: "another account's endpoint",
			change: func(d *simulate.Drill) {
				d.Target = strings.Replace(d.Target, d.Target[strings.LastIndexByte(d.Target, '/')+1:], others[d.Provider].id, 1)
				d.Signed = d.Target
			},
			reason: func(p signature.Provider) signature.Reason {
				if p == signature.SES {
					return signature.RefusedTopic
				}
				return signature.RefusedBadSignature
			},
		},
		{name: "a stale signature", of: windowed(), signed: 26 * time.Hour, reason: always(signature.RefusedStale)},
		{name: "a signature of tomorrow", of: windowed(), signed: -26 * time.Hour, reason: always(signature.RefusedFuture)},
		{
			name: "more than 5 MiB", reason: always(signature.RefusedTooLarge),
			spoil: func(_ signature.Provider, _ http.Header, body []byte) []byte {
				return append(body, make([]byte, signature.MaxBody)...)
			},
		},
		{
			name: "a field twice", of: []signature.Provider{signature.Twilio, signature.Plivo, signature.Mandrill},
			spoil: func(_ signature.Provider, _ http.Header, body []byte) []byte {
				key, _, _ := bytes.Cut(body, []byte("="))
				return append(body, "&"+string(key)+"=other"...)
			},
			reason: func(p signature.Provider) signature.Reason {
				if p == signature.Twilio { // It says how repeated fields are signed.
					return signature.RefusedBadSignature
				}
				return signature.RefusedDuplicateKey
			},
		},
		{
			name: "another topic", of: ses, reason: always(signature.RefusedTopic),
			change: func(d *simulate.Drill) { d.TopicARN = strings.Replace(d.TopicARN, "1234", "4321", 1) },
		},
		{
			name: "a forged certificate URL", of: ses, reason: always(signature.RefusedCertificate),
			change: func(d *simulate.Drill) {
				d.CertURL = strings.Replace(d.CertURL, "amazonaws.com", "amazonaws.com.evil.example", 1)
			},
		},
	}
}

// flip changes one character of what proves the sender: of the address where
// the body is signed, else of the token or the password.
func flip(p signature.Provider, header http.Header, body []byte) []byte {
	switch p {
	case signature.Postmark, signature.SparkPost, signature.Brevo:
		was := header.Get("Authorization")
		header.Set("Authorization", was[:len(was)-3]+string(was[len(was)-3]^1)+was[len(was)-2:])
	case signature.Mailgun:
		i := bytes.Index(body, []byte(`"token"`)) + len(`"token": "`)
		body[i] ^= 1
	default:
		i := max(bytes.Index(body, []byte("victim")), bytes.Index(body, []byte("1415555")))
		body[i+3] ^= 1
	}
	return body
}

// TestBadInputOfEveryProvider posts what is no event of a provider to a running
// stack: each is refused in the provider's own words, counted by provider and
// reason, and leaves nothing behind.
func TestBadInputOfEveryProvider(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	certs := t.TempDir()
	endpoints, others := s.endpoints(certs), s.foreignEndpoints()
	a := s.start("api", "--sns-cert-dir", certs).ready()
	want := map[string]int{}
	for _, p := range signature.Providers() {
		e := endpoints[p]
		for _, c := range badInputs(others) {
			if len(c.of) > 0 && !slices.Contains(c.of, p) {
				continue
			}
			d := s.victim(a, p, e)
			if c.change != nil {
				c.change(d)
			}
			status, err := s.spoiled(d, &c)
			reason := c.reason(p)
			refusal := signature.Refused(p, &signature.RefusalError{Reason: reason})
			if err != nil || status != refusal.Status {
				t.Errorf("%s: %s is answered %d, wanted %d, %v", p, c.name, status, refusal.Status, err)
			}
			want[fmt.Sprintf(`patchlane_webhook_refusals_total{provider="%s",reason="%s"}`, p, reason)]++
		}
		if r := a.do(http.MethodPost, "/v1/webhook-endpoints", fmt.Sprintf(`{"provider":%q,"secret":""}`, p)); r.Status != http.StatusBadRequest {
			t.Errorf("%s: an empty secret is answered %d", p, r.Status)
		}
	}
	_, metrics := s.get(a.Ops + "/metrics")
	for series, n := range want {
		if !strings.Contains(metrics, fmt.Sprintf("%s %d\n", series, n)) {
			t.Errorf("%s is not %d", series, n)
		}
	}
	if n := s.waiting(); n != 0 {
		t.Errorf("%d events of refused requests are kept", n)
	}
	if log := a.log.String(); strings.Contains(log, "victim@") || strings.Contains(log, "1415555") {
		t.Error("the log holds an address")
	}
}

// foreignEndpoints makes endpoints of another account, with keys of its own.
func (s *site) foreignEndpoints() map[signature.Provider]providerEndpoint {
	s.tb.Helper()
	var account struct{ ID string }
	s.command(&account, "admin", "account", "create", "--name", "another")
	all := map[signature.Provider]providerEndpoint{}
	for _, p := range signature.Providers() {
		keys, err := simulate.NewKeys(p, time.Now())
		if err != nil {
			s.tb.Fatal(err)
		}
		args := []string{"admin", "endpoint", "create", "--account", account.ID, "--provider", string(p)}
		if p == signature.SES {
			args = append(args, "--topic-arn", "arn:aws:sns:us-east-1:999999999999:theirs")
		} else {
			args = append(args, "--secret", keys.Secret)
		}
		var made struct{ ID string }
		s.command(&made, args...)
		all[p] = providerEndpoint{id: made.ID, keys: keys}
	}
	return all
}

// victim is an event that would opt somebody out.
func (s *site) victim(a *node, p signature.Provider, e providerEndpoint) *simulate.Drill {
	d := &simulate.Drill{
		Provider: p, Event: simulate.Bounce, Address: "victim@example.com", Key: e.keys.Key, TopicARN: drillTopic,
		CertURL: e.keys.CertURL, Target: a.API + "/v1/webhooks/" + e.id,
	}
	if slices.Contains(simulate.EventsOf(p), simulate.Stop) {
		d.Event, d.Address = simulate.Stop, "+14155550123"
	}
	d.Signed = d.Target
	return d
}

// spoiled signs an event, spoils it and posts it.
func (s *site) spoiled(d *simulate.Drill, c *badInput) (status int, err error) {
	r, err := d.Request(s.tb.Context(), time.Now().Add(-c.signed))
	if err != nil {
		return 0, err
	}
	if c.spoil != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return 0, err
		}
		body = c.spoil(d.Provider, r.Header, body)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	res, err := s.http.Do(r)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// TestGarbageOfEveryProvider: what is signed well and cannot be read is taken,
// set aside and shown; it is not asked for again.
func TestGarbageOfEveryProvider(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	certs := t.TempDir()
	endpoints := s.endpoints(certs)
	a := s.start("api", "--sns-cert-dir", certs).ready()
	s.start("worker").ready()
	for _, p := range signature.Providers() {
		d := s.victim(a, p, endpoints[p])
		d.Event = simulate.Garbage
		r, err := d.Request(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the very same bytes, as a provider's retry has them
			body, err := r.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			again := r.Clone(t.Context())
			again.Body = body
			res, err := s.http.Do(again)
			if err != nil || res.StatusCode != http.StatusOK || res.Body.Close() != nil {
				t.Fatalf("%s: %v, answered %d", p, err, res.StatusCode)
			}
		}
	}
	s.eventually(10*time.Second, "quarantined events", func() error {
		var listed struct {
			Data []struct{ Provider, Reason string }
		}
		if err := json.Unmarshal(a.do(http.MethodGet, "/v1/quarantined-events?limit=100", "").raw, &listed); err != nil {
			return err
		}
		of := map[string]int{}
		for _, e := range listed.Data {
			of[e.Provider]++
		}
		for _, p := range signature.Providers() {
			if of[string(p)] != 1 {
				return fmt.Errorf("%d events of %s: %v", of[string(p)], p, listed.Data)
			}
		}
		return nil
	})
	_, metrics := s.get(a.Ops + "/metrics")
	for _, p := range signature.Providers() {
		if !strings.Contains(metrics, fmt.Sprintf(`patchlane_webhook_requests_total{outcome="accepted",provider="%s"} 2`, p)) {
			t.Errorf("%s: two accepted requests are not counted", p)
		}
	}
}

// TestTenTimesAndTwoTopics: the same event ten times, at once and one after the
// other, and one bounce that Amazon reports through two topics: one effect.
func TestTenTimesAndTwoTopics(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	certs := t.TempDir()
	endpoints := s.endpoints(certs)
	const secondTopic = "arn:aws:sns:us-east-1:123456789012:events"
	var second struct{ ID string }
	s.command(&second, "admin", "endpoint", "create", "--account", s.account(), "--provider", "ses", "--topic-arn", secondTopic)
	a := s.start("api", "--sns-cert-dir", certs).ready()
	s.start("worker").ready()
	path := a.person("victim@example.com", "+14155550123")

	stop := s.victim(a, signature.Twilio, endpoints[signature.Twilio])
	stop.ID = strings.Repeat("a", 32)
	same := make(chan error, 10)
	for range cap(same) {
		again := *stop
		go func() {
			answer, err := again.Post(s.tb.Context(), s.http, time.Now())
			if err == nil && answer.Status != http.StatusOK {
				err = fmt.Errorf("answered %d", answer.Status)
			}
			same <- err
		}()
	}
	for range cap(same) {
		if err := <-same; err != nil {
			t.Error(err)
		}
	}
	bounce := s.victim(a, signature.SES, endpoints[signature.SES])
	bounce.ID = strings.Repeat("b", 32)
	s.post(bounce)
	twin := *bounce
	twin.TopicARN, twin.Target = secondTopic, a.API+"/v1/webhooks/"+second.ID
	s.post(&twin)

	s.eventually(10*time.Second, "both flags", func() error {
		if got := a.consentOf(path); !got.SMS || !got.Email || s.waiting() > 0 {
			return fmt.Errorf("the contact is %s, %d events wait", got, s.waiting())
		}
		return nil
	})
	for query, want := range map[string]int{
		`SELECT count(*) FROM webhook_events WHERE channel = 'sms'`:       1,
		`SELECT count(*) FROM webhook_events WHERE channel = 'email'`:     1,
		`SELECT count(*) FROM writes WHERE kind = 'consent'`:              2,
		`SELECT version FROM contacts WHERE email = 'victim@example.com'`: 3,
	} {
		if got := s.number(query); got != want {
			t.Errorf("%s: %d, wanted %d", query, got, want)
		}
	}
}

// number reads a number out of the database.
func (s *site) number(query string) (n int) {
	s.tb.Helper()
	conn, err := pgx.Connect(s.tb.Context(), s.db)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(s.tb.Context())) }()
	if err := conn.QueryRow(s.tb.Context(), query).Scan(&n); err != nil {
		s.tb.Fatal(err)
	}
	return n
}

// TestBornOptedOut: whoever gets a number that said STOP before anybody had it,
// by a create, a PATCH or a row of a batch, is opted out by that event, which
// the change log cites.
func TestBornOptedOut(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	endpoints := s.endpoints(t.TempDir())
	a := s.start("api").ready()
	s.start("worker").ready()
	stop := s.victim(a, signature.Twilio, endpoints[signature.Twilio])
	s.post(stop)
	s.eventually(10*time.Second, "the suppression", func() error {
		if r := a.do(http.MethodGet, "/v1/suppressions?"+url.Values{"channel": {"sms"}, "address": {stop.Address}}.Encode(), ""); !strings.Contains(string(r.raw), stop.Address) {
			return fmt.Errorf("%d %s", r.Status, r.raw)
		}
		return nil
	})
	created := a.do(http.MethodPost, "/v1/contacts", fmt.Sprintf(`{"first_name":"Ada","phone":%q}`, stop.Address)).Data.ID
	patched := a.do(http.MethodPost, "/v1/contacts", `{"first_name":"Grace"}`).Data.ID
	a.do(http.MethodPatch, "/v1/contacts/"+patched, fmt.Sprintf(`{"phone":%q,"sms_unsubscribed":false}`, stop.Address))
	row := a.do(http.MethodPost, "/v1/contacts", `{"first_name":"Alan"}`).Data.ID
	rows := a.batch([]string{
		fmt.Sprintf(`{"id":%q,"patch":{"phone":%q}}`, row, stop.Address),
		fmt.Sprintf(`{"patch":{"first_name":"Edsger","phone":%q}}`, stop.Address),
	})
	for _, id := range []string{created, patched, row, rows[1].ContactID} {
		s.eventually(10*time.Second, "born opted out", func() error {
			if r := a.do(http.MethodGet, "/v1/contacts/"+id, ""); !strings.Contains(string(r.raw), `"sms_unsubscribed_reason":"keyword_stop"`) {
				return fmt.Errorf("%d %s", r.Status, r.raw)
			}
			return nil
		})
		if n := s.number(`SELECT count(*) FROM crm_field_change_log l JOIN webhook_events e ON e.id::text = l.source_event
			WHERE l.field = 'sms_unsubscribed' AND l.contact_id = '` + id + `'`); n != 1 {
			t.Errorf("%d rows of the change log of %s cite the event", n, id)
		}
	}
}
