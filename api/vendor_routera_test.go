package api

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// routera is a bench with one contact, read and written by Routera's client.
func routera(t *testing.T) (*bench, string, func(method, query, body string) response) {
	t.Helper()
	b := vendors(t)
	id := b.create(t, `{"full_name":"Jane Doe","email":"jane@example.com","phone":"+61412345678","external_id":"x-1",
		"notes":"old"}`)
	return b, id, func(method, query, body string) response {
		t.Helper()
		return b.as(t, routeraKey, method, routeraPath+id+query, body)
	}
}

func TestRouteraBodies(t *testing.T) {
	t.Parallel()
	b, id, send := routera(t)
	before := len(b.appended)
	for _, c := range []struct{ body, field string }{
		{`{}`, "fields"},
		{`{"fields":null}`, "fields"},
		{`{"fields":[]}`, "fields"},
		{`{"fields":{},"first_name":"J"}`, "first_name"},
		{`{"first_name":"J"}`, "first_name"},
		{`{"fields":{"first_name":null}}`, "first_name"},
		{`{"fields":{"email":"x"}}`, "email"},
		{`{"fields":{"phone":"+61299991234"}}`, "phone"},
		{`{"fields":{"nonsense":1}}`, "nonsense"},
		{`{"fields":{"id":"` + id + `"}}`, "id"},
		{`{"fields":{"created_at":"2026-01-01T00:00:00.000Z"}}`, "created_at"},
		{`{"fields":{"updated_at":"2026-01-01T00:00:00.000Z"}}`, "updated_at"},
		{`{"fields":{"archived":true}}`, "archived"},
		{`{"fields":{"archived_by":"me"}}`, "archived_by"},
		{`{"fields":{"email":"a@example.com","email":"b@example.com"}}`, "fields.email"},
	} {
		a := send("PATCH", "", c.body).status(t, 400)
		a.equal(t, map[string]any{"error": true, "code": "validation_failed"})
		if fields, _ := a.at("fields").(map[string]any); fields[c.field] == nil {
			t.Errorf("%s: %s", c.body, a.raw)
		}
	}
	all := send("PATCH", "", `{"fields":{"email":"x","archived":false,"nonsense":1},"more":1}`).status(t, 400)
	if got := strings.Join(all.keys("fields"), " "); got != "archived email more nonsense" {
		t.Errorf("fields %s", got)
	}
	send("PATCH", "", `{"fields":`).status(t, 400).equal(t, map[string]any{"code": "invalid_json", "error": true})
	if n := len(b.appended) - before; n != 0 {
		t.Errorf("%d refused writes were accepted", n)
	}
	a := send("PATCH", "", `{"fields":{"last_name":"Roe","external_id":null,"notes":"new","sms_unsubscribed":true}}`).status(t, 200)
	a.equal(t, map[string]any{"first_name": "Jane", "last_name": "Roe", "external_id": nil, "email": "jane@example.com"})
	if a.at("fields") != nil || a.at("data") != nil {
		t.Errorf("the reply is nested: %s", a.raw)
	}
	b.do(t, "GET", "/v1/contacts/"+id, "").equal(t, map[string]any{
		"data.notes": "new", "data.sms_unsubscribed": true, "data.phone": "+61412345678",
	})
	send("PATCH", "", `{"fields":{}}`).status(t, 200)
}

func TestRouteraProperties(t *testing.T) {
	t.Parallel()
	b, _, send := routera(t)
	a := send("GET", "?properties=phone,email,%20notes,sms_unsubscribed,phone,archived_by", "").status(t, 200)
	a.equal(t, map[string]any{"phone": "+61412345678", "notes": "old", "sms_unsubscribed": false})
	want := "archived contact_owner created_at email external_id first_name id last_name notes phone sms_unsubscribed updated_at"
	if got := strings.Join(a.keys(""), " "); got != want {
		t.Errorf("properties %s", got)
	}
	// A decoder that takes the last of two members would hide a repeated one.
	if n := strings.Count(string(a.raw), `"email"`) + strings.Count(string(a.raw), `"phone"`); n != 2 {
		t.Errorf("a property stands twice: %s", a.raw)
	}
	before := len(b.appended)
	for _, bad := range []string{"nonsense", "phone,nonsense", "version", "metadata", "archived_at", "Phone"} {
		for _, method := range []string{"PATCH", "GET"} {
			body := ""
			if method == "PATCH" {
				body = `{"fields":{"first_name":"Lost"}}`
			}
			send(method, "?properties="+bad, body).status(t, 400).
				equal(t, map[string]any{"code": "invalid_properties", "error": true})
		}
		b.as(t, routeraKey, "GET", "/contacts?properties="+bad, "").status(t, 400)
		b.as(t, routeraKey, "POST", "/contacts?properties="+bad, `{"fields":{"first_name":"J"}}`).status(t, 400)
	}
	if n := len(b.appended) - before; n != 0 {
		t.Errorf("%d writes with bad properties were accepted", n)
	}
	send("PATCH", "?properties=notes", `{"fields":{"notes":"new"}}`).status(t, 200).
		equal(t, map[string]any{"notes": "new", "first_name": "Jane"})
	list := b.as(t, routeraKey, "GET", "/contacts?properties=phone&limit=1", "").status(t, 200)
	list.equal(t, map[string]any{"data.0.phone": "+61412345678", "pagination.limit": 1})
}

func TestRouteraNeedsAContactID(t *testing.T) {
	t.Parallel()
	b, _, _ := routera(t)
	for _, path := range []string{"/contacts", "/contacts/"} {
		for _, method := range []string{"PATCH", "DELETE"} {
			b.as(t, routeraKey, method, path, `{"fields":{}}`).status(t, 400).says(t, "contactId", `"error":true`)
		}
	}
	b.as(t, secret, "PATCH", "/v1/contacts", `{}`).status(t, 405)
	b.as(t, routeraKey, "PUT", "/contacts", `{}`).status(t, 405)
}

func TestRouteraArchives(t *testing.T) {
	t.Parallel()
	b, id, send := routera(t)
	send("GET", "", "").status(t, 200).equal(t, map[string]any{"archived": false, "archived_by": absent{}})
	send("DELETE", "", "").status(t, 204)
	a := send("GET", "", "").status(t, 200)
	if at := a.str("archived"); len(at) != len("2026-05-28T12:00:00.000Z") || a.str("archived_by") == "" {
		t.Errorf("archived %s", a.raw)
	}
	send("PATCH", "", `{"fields":{"first_name":"J"}}`).status(t, 409).equal(t, map[string]any{"code": "archived", "error": true})
	b.do(t, "POST", "/v1/contacts/"+id+"/restore", "").status(t, 200)
	if a := send("PATCH", "", `{"fields":{"first_name":"J"}}`).status(t, 200); a.at("archived") != false {
		t.Errorf("restored %s", a.raw)
	}
}

// TestRouteraConflicts: both conflicts reach the client in the answer, whether
// they are known at once or found by the worker while the request waits.
func TestRouteraConflicts(t *testing.T) {
	t.Parallel()
	b, id, send := routera(t)
	other := b.create(t, `{"email":"other@example.com","external_id":"x-2"}`)
	for _, fields := range []string{`{"email":"OTHER@example.com"}`, `{"external_id":"x-2"}`} {
		send("PATCH", "", `{"fields":`+fields+`}`).status(t, 409).equal(t, map[string]any{"code": "duplicate", "error": true})
	}
	// Unknown to the API: the worker finds out.
	b.set(func() { b.existenceErr = errAway })
	b.do(t, "DELETE", "/v1/contacts/"+other, "").status(t, 204)
	b.as(t, routeraKey, "PATCH", routeraPath+other, `{"fields":{"first_name":"J"}}`).status(t, 409).
		equal(t, map[string]any{"code": "archived"})
	b.as(t, routeraKey, "PATCH", routeraPath+uuid.NewString(), `{"fields":{}}`).status(t, 404)
	b.set(func() { b.existenceErr = nil })
	// Unique among active contacts alone.
	send("PATCH", "", `{"fields":{"email":"other@example.com","external_id":"x-2"}}`).status(t, 200)
	b.as(t, routeraKey, "PATCH", routeraPath+uuid.NewString(), `{"fields":{}}`).status(t, 404).
		equal(t, map[string]any{"code": "not_found", "error": true})
	b.addKey("routera-other-account", contact.Key{Account: uuid.New(), Dialect: "routera", Scopes: contact.Scopes()})
	b.as(t, "routera-other-account", "PATCH", routeraPath+id, `{"fields":{}}`).status(t, 404)
}

func TestRouteraCreates(t *testing.T) {
	t.Parallel()
	b, _, _ := routera(t)
	a := b.as(t, routeraKey, "POST", "/contacts?properties=job_title",
		`{"fields":{"first_name":"New","job_title":"CEO","external_id":"x-9"}}`).status(t, 201)
	a.equal(t, map[string]any{"first_name": "New", "job_title": "CEO", "external_id": "x-9", "archived": false, "email": nil})
	b.as(t, routeraKey, "GET", routeraPath+a.str("id"), "").status(t, 200)
	for _, body := range []string{`{"fields":{}}`, `{"fields":{"phone":"+61412345678"}}`, `{"fields":{"last_name":" "}}`, `{}`} {
		b.as(t, routeraKey, "POST", "/contacts", body).status(t, 400).equal(t, map[string]any{"code": "validation_failed"})
	}
	b.as(t, routeraKey, "POST", "/contacts", `{"fields":{"email":"JANE@example.com"}}`).status(t, 409).
		equal(t, map[string]any{"code": "duplicate"})
}

func TestRouteraCustomFields(t *testing.T) {
	t.Parallel()
	b, id, send := routera(t)
	b.define(t, nil, "plan,Billing Plan,string", "score,Score,number")
	a := send("PATCH", "?properties=score,phone", `{"fields":{"plan":"gold","first_name":"Janet"}}`).status(t, 200)
	a.equal(t, map[string]any{"plan": "gold", "first_name": "Janet", "score": nil, "phone": "+61412345678"})
	if got := a.keys(""); !strings.Contains(strings.Join(got, " "), "score") || a.at("custom_fields") != nil {
		t.Errorf("properties %s", got)
	}
	send("PATCH", "?properties=plan", `{"fields":{"score":7}}`).status(t, 200).equal(t, map[string]any{"plan": "gold", "score": 7})
	send("PATCH", "", `{"fields":{"plan":null}}`).status(t, 200).equal(t, map[string]any{"score": 7, "plan": absent{}})
	for _, c := range []struct{ fields, name string }{
		{`{"score":"7"}`, "score"},
		{`{"Billing Plan":"x"}`, "Billing Plan"},
		{`{"PLAN":"x"}`, "PLAN"},
		{`{"unheard":"x"}`, "unheard"},
		{`{"tags":[]}`, "tags"},
	} {
		a := send("PATCH", "", `{"fields":`+c.fields+`}`).status(t, 400)
		if fields, _ := a.at("fields").(map[string]any); fields[c.name] == nil {
			t.Errorf("%s: %s", c.fields, a.raw)
		}
	}
	send("GET", "?properties=Billing%20Plan", "").status(t, 400).equal(t, map[string]any{"code": "invalid_properties"})
	b.do(t, "GET", "/v1/contacts/"+id, "").equal(t, map[string]any{"data.custom_fields": map[string]any{"score": 7}})
}
