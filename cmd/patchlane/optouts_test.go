package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
)

const drillTopic = "arn:aws:sns:us-east-1:123456789012:drill"

// providerEndpoint is an endpoint of a provider and what its drills need.
type providerEndpoint struct {
	id   string
	keys simulate.Keys
}

// endpoints makes an endpoint of every provider. The certificate of SNS goes
// into the folder.
func (s *site) endpoints(certs string) map[signature.Provider]providerEndpoint {
	s.tb.Helper()
	all := map[signature.Provider]providerEndpoint{}
	for _, p := range signature.Providers() {
		keys, err := simulate.NewKeys(p, time.Now())
		if err != nil {
			s.tb.Fatal(err)
		}
		args := []string{"admin", "endpoint", "create", "--account", s.account(), "--provider", string(p)}
		if p == signature.SES {
			args = append(args, "--topic-arn", drillTopic)
			u, err := url.Parse(keys.CertURL)
			if err != nil {
				s.tb.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(certs, filepath.Base(u.Path)), []byte(keys.Certificate), 0o600); err != nil {
				s.tb.Fatal(err)
			}
		} else {
			args = append(args, "--secret", keys.Secret)
		}
		var made struct{ ID, Path string }
		s.command(&made, args...)
		if made.Path != "/v1/webhooks/"+made.ID {
			s.tb.Errorf("path %q", made.Path)
		}
		all[p] = providerEndpoint{id: made.ID, keys: keys}
	}
	return all
}

// account is the account of the site's key.
func (s *site) account() string {
	s.tb.Helper()
	var list struct{ Accounts []struct{ ID string } }
	s.command(&list, "admin", "account", "list")
	return list.Accounts[0].ID
}

// post posts an event and expects a success.
func (s *site) post(d *simulate.Drill) {
	s.tb.Helper()
	a, err := d.Post(s.tb.Context(), s.http, time.Now())
	if err != nil || a.Status != http.StatusOK {
		s.tb.Fatalf("%s %s: %v, answered %d %s", d.Provider, d.Event, err, a.Status, a.Body)
	}
}

// consent is what a contact shows of its opt-outs.
type consent struct {
	Email       bool    `json:"email_unsubscribed"`
	EmailReason *string `json:"email_unsubscribed_reason"`
	SMS         bool    `json:"sms_unsubscribed"`
	SMSReason   *string `json:"sms_unsubscribed_reason"`
}

func (c consent) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// consentOf reads a contact's flags.
func (n *node) consentOf(path string) consent {
	n.site.tb.Helper()
	r := n.do(http.MethodGet, path, "")
	var body struct{ Data consent }
	if err := json.Unmarshal(r.raw, &body); err != nil || r.Status != http.StatusOK {
		n.site.tb.Fatalf("read %s: %d %s", path, r.Status, r.raw)
	}
	return body.Data
}

// person makes a contact with addresses of its own.
func (n *node) person(email, phone string) string {
	n.site.tb.Helper()
	r := n.do(http.MethodPost, "/v1/contacts", fmt.Sprintf(`{"first_name":"Jane","email":%q,"phone":%q}`, email, phone))
	if r.Status != http.StatusCreated {
		n.site.tb.Fatalf("create: %d %s", r.Status, r.raw)
	}
	return "/v1/contacts/" + r.Data.ID
}

// TestEveryProviderFromEndToEnd posts what each provider sends to a running
// stack, each event twice as a provider's retry does, and waits for the flag:
// one effect, and one row in the change log that names its event.
func TestEveryProviderFromEndToEnd(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	certs := t.TempDir()
	endpoints := s.endpoints(certs)
	a := s.start("api", "--sns-cert-dir", certs, "--public-url", "https://crm.example.com/base/").ready()
	s.start("worker").ready()
	reasons := map[simulate.Event]string{
		simulate.Stop: "keyword_stop", simulate.Bounce: "hard_bounce",
		simulate.Complaint: "complaint", simulate.Unsubscribe: "unsubscribe",
	}
	serial := 0
	for _, p := range signature.Providers() {
		for _, event := range simulate.EventsOf(p) {
			reason, optsOut := reasons[event]
			if !optsOut {
				continue
			}
			serial++
			email, phone := fmt.Sprintf("person%d@example.com", serial), fmt.Sprintf("+1415555%04d", 2000+serial)
			path := a.person(email, phone)
			address, want := email, consent{Email: true, EmailReason: &reason}
			if event == simulate.Stop {
				address, want = phone, consent{SMS: true, SMSReason: &reason}
			}
			e := endpoints[p]
			d := &simulate.Drill{
				Provider: p, Event: event, Address: address, Key: e.keys.Key, TopicARN: drillTopic, CertURL: e.keys.CertURL,
				Target: a.API + "/v1/webhooks/" + e.id, Signed: "https://crm.example.com/base/v1/webhooks/" + e.id,
			}
			s.post(d)
			s.post(d)
			s.eventually(10*time.Second, string(p)+" "+string(event), func() error {
				if got := a.consentOf(path); got.String() != want.String() {
					return fmt.Errorf("the contact is %s", got)
				}
				return nil
			})
			a.checkOneEffect(path)
		}
	}
}

// checkOneEffect expects the flag to have changed once, by an event.
func (n *node) checkOneEffect(path string) {
	n.site.tb.Helper()
	r := n.do(http.MethodGet, "/v1/data/crm-logs?limit=100&contact_id="+strings.TrimPrefix(path, "/v1/contacts/"), "")
	var page struct {
		Data []struct{ Field, Source string }
	}
	if err := json.Unmarshal(r.raw, &page); err != nil {
		n.site.tb.Fatal(err)
	}
	flags := 0
	for _, row := range page.Data {
		if strings.HasSuffix(row.Field, "_unsubscribed") {
			flags++
			if row.Source != "webhook" {
				n.site.tb.Errorf("%s was changed by %s", row.Field, row.Source)
			}
		}
	}
	if flags != 1 {
		n.site.tb.Errorf("%s: the flag changed %d times: %s", path, flags, r.raw)
	}
}

// TestOptOutsFromEndToEnd goes through suppressions, reviews, quarantine and
// links on a running stack.
func TestOptOutsFromEndToEnd(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	a := s.start("api").ready()
	s.start("worker").ready()
	const email, phone = "jane@example.com", "+14155550188"
	path := a.person(email, phone)

	if r := a.do(http.MethodPost, "/v1/suppressions", `{"channel":"email","address":"Jane@Example.com"}`); r.Status != http.StatusCreated {
		t.Fatalf("suppress: %d %s", r.Status, r.raw)
	}
	if got := a.consentOf(path); !got.Email || *got.EmailReason != "manual" {
		t.Errorf("after POST: %s", got)
	}
	if r := a.do(http.MethodDelete, "/v1/suppressions?channel=email&address="+email, ""); r.Status != http.StatusNoContent {
		t.Fatalf("re-subscribe: %d %s", r.Status, r.raw)
	}
	if got := a.consentOf(path); got.Email {
		t.Errorf("after DELETE: %s", got)
	}
	s.reviewAndQuarantine(a, path, phone)
	s.oneClick(a, path)
}

// reviewAndQuarantine posts what a person must judge and what nobody can read.
func (s *site) reviewAndQuarantine(a *node, path, phone string) {
	s.tb.Helper()
	r := a.do(http.MethodPost, "/v1/webhook-endpoints", `{"provider":"twilio","secret":"token"}`)
	var made struct{ ID, URL string }
	if err := json.Unmarshal(r.raw, &made); err != nil || r.Status != http.StatusCreated || !strings.HasPrefix(made.URL, a.API) {
		s.tb.Fatalf("endpoint: %d %s", r.Status, r.raw)
	}
	for _, event := range []simulate.Event{simulate.Sentence, simulate.Garbage} {
		s.post(&simulate.Drill{Provider: signature.Twilio, Event: event, Address: phone, Key: "token", Target: made.URL, Signed: made.URL})
	}
	var reviews, lost struct {
		Data []struct{ ID, Element string }
	}
	s.eventually(10*time.Second, "a review and a quarantined event", func() error {
		if err := json.Unmarshal(a.do(http.MethodGet, "/v1/optout-reviews", "").raw, &reviews); err != nil {
			return err
		}
		if err := json.Unmarshal(a.do(http.MethodGet, "/v1/quarantined-events", "").raw, &lost); err != nil {
			return err
		}
		if len(reviews.Data) != 1 || len(lost.Data) != 1 || lost.Data[0].Element == "" {
			return fmt.Errorf("%d reviews, %d quarantined events", len(reviews.Data), len(lost.Data))
		}
		return nil
	})
	if got := a.consentOf(path); got.SMS {
		s.tb.Errorf("before anybody judged: %s", got)
	}
	for range 2 {
		r := a.do(http.MethodPost, "/v1/optout-reviews/"+reviews.Data[0].ID+"/accept", "")
		if r.Status != http.StatusOK || !strings.Contains(string(r.raw), `"accepted"`) {
			s.tb.Errorf("accept: %d %s", r.Status, r.raw)
		}
	}
	if got := a.consentOf(path); !got.SMS || *got.SMSReason != "keyword_stop" {
		s.tb.Errorf("accepted: %s", got)
	}
	var listed struct{ Events []struct{ ID string } }
	s.command(&listed, "admin", "events", "list")
	if len(listed.Events) != 1 || listed.Events[0].ID != lost.Data[0].ID {
		s.tb.Errorf("admin lists %+v", listed)
	}
}

// oneClick unsubscribes an archived contact by a link, at another replica than
// the one that made it.
func (s *site) oneClick(a *node, path string) {
	s.tb.Helper()
	b := s.start("api").ready()
	if r := a.do(http.MethodDelete, path, ""); r.Status != http.StatusNoContent {
		s.tb.Fatalf("archive: %d %s", r.Status, r.raw)
	}
	r := a.do(http.MethodPost, "/v1/unsubscribe-links", `{"contact_id":"`+strings.TrimPrefix(path, "/v1/contacts/")+`"}`)
	var link struct{ URL string }
	if err := json.Unmarshal(r.raw, &link); err != nil || r.Status != http.StatusCreated {
		s.tb.Fatalf("link: %d %s", r.Status, r.raw)
	}
	there := b.API + strings.TrimPrefix(link.URL, a.API)
	if status, body := s.get(there); status != http.StatusOK || !strings.Contains(body, "<form") {
		s.tb.Fatalf("page: %d %s", status, body)
	}
	res, err := s.http.PostForm(there, url.Values{"List-Unsubscribe": {"One-Click"}})
	if err != nil {
		s.tb.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		s.tb.Fatalf("click: %d", res.StatusCode)
	}
	s.eventually(10*time.Second, "unsubscribed", func() error {
		if got := a.consentOf(path); !got.Email || *got.EmailReason != "unsubscribe" {
			return fmt.Errorf("the contact is %s", got)
		}
		return nil
	})
}

// TestWebhooksWithoutPostgres are taken, and applied when it is back: the new
// process of the API knows the endpoint by Redis alone.
func TestWebhooksWithoutPostgres(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	first := s.start("api").ready()
	const phone = "+14155550177"
	w := s.start("worker").ready()
	path := first.person("someone@example.com", phone)
	w.stop()
	w.ended()
	e := s.endpoints(t.TempDir())[signature.Twilio]
	away := *s
	away.db = "postgres://nobody@127.0.0.1:1/nowhere?connect_timeout=1"
	n := away.start("api")
	away.eventually(20*time.Second, "taken without Postgres", func() error {
		target := n.API + "/v1/webhooks/" + e.id
		d := &simulate.Drill{Provider: signature.Twilio, Event: simulate.Stop, Address: phone, Key: e.keys.Key, Target: target, Signed: target}
		a, err := d.Post(t.Context(), s.http, time.Now())
		if err != nil || a.Status != http.StatusOK {
			return fmt.Errorf("answered %d, %w", a.Status, err)
		}
		return nil
	})
	s.start("worker").ready()
	s.eventually(10*time.Second, "applied", func() error {
		if got := first.consentOf(path); !got.SMS {
			return fmt.Errorf("the contact is %s", got)
		}
		return nil
	})
}
