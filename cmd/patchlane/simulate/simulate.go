// Package simulate is `patchlane simulate`: it makes events as the providers
// post them, signs them with the secret of an endpoint, and posts them to a
// running stack. It is a drill for operators and a demonstration for newcomers;
// the stack cannot tell it from the provider, so it changes real consent.
package simulate

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"patchlane/api/signature"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// Event is what a simulated person or mail server did.
type Event string

// The events.
const (
	Stop        Event = "stop"
	Start       Event = "start"
	Bounce      Event = "bounce"
	Complaint   Event = "complaint"
	Unsubscribe Event = "unsubscribe"
	// Sentence is a text that only mentions a stop word, which a person has to
	// judge: it goes to the review list.
	Sentence Event = "sentence"
	// Garbage is signed well and cannot be read: it goes to quarantine.
	Garbage Event = "garbage"
)

// Drill says what to post, and where.
type Drill struct {
	Provider signature.Provider
	Event    Event
	// Address is a phone number in E.164 form or an e-mail address; empty: one
	// that fits the event.
	Address string
	// Target is where the request is posted; Signed is the address of the
	// endpoint as the provider knows it, which some of them sign.
	Target, Signed string
	// Key signs. It is what the provider holds: the secret of the endpoint, but
	// for telnyx the base64 seed of its key, and for sendgrid and ses the
	// private key as PEM.
	Key string
	// TopicARN is the SNS topic of an ses endpoint, and CertURL the place of its
	// certificate.
	TopicARN, CertURL string
	// ID is the id of the event; empty: a new one. Posting one twice is what a
	// provider's retry does.
	ID string
}

// Answer is what the stack said.
type Answer struct {
	Status     int
	RetryAfter string
	Body       string
	Took       time.Duration
}

// Post makes the event, signs it and posts it.
func (d *Drill) Post(ctx context.Context, client *http.Client, now time.Time) (Answer, error) {
	r, err := d.Request(ctx, now)
	if err != nil {
		return Answer{}, err
	}
	began := time.Now()
	resp, err := client.Do(r)
	if err != nil {
		return Answer{}, fmt.Errorf("post event: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("read answer: %w", err)
	}
	return Answer{
		Status: resp.StatusCode, RetryAfter: resp.Header.Get("Retry-After"),
		Body: string(body), Took: time.Since(began),
	}, nil
}

// Request makes the event and signs it. Sending it again is what a provider does
// that heard no success.
func (d *Drill) Request(ctx context.Context, now time.Time) (*http.Request, error) {
	s, err := d.sample(now)
	if err != nil {
		return nil, err
	}
	req := signature.Request{
		Method: http.MethodPost, Header: http.Header{"Content-Type": {s.mediaType}, "User-Agent": {"patchlane-simulate"}},
		Body: s.body, ReceivedAt: now,
	}
	switch d.Provider {
	case signature.Resend:
		req.Header.Set("svix-id", "msg_"+d.ID)
	case signature.Standard:
		req.Header.Set("webhook-id", "msg_"+d.ID)
	default:
	}
	ep := signature.Endpoint{Provider: d.Provider, URL: d.Signed, TopicARN: d.TopicARN}
	if err := signature.Sign(ep, &req, d.Key); err != nil {
		return nil, fmt.Errorf("sign event: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, req.Method, d.Target, bytes.NewReader(req.Body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	r.Header = req.Header
	return r, nil
}

// sample makes the body of the event.
func (d *Drill) sample(now time.Time) (sample, error) {
	if !slices.Contains(signature.Providers(), d.Provider) {
		return sample{}, fmt.Errorf("provider %q is none of %v", d.Provider, signature.Providers())
	}
	if d.ID == "" {
		d.ID = newID()
	}
	f := facts{
		event: d.Event, address: d.Address, id: d.ID, at: now.UTC(), signed: d.Signed,
		topic: d.TopicARN, cert: d.CertURL,
	}
	if f.address == "" {
		f.address = defaultAddress(d.Provider, d.Event)
	}
	s, ok := build(d.Provider, f)
	if !ok {
		return sample{}, fmt.Errorf("%s sends no %q, only %v", d.Provider, d.Event, EventsOf(d.Provider))
	}
	return s, nil
}

// EventsOf lists the events that a provider sends.
func EventsOf(p signature.Provider) []Event {
	switch p {
	case signature.Standard:
		return []Event{Stop, Start, Bounce, Complaint, Unsubscribe, Garbage}
	case signature.Twilio, signature.Vonage, signature.Telnyx, signature.Plivo, signature.MessageBird, signature.Bird:
		return []Event{Stop, Start, Sentence, Garbage}
	default:
		return []Event{Bounce, Complaint, Unsubscribe, Garbage}
	}
}

// Events lists every event.
func Events() []Event {
	return []Event{Stop, Start, Sentence, Bounce, Complaint, Unsubscribe, Garbage}
}

// defaultAddress is of a range that is reserved for examples.
func defaultAddress(p signature.Provider, e Event) string {
	if e == Stop || e == Start || e == Sentence || slices.Contains(EventsOf(p), Sentence) {
		return "+14155550123"
	}
	return "jane.doe@example.com"
}

// newID is fit for every provider: 32 hexadecimal digits.
func newID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // It never fails: the runtime ends the process first.
	return hex.EncodeToString(id)
}

// Target puts the address of an endpoint together: a base and an id, or the
// whole address where it is one already.
func Target(base, endpoint string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", errors.New("the address must be an absolute http or https URL")
	}
	if endpoint == "" {
		if !strings.Contains(u.Path, "/v1/webhooks/") {
			return "", errors.New("say which endpoint: its id, or its whole URL")
		}
		return base, nil
	}
	if _, err := uuid.Parse(endpoint); err != nil {
		return "", errors.New("the endpoint must be the id of one, a UUID")
	}
	return strings.TrimSuffix(base, "/") + "/v1/webhooks/" + endpoint, nil
}
