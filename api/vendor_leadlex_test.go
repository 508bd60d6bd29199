package api

import (
	"strings"
	"testing"

	"patchlane/tasks/contact"
)

// leadlex is a bench with one contact, written by LeadLex' client.
func leadlex(t *testing.T) (*bench, string, func(body string, headers ...string) response) {
	t.Helper()
	b := vendors(t)
	id := b.create(t, `{"email":"jane@example.com","metadata":{"a":1}}`)
	return b, id, func(body string, headers ...string) response {
		t.Helper()
		return b.as(t, leadlexKey, "PATCH", leadlexPath+id, body, headers...)
	}
}

func TestLeadLexFields(t *testing.T) {
	t.Parallel()
	_, _, send := leadlex(t)
	for _, c := range []struct {
		body string
		want map[string]any // nil: refused
	}{
		{`{"full_name":"Jane van Doe"}`, map[string]any{"data.full_name": "Jane van Doe", "data.last_name": "Doe"}},
		{`{"full_name":" "}`, nil},
		{`{"full_name":null}`, nil},
		{`{"email":"new@example.com"}`, map[string]any{"data.email": "new@example.com", "data.full_name": "Jane van Doe"}},
		{`{"email":"new"}`, nil},
		{`{"phone":"+1-555-9999"}`, map[string]any{"data.phone": "+1-555-9999"}},
		{`{"phone":"+61 (412) 345.678"}`, map[string]any{"data.phone": "+61412345678"}},
		{`{"phone":"+61 2 9999 1234"}`, map[string]any{"data.phone": "+61299991234"}},
		{`{"phone":"0412 345 678"}`, map[string]any{"data.phone": "0412 345 678"}},
		{`{"phone":"call me"}`, nil},
		{`{"phone":"+"}`, nil},
		{`{"phone":"12"}`, nil},
		{`{"phone":"1+23456"}`, nil},
		{`{"phone":"1234567890123456"}`, nil},
		{`{"phone":null}`, map[string]any{"data.phone": nil}},
		{`{"job_title":"CLO","company_name":"Acme"}`, map[string]any{"data.job_title": "CLO", "data.company_name": "Acme"}},
		{`{"linkedin_url":"https://linkedin.com/in/jane"}`, map[string]any{"data.linkedin_url": "https://linkedin.com/in/jane"}},
		{`{"linkedin_url":"linkedin.com/in/jane"}`, nil},
		{`{"notes":null}`, nil},
		{`{"first_name":"Jane"}`, nil},
		{`{"metadata":{}}`, nil},
		{`{}`, map[string]any{"data.job_title": "CLO"}},
	} {
		a := send(c.body)
		if c.want == nil {
			a.status(t, 400).equal(t, map[string]any{
				"error.code": "validation_error", "error.message": "Invalid request parameters",
			})
			continue
		}
		a.status(t, 200).equal(t, c.want)
	}
	a := send(`{}`).status(t, 200)
	want := "archived_at archived_by avatar_url company_name contact_owner created_at custom_fields date_of_birth email " +
		"external_id first_name full_name id job_title landline last_name linkedin_url notes phone source tags updated_date version"
	if got := strings.Join(a.keys("data"), " "); got != want {
		t.Errorf("members %s", got)
	}
}

func TestLeadLexAppendsNotes(t *testing.T) {
	t.Parallel()
	b, id, send := leadlex(t)
	send(`{"notes":"first"}`).status(t, 200).equal(t, map[string]any{"data.notes": "first"})
	send(`{"notes":"second"}`).status(t, 200).equal(t, map[string]any{"data.notes": "first\nsecond"})
	send(`{"notes":""}`).status(t, 200).equal(t, map[string]any{"data.notes": "first\nsecond"})
	for range 3 {
		send(`{"notes":"third"}`, "Idempotency-Key: k").status(t, 200).equal(t, map[string]any{"data.notes": "first\nsecond\nthird"})
	}
	b.do(t, "PATCH", "/v1/contacts/"+id, `{"notes":""}`, "Prefer: wait=5").status(t, 200)
	send(`{"notes":"again"}`).status(t, 200).equal(t, map[string]any{"data.notes": "again"})
	send(`{"notes":"`+strings.Repeat("x", 1000)+`"}`).status(t, 409).equal(t, map[string]any{"error.code": "conflict"})
	a := b.as(t, leadlexKey, "POST", "/v1/contacts", `{"full_name":"New Doe","notes":"born"}`).status(t, 201)
	a.equal(t, map[string]any{"data.notes": "born", "data.full_name": "New Doe"})
}

func TestLeadLexErrors(t *testing.T) {
	t.Parallel()
	b, id, send := leadlex(t)
	a := send(`{"email":"x","phone":"y","linkedin_url":"z","nonsense":1,"job_title":7}`).status(t, 400)
	if got := strings.Join(a.keys("error.details.fields"), " "); got != "email job_title linkedin_url nonsense phone" {
		t.Errorf("fields %s", got)
	}
	a.equal(t, map[string]any{"error.details.fields.email": "Invalid email format"})
	send("{}", "Authorization: Bearer wbk_unknown_key").status(t, 401).equal(t, map[string]any{"error.code": "invalid_key"})
	b.addKey("wbk_read_alone", contact.Key{Account: b.key.Account, Dialect: "leadlex", Scopes: []contact.Scope{contact.ContactsRead}})
	b.as(t, "wbk_read_alone", "GET", leadlexPath+id, "").status(t, 200)
	b.as(t, "wbk_read_alone", "PATCH", leadlexPath+id, "{}").status(t, 403).
		equal(t, map[string]any{"error.code": "insufficient_permissions"})
	b.as(t, leadlexKey, "PATCH", "/v1/contacts/123e4567", "{}").status(t, 404).equal(t, map[string]any{"error.code": "not_found"})
	b.set(func() { b.appendErr = &contact.Error{Code: contact.CodeRateLimited, Message: "Too many."} })
	send(`{}`).status(t, 429).equal(t, map[string]any{"error.code": "rate_limited"})
	b.set(func() { b.appendErr = errAway })
	send(`{}`).status(t, 503).equal(t, map[string]any{"error.code": "unavailable"})
}
