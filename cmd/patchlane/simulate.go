package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
)

// simulateCmd is `patchlane simulate`.
type simulateCmd struct {
	outputConfig
	Provider  string        `name:"provider" required:"" placeholder:"P" help:"Who posts: twilio, vonage, telnyx, plivo, messagebird, bird, ses, sendgrid, mailgun, postmark, sparkpost, brevo, mandrill, resend or standard."`
	NewKeys   bool          `name:"new-keys" help:"Print new keys for a drill's own endpoint, and post nothing: of telnyx, sendgrid and ses the provider alone has those that sign. For ses put the certificate into the folder of --sns-cert-dir."`
	Event     string        `name:"event" placeholder:"E" help:"What happened: stop, start or sentence (text messages); bounce, complaint or unsubscribe (e-mail); garbage (signed well, unreadable)."`
	URL       string        `name:"url" env:"PATCHLANE_URL" default:"http://127.0.0.1:8080" placeholder:"URL" help:"Where to post: the address of the API, or the whole URL of an endpoint (default: ${default})."`
	Endpoint  string        `name:"endpoint" placeholder:"ID" help:"Id of the endpoint, unless --url is its whole URL."`
	Secret    string        `name:"secret" env:"PATCHLANE_SIMULATE_SECRET" placeholder:"S" help:"What the provider signs with; @FILE reads it from a file. For telnyx the base64 seed of its key, for sendgrid and ses the private key as PEM, else the secret of the endpoint."`
	PublicURL string        `name:"public-url" env:"PATCHLANE_PUBLIC_URL" placeholder:"URL" help:"Address of the API as the provider knows it, where the API has one; twilio, plivo, mandrill, messagebird and bird sign it."`
	Address   string        `name:"address" placeholder:"A" help:"Phone number (E.164) or e-mail address that the event is about; default: an example that nobody has."`
	TopicARN  string        `name:"topic-arn" placeholder:"ARN" help:"SNS topic of an ses endpoint."`
	CertURL   string        `name:"cert-url" placeholder:"URL" help:"Place of the SNS certificate that an ses event names; a stack finds its file under --sns-cert-dir."`
	ID        string        `name:"id" placeholder:"ID" help:"Id of the event; give one twice to see a provider's retry."`
	Count     int           `name:"count" default:"1" placeholder:"N" help:"How often to post (with --id: the same event)."`
	Timeout   time.Duration `name:"timeout" default:"30s" help:"Longest time to wait for an answer."`
}

// Help is the long text of --help.
func (*simulateCmd) Help() string {
	return `Makes an event as the provider posts it, signs it as the provider does, and posts it to a running stack. The stack
cannot tell it from the real one: the contacts that have the address change.

Exit code 0 if every event was taken, 1 if one was not.`
}

// drill checks what was asked for; it reports every problem at once.
func (c *simulateCmd) drill() (*simulate.Drill, error) {
	d := &simulate.Drill{
		Provider: signature.Provider(c.Provider), Event: simulate.Event(c.Event), Address: c.Address,
		TopicARN: c.TopicARN, CertURL: c.CertURL, ID: c.ID, Key: c.Secret,
	}
	var problems []error
	if !slices.Contains(signature.Providers(), d.Provider) {
		problems = append(problems, fmt.Errorf("--provider: %q is none of %v", c.Provider, signature.Providers()))
	} else if events := simulate.EventsOf(d.Provider); !slices.Contains(events, d.Event) {
		problems = append(problems, fmt.Errorf("--event: %s sends no %q, only %v", c.Provider, c.Event, events))
	}
	var err error
	if d.Target, err = simulate.Target(c.URL, c.Endpoint); err != nil {
		problems = append(problems, fmt.Errorf("--url, --endpoint: %w", err))
	}
	d.Signed = d.Target
	if _, at, found := strings.Cut(d.Target, "/v1/webhooks/"); c.PublicURL != "" && found {
		d.Signed = strings.TrimSuffix(c.PublicURL, "/") + "/v1/webhooks/" + at
	}
	if file, isFile := strings.CutPrefix(c.Secret, "@"); isFile {
		key, err := os.ReadFile(file) //nolint:gosec // the file that the caller of the command names
		if err != nil {
			problems = append(problems, fmt.Errorf("--secret: %w", err))
		}
		d.Key = strings.TrimRight(string(key), "\r\n")
	}
	if c.Secret == "" {
		problems = append(problems, errors.New("--secret: missing; say what the provider signs with"))
	}
	if c.Count < 1 {
		problems = append(problems, fmt.Errorf("--count: %d is below 1", c.Count))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, &configError{err}
	}
	return d, nil
}

// simulated is what was answered to one event.
type simulated struct {
	ID     string  `json:"id"`
	Status int     `json:"status"`
	TookMS float64 `json:"took_ms"`
	// Answer and RetryAfter are shown of a refusal alone.
	Answer     string `json:"answer,omitempty"`
	RetryAfter string `json:"retry_after,omitempty"`
}

// Run posts the events and prints what was answered.
func (c *simulateCmd) Run(ctx context.Context, s streams) error {
	if c.NewKeys {
		return c.printKeys(s)
	}
	d, err := c.drill()
	if err != nil {
		return err
	}
	client := &http.Client{
		Timeout: c.Timeout, Transport: &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	done := struct {
		Provider string      `json:"provider"`
		Event    string      `json:"event"`
		Taken    int         `json:"taken"`
		Posts    []simulated `json:"posts"`
	}{Provider: c.Provider, Event: c.Event}
	t := table{head: []string{"event", "status", "took"}}
	for range c.Count {
		d.ID = c.ID
		a, err := d.Post(ctx, client, time.Now())
		if err != nil {
			return err
		}
		post := simulated{ID: d.ID, Status: a.Status, TookMS: float64(a.Took.Microseconds()) / 1000}
		if a.Status/100 == 2 {
			done.Taken++
		} else {
			post.Answer, post.RetryAfter = a.Body, a.RetryAfter
		}
		done.Posts = append(done.Posts, post)
		t.rows = append(t.rows, []string{d.ID, strconv.Itoa(a.Status), a.Took.Round(100 * time.Microsecond).String()})
	}
	if err := c.print(s, done, t); err != nil {
		return err
	}
	if done.Taken < c.Count {
		return fmt.Errorf("%d of %d events were not taken", c.Count-done.Taken, c.Count)
	}
	return nil
}

// printKeys makes keys for an endpoint of a drill's own.
func (c *simulateCmd) printKeys(s streams) error {
	p := signature.Provider(c.Provider)
	if !slices.Contains(signature.Providers(), p) {
		return &configError{fmt.Errorf("--provider: %q is none of %v", c.Provider, signature.Providers())}
	}
	keys, err := simulate.NewKeys(p, time.Now())
	if err != nil {
		return err
	}
	t := pairs("key (for simulate)", keys.Key, "secret (for the endpoint)", orDash(keys.Secret))
	if keys.Certificate != "" {
		t = pairs("key (for simulate)", keys.Key, "certificate", keys.Certificate, "cert url", keys.CertURL)
	}
	return c.print(s, keys, t)
}
