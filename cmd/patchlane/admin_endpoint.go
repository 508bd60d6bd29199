package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"patchlane/api"
	"patchlane/tasks/contact"
)

// endpointCmd is `patchlane admin endpoint`.
type endpointCmd struct {
	Create endpointCreateCmd `cmd:"" help:"Make an endpoint for a provider's webhooks."`
	List   endpointListCmd   `cmd:"" help:"List endpoints, without their secrets."`
	Delete endpointDeleteCmd `cmd:"" help:"End an endpoint: what is posted to it is refused."`
}

// endpointCreateCmd is `patchlane admin endpoint create`.
type endpointCreateCmd struct {
	adminBase
	Account  uuid.UUID `name:"account" required:"" placeholder:"ID" help:"Account whose contacts the webhooks are about."`
	Provider string    `name:"provider" required:"" placeholder:"P" help:"Who posts: twilio, vonage, telnyx, plivo, messagebird, bird, ses, sendgrid, mailgun, postmark, sparkpost, brevo, mandrill, resend or standard."`
	Secret   []string  `name:"secret" sep:"none" placeholder:"S" help:"Auth token, signing key or signature secret; for telnyx and sendgrid the base64 public key, for postmark and sparkpost user:password, for brevo the bearer token. Up to three, for rotation."`
	TopicARN string    `name:"topic-arn" placeholder:"ARN" help:"SNS topic that may post here (ses)."`
}

// endpoint checks what was asked for, all of it.
func (c *endpointCreateCmd) endpoint(now time.Time) (contact.Endpoint, error) {
	e := contact.Endpoint{
		ID: uuid.Must(uuid.NewV7()), Account: c.Account, Provider: c.Provider, Secrets: c.Secret,
		TopicARN: c.TopicARN, Settings: []byte("{}"), CreatedAt: now,
	}
	found := api.CheckEndpoint(&e)
	problems := make([]error, 0, len(found))
	for _, p := range found {
		flag := map[string]string{"secrets": "--secret", "provider": "--provider", "topic_arn": "--topic-arn"}[p.Field]
		problems = append(problems, fmt.Errorf("%s: %s", flag, p.Message))
	}
	if err := errors.Join(problems...); err != nil {
		return contact.Endpoint{}, &configError{err}
	}
	return e, nil
}

// Run makes an endpoint and prints its id and path.
func (c *endpointCreateCmd) Run(ctx context.Context, s streams) error {
	e, err := c.endpoint(time.Now().UTC().Truncate(time.Microsecond))
	if err != nil {
		return err
	}
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		if err := d.createEndpoint(ctx, e); err != nil {
			return err
		}
		path := api.EndpointPath(e.ID)
		t := pairs("id", e.ID.String(), "provider", e.Provider, "path", path)
		t.note = "Give the provider the public address of the API followed by the path."
		return d.say(viewEndpoint(&e), t)
	})
}

// createEndpoint writes the record to Postgres and copies it to Redis. Without
// the copy the endpoint works all the same: a miss there asks Postgres.
func (d *desk) createEndpoint(ctx context.Context, e contact.Endpoint) error {
	if err := d.db.CreateEndpoint(ctx, e); err != nil {
		return about("account", e.Account, err)
	}
	if err := d.copies.PutEndpoint(ctx, e); err != nil {
		d.logger.WarnContext(ctx, "endpoint is not mirrored to redis yet; its first use will do it", "err", err)
	}
	return nil
}

// endpointListCmd is `patchlane admin endpoint list`.
type endpointListCmd struct {
	adminBase
	Account uuid.UUID `name:"account" required:"" placeholder:"ID" help:"Endpoints of this account."`
}

// Run lists the endpoints of an account.
func (c *endpointListCmd) Run(ctx context.Context, s streams) error {
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		views := []endpointView{}
		t := table{head: []string{"endpoint", "provider", "secrets", "topic", "created"}}
		for cursor := ""; ; {
			page, next, err := d.db.Endpoints(ctx, c.Account, adminPage, cursor)
			if err != nil {
				return err
			}
			for i := range page {
				e := &page[i]
				views = append(views, viewEndpoint(e))
				t.rows = append(t.rows, []string{
					e.ID.String(), e.Provider, strconv.Itoa(len(e.Secrets)), orDash(e.TopicARN), e.CreatedAt.Format(time.RFC3339),
				})
			}
			if cursor = next; next == "" {
				return d.say(map[string][]endpointView{"endpoints": views}, t)
			}
		}
	})
}

// adminPage is the page of a list that is printed whole.
const adminPage = 100

// endpointDeleteCmd is `patchlane admin endpoint delete`.
type endpointDeleteCmd struct {
	adminBase
	ID uuid.UUID `name:"id" required:"" placeholder:"ID" help:"Id of the endpoint."`
}

// Run ends an endpoint and prints it.
func (c *endpointDeleteCmd) Run(ctx context.Context, s streams) error {
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		e, err := d.deleteEndpoint(ctx, c.ID, time.Now().UTC())
		if err != nil {
			return about("endpoint", c.ID, err)
		}
		return d.say(viewEndpoint(&e), pairs("id", e.ID.String(), "provider", e.Provider, "deleted", moment(e.DeletedAt)))
	})
}

// deleteEndpoint writes Redis first, where every API looks, then Postgres. If
// Redis does not answer the APIs learn it from Postgres within seconds.
func (d *desk) deleteEndpoint(ctx context.Context, id uuid.UUID, at time.Time) (contact.Endpoint, error) {
	e, err := d.db.Endpoint(ctx, id)
	if err != nil {
		return contact.Endpoint{}, err
	}
	gone := e
	if gone.DeletedAt == nil {
		gone.DeletedAt = &at
	}
	if err := d.copies.PutEndpoint(ctx, gone); err != nil {
		d.logger.WarnContext(ctx, "deletion did not reach redis; the apis read it from postgres", "err", err)
	}
	if e.DeletedAt != nil {
		return e, nil
	}
	return d.db.DeleteEndpoint(ctx, e.Account, id)
}

// endpointView is an endpoint as operators see it: without its secrets.
type endpointView struct {
	ID        uuid.UUID  `json:"id"`
	Path      string     `json:"path"`
	Account   uuid.UUID  `json:"account"`
	Provider  string     `json:"provider"`
	Secrets   int        `json:"secrets"`
	TopicARN  string     `json:"topic_arn,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	DeletedAt *time.Time `json:"deleted_at"`
}

func viewEndpoint(e *contact.Endpoint) endpointView {
	return endpointView{
		ID: e.ID, Path: api.EndpointPath(e.ID), Account: e.Account, Provider: e.Provider, Secrets: len(e.Secrets),
		TopicARN: e.TopicARN, CreatedAt: e.CreatedAt, DeletedAt: e.DeletedAt,
	}
}

// eventsCmd is `patchlane admin events`.
type eventsCmd struct {
	List eventsListCmd `cmd:"" help:"List what providers sent with a good signature and nobody could read, the newest first."`
}

// eventsListCmd is `patchlane admin events list`.
type eventsListCmd struct {
	adminBase
	Account uuid.UUID `name:"account" placeholder:"ID" help:"Of this account alone."`
	Limit   int       `name:"limit" default:"25" placeholder:"N" help:"Most events listed, 1 to 100."`
	Cursor  string    `name:"cursor" placeholder:"C" help:"next_cursor of the page before."`
}

// quarantinedView is an event that could not be read.
type quarantinedView struct {
	ID         uuid.UUID `json:"id"`
	Account    uuid.UUID `json:"account"`
	Endpoint   uuid.UUID `json:"endpoint_id"`
	Provider   string    `json:"provider"`
	Reason     string    `json:"reason"`
	Detail     string    `json:"detail"`
	ReceivedAt time.Time `json:"received_at"`
	// Element is text, or base64 where it is none.
	Element any `json:"element"`
}

// Run lists quarantined events.
func (c *eventsListCmd) Run(ctx context.Context, s streams) error {
	if c.Limit < 1 || c.Limit > adminPage {
		return &configError{fmt.Errorf("--limit: %d is not within 1 and %d", c.Limit, adminPage)}
	}
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		page, err := d.db.Quarantined(ctx, contact.QuarantineQuery{
			Account: c.Account, AllAccounts: c.Account == uuid.Nil, Limit: c.Limit, After: c.Cursor,
		})
		if err != nil {
			return err
		}
		answer := struct {
			Events []quarantinedView `json:"events"`
			Next   string            `json:"next_cursor,omitempty"`
		}{[]quarantinedView{}, page.Next}
		t := table{head: []string{"event", "received", "provider", "reason", "detail"}}
		for i := range page.Events {
			e := &page.Events[i]
			v := quarantinedView{
				ID: e.ID, Account: e.Account, Endpoint: e.Endpoint, Provider: e.Provider, Reason: e.Reason,
				Detail: e.Type, ReceivedAt: e.AcceptedAt, Element: e.Evidence,
			}
			if utf8.Valid(e.Evidence) {
				v.Element = string(e.Evidence)
			}
			answer.Events = append(answer.Events, v)
			t.rows = append(t.rows, []string{e.ID.String(), e.AcceptedAt.Format(time.RFC3339), e.Provider, e.Reason, e.Type})
		}
		return d.say(answer, t)
	})
}
