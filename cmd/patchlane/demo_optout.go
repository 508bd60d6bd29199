package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
)

const (
	// syncRequests of syncRows rows each are the sync that a STOP overtakes.
	syncRequests = 20
	syncRows     = 500
	// demoNumber is of the range that is reserved for fiction.
	demoNumber = "+14155550147"
)

// consentView is what a contact shows of its opt-out.
type consentView struct {
	SMS     bool    `json:"sms_unsubscribed"`
	Reason  *string `json:"sms_unsubscribed_reason"`
	Title   *string `json:"job_title"`
	Version int64   `json:"version"`
}

// optOut lets somebody text STOP while a sync runs, and then lets a row of that
// sync, which knew nothing of it, arrive.
func (d *demo) optOut(ctx context.Context) error {
	const name = "Katherine Johnson"
	d.say("\n4. %s texts STOP while a sync of %d writes runs\n", name, syncRequests*syncRows)
	r, err := d.client.do(ctx, http.MethodPost, "/v1/contacts", fmt.Sprintf(`{"full_name":%q,"phone":%q,"sms_unsubscribed":false}`, name, demoNumber))
	if err != nil {
		return err
	}
	path, exported := "/v1/contacts/"+r.Data.ID, time.Now()
	drill, err := d.twilio(ctx)
	if err != nil {
		return err
	}
	ids, err := d.makeContacts(ctx, killContacts)
	if err != nil {
		return err
	}
	sync, syncing := errgroup.WithContext(ctx)
	sync.Go(func() error { return d.sync(syncing, append(ids, r.Data.ID)) })
	if err := errors.Join(d.stopped(ctx, drill, path), sync.Wait()); err != nil {
		return err
	}
	return d.staleRow(ctx, path, exported)
}

// twilio makes an endpoint and the event that a text of STOP makes of it.
func (d *demo) twilio(ctx context.Context) (*simulate.Drill, error) {
	secret := rand.Text()
	r, err := d.client.do(ctx, http.MethodPost, "/v1/webhook-endpoints", fmt.Sprintf(`{"provider":"twilio","secret":%q}`, secret))
	if err != nil {
		return nil, err
	}
	var made struct{ URL string }
	if err := json.Unmarshal(r.raw, &made); err != nil || r.Status != http.StatusCreated {
		return nil, fmt.Errorf("make an endpoint: %d %s", r.Status, r.raw)
	}
	d.check(true, "POST   an endpoint for Twilio           %d  %s", r.Status, shortened(made.URL, 40))
	return &simulate.Drill{
		Provider: signature.Twilio, Event: simulate.Stop, Address: demoNumber, Key: secret, Target: made.URL, Signed: made.URL,
	}, nil
}

// sync sends rows that nobody waits for.
func (d *demo) sync(ctx context.Context, ids []string) error {
	for n := range syncRequests {
		rows := make([]string, syncRows)
		for i := range rows {
			rows[i] = fmt.Sprintf(`{"id":%q,"patch":{"job_title":"synced %d"}}`, ids[i%len(ids)], n)
		}
		r, err := d.client.do(ctx, http.MethodPost, "/v1/contacts/batch", `{"writes":[`+strings.Join(rows, ",")+`]}`)
		if err != nil {
			return err
		}
		if r.Status != http.StatusMultiStatus {
			return fmt.Errorf("sync: %d %s", r.Status, r.raw)
		}
	}
	return nil
}

// stopped posts the STOP as Twilio does and waits for the flag.
func (d *demo) stopped(ctx context.Context, drill *simulate.Drill, path string) error {
	a, err := drill.Post(ctx, d.client.http, time.Now())
	if err != nil {
		return err
	}
	d.check(a.Status == http.StatusOK, "Twilio posts STOP, signed               %d", a.Status)
	answered := time.Now()
	var c consentView
	err = until(ctx, func() bool {
		c, err = d.consent(ctx, path)
		return err != nil || c.SMS || time.Since(answered) > 10*time.Second
	})
	if err != nil {
		return err
	}
	d.check(c.SMS && c.Reason != nil && *c.Reason == "keyword_stop",
		"GET    shows keyword_stop               %s after the answer to Twilio", time.Since(answered).Round(time.Millisecond))
	a, err = drill.Post(ctx, d.client.http, time.Now())
	d.check(err == nil && a.Status == http.StatusOK, "Twilio posts it again, as it may        %d", a.Status)
	return err
}

// staleRow sends what the sync exported before the STOP.
func (d *demo) staleRow(ctx context.Context, path string, exported time.Time) error {
	body := fmt.Sprintf(`{"job_title":"Mathematician","sms_unsubscribed":false,"as_of":%q}`, exported.UTC().Format(time.RFC3339Nano))
	r, err := d.client.do(ctx, http.MethodPatch, path, body, "Prefer", "wait=20")
	if err != nil {
		return err
	}
	var reply struct {
		Meta struct {
			Skipped []struct{ Field, Reason string }
		}
	}
	if err := json.Unmarshal(r.raw, &reply); err != nil {
		return fmt.Errorf("read the outcome of the stale row: %w", err)
	}
	skipped := reply.Meta.Skipped
	d.check(r.Status == http.StatusOK && len(skipped) == 1 && skipped[0].Field == "sms_unsubscribed" && skipped[0].Reason == "newer_consent",
		"PATCH  false, as_of before the STOP     %d  skipped: %v", r.Status, skipped)
	after, err := d.consent(ctx, path)
	if err != nil {
		return err
	}
	d.check(after.SMS && after.Title != nil && *after.Title == "Mathematician", "GET    the title changed, the flag did not (version %d)", after.Version)
	rows, err := d.auditLog(ctx, strings.TrimPrefix(path, "/v1/contacts/"))
	if err != nil {
		return err
	}
	flags := 0
	for _, row := range rows {
		if row.Field == "sms_unsubscribed" {
			flags++
		}
	}
	d.check(flags == 1, "GET    the change log has the flag once, however often it was posted")
	return nil
}

// consent reads what a contact shows.
func (d *demo) consent(ctx context.Context, path string) (consentView, error) {
	r, err := d.client.do(ctx, http.MethodGet, path, "")
	if err != nil {
		return consentView{}, err
	}
	var body struct{ Data consentView }
	if err := json.Unmarshal(r.raw, &body); err != nil || r.Status != http.StatusOK {
		return consentView{}, fmt.Errorf("read %s: %d %s", path, r.Status, r.raw)
	}
	return body.Data, nil
}
