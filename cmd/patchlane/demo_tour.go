package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// person is a contact of the tour and what it was at first.
type person struct {
	name, id string
	before   map[string]any
}

// tour sends one request of each kind and checks the answers.
func (d *demo) tour(ctx context.Context) ([]person, error) {
	d.say("\n1. Requests, and what they are answered\n")
	people := []person{
		{name: "Ada Lovelace"}, {name: "Grace Hopper"}, {name: "Alan Turing"},
	}
	emails := []string{"ada@example.com", "grace@example.com", "alan@example.com"}
	for i := range people {
		p := &people[i]
		body := fmt.Sprintf(`{"full_name":%q,"email":%q,"job_title":"Engineer"}`, p.name, emails[i])
		r, err := d.client.do(ctx, http.MethodPost, "/v1/contacts", body)
		if err != nil {
			return nil, err
		}
		d.check(r.Status == http.StatusCreated, "POST   a contact                        %d  %s", r.Status, p.name)
		p.id = r.Data.ID
		if p.before, err = d.contact(ctx, p.id); err != nil {
			return nil, err
		}
	}
	for _, step := range []func(context.Context, string) error{d.async, d.replay, d.precondition, d.invalid} {
		if err := step(ctx, "/v1/contacts/"+people[0].id); err != nil {
			return nil, err
		}
	}
	return people, d.several(ctx, people[1:])
}

// async sends a write that is not waited for, asks for its outcome, and sends
// one that is.
func (d *demo) async(ctx context.Context, path string) error {
	r, err := d.client.do(ctx, http.MethodPatch, path, `{"job_title":"Analyst"}`, "Prefer", "respond-async")
	if err != nil {
		return err
	}
	d.check(r.Status == http.StatusAccepted && r.Data.State == "queued",
		"PATCH  respond-async                    %d  %s, write …%s", r.Status, r.Data.State, tailOf(r.Data.WriteID))
	if r, err = d.client.do(ctx, http.MethodGet, r.Header.Get("Location"), "", "Prefer", "wait=10"); err != nil {
		return err
	}
	d.check(r.Data.State == "applied", "GET    its outcome                      %d  %s", r.Status, r.Data.State)
	if r, err = d.client.do(ctx, http.MethodPost, "/v1/tags", `{"name":"vip"}`); err != nil {
		return err
	}
	d.check(r.Status == http.StatusCreated, "POST   a tag that contacts may have     %d", r.Status)
	r, err = d.client.do(ctx, http.MethodPatch, path, `{"company_name":"Analytical Engines","tags_add":["vip"]}`, "Prefer", "wait=10")
	if err != nil {
		return err
	}
	d.check(r.Status == http.StatusOK && r.Meta.State == "applied" && len(r.Meta.Changes) > 0,
		"PATCH  wait=10                          %d  version %d, %d changes", r.Status, r.Meta.Version, len(r.Meta.Changes))
	return nil
}

// replay sends one write twice under one key.
func (d *demo) replay(ctx context.Context, path string) error {
	var ids [2]string
	var last *reply
	for i := range ids {
		r, err := d.client.do(ctx, http.MethodPatch, path, `{"notes_append":"called on Monday"}`,
			"Prefer", "wait=10", "Idempotency-Key", "demo-note")
		if err != nil {
			return err
		}
		ids[i], last = r.Meta.WriteID, r
	}
	d.check(ids[0] != "" && ids[0] == ids[1] && last.Header.Get("Idempotent-Replayed") == "true",
		"PATCH  twice with one Idempotency-Key   %d  one write …%s", last.Status, tailOf(ids[1]))
	r, err := d.client.do(ctx, http.MethodGet, path, "")
	if err != nil {
		return err
	}
	d.check(r.Data.Notes != nil && *r.Data.Notes == "called on Monday", "GET    the note stands once             %d", r.Status)
	return nil
}

// precondition expects a version that is over.
func (d *demo) precondition(ctx context.Context, path string) error {
	r, err := d.client.do(ctx, http.MethodPatch, path, `{"job_title":"too late"}`, "Prefer", "wait=10", "If-Match", `"1"`)
	if err != nil {
		return err
	}
	d.check(r.Status == http.StatusPreconditionFailed && r.Code == "precondition_failed",
		`PATCH  If-Match: "1"                    %d  %s`, r.Status, r.Code)
	return nil
}

// invalid sends a body in which nearly everything is wrong.
func (d *demo) invalid(ctx context.Context, path string) error {
	r, err := d.client.do(ctx, http.MethodPatch, path,
		`{"first_name":" ","email":"not an address","phone":"12345","date_of_birth":"2026-02-30","nickname":"x"}`)
	if err != nil {
		return err
	}
	d.check(r.Status == http.StatusBadRequest && len(r.Errors) == 5, "PATCH  five things wrong                %d  all of them named:", r.Status)
	for _, e := range r.Errors {
		d.say("           %-14s %s\n", e.Field, e.Message)
	}
	return nil
}

// several gives the other contacts something to be seen in their tables.
func (d *demo) several(ctx context.Context, people []person) error {
	for _, w := range []struct{ id, body string }{
		{people[0].id, `{"phone":"+14155550123","metadata_merge":{"ship":"Mark I"}}`},
		{people[0].id, `{"job_title":"Rear Admiral","sms_unsubscribed":true}`},
		{people[1].id, `{"job_title":null,"linkedin_url":"https://www.linkedin.com/in/alan"}`},
		{people[1].id, `{"job_title":"Codebreaker","notes":"prefers e-mail"}`},
	} {
		r, err := d.client.do(ctx, http.MethodPatch, "/v1/contacts/"+w.id, w.body, "Prefer", "wait=10")
		if err != nil {
			return err
		}
		d.check(r.Status == http.StatusOK, "PATCH  %-32s %d  version %d", shortened(w.body, 32), r.Status, r.Meta.Version)
	}
	return nil
}

// contact reads a contact with all its members.
func (d *demo) contact(ctx context.Context, id string) (map[string]any, error) {
	r, err := d.client.do(ctx, http.MethodGet, "/v1/contacts/"+id, "")
	if err != nil {
		return nil, err
	}
	var body struct{ Data map[string]any }
	if err := json.Unmarshal(r.raw, &body); err != nil || r.Status != http.StatusOK {
		return nil, fmt.Errorf("read contact %s: %d %s", id, r.Status, r.raw)
	}
	return body.Data, nil
}

// tailOf returns the end of an id, which is its random part.
func tailOf(id string) string { return id[max(0, len(id)-12):] }
