package api

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// trustpager is a bench with one contact, read and written by TrustPager's
// client.
func trustpager(t *testing.T) (*bench, func(method, body string) response) {
	t.Helper()
	b := vendors(t)
	id := b.create(t, `{"full_name":"John Smith","email":"john@example.com","phone":"+61412345678",
		"landline":"+61299991234","date_of_birth":"1990-02-28","notes":"old","job_title":"CFO",
		"metadata":{"kept":1,"other":{"a":[1,null]}}}`)
	return b, func(method, body string) response {
		t.Helper()
		return b.as(t, trustpagerKey, method, trustpagerPath+id, body)
	}
}

func TestTrustPagerChangesNothingElse(t *testing.T) {
	t.Parallel()
	_, send := trustpager(t)
	before := send("GET", "").status(t, 200)
	after := send("PATCH", `{}`).status(t, 200)
	if string(before.raw) != string(after.raw) {
		t.Errorf("{} changed\n%s\n%s", before.raw, after.raw)
	}
	after = send("PATCH", `{"first_name":"Jo"}`).status(t, 200)
	data, _ := before.at("data").(map[string]any)
	for name, value := range data {
		switch name {
		case "first_name", "full_name", "version", "updated_at":
			continue
		}
		after.equal(t, map[string]any{"data." + name: value})
	}
	if got := strings.Join(after.keys("data"), " "); got != strings.Join(before.keys("data"), " ") || len(data) != 28 {
		t.Errorf("members %s", got)
	}
}

func TestTrustPagerFields(t *testing.T) {
	t.Parallel()
	_, send := trustpager(t)
	for _, c := range []struct {
		body string
		want map[string]any // nil: refused with 400
	}{
		{`{"first_name":"  Jo "}`, map[string]any{"data.first_name": "Jo"}},
		{`{"first_name":""}`, nil},
		{`{"first_name":null}`, nil},
		{`{"last_name":" Doe "}`, map[string]any{"data.last_name": "Doe"}},
		{`{"last_name":""}`, map[string]any{"data.last_name": nil}},
		{`{"last_name":"Doe"}`, map[string]any{"data.last_name": "Doe"}},
		{`{"last_name":null}`, map[string]any{"data.last_name": nil}},
		{`{"last_name":"Doe"}`, map[string]any{"data.last_name": "Doe"}},
		{`{"last_name":" \t "}`, map[string]any{"data.last_name": nil}},
		{`{"email":"new@EXAMPLE.com"}`, map[string]any{"data.email": "new@example.com"}},
		{`{"email":"new"}`, nil},
		{`{"email":null}`, nil},
		{`{"phone":"+61487654321"}`, map[string]any{"data.phone": "+61487654321"}},
		{`{"phone":"+61299991234"}`, nil},
		{`{"phone":"0412 345 678"}`, nil},
		{`{"phone":"+1-555-9999"}`, nil},
		{`{"phone":null}`, nil},
		{`{"landline":null}`, map[string]any{"data.landline": nil}},
		{`{"landline":"+61299991234"}`, map[string]any{"data.landline": "+61299991234"}},
		{`{"landline":"99991234"}`, nil},
		{`{"date_of_birth":"2000-02-29"}`, map[string]any{"data.date_of_birth": "2000-02-29"}},
		{`{"date_of_birth":null}`, map[string]any{"data.date_of_birth": nil}},
		{`{"date_of_birth":"2026-02-30"}`, nil},
		{`{"date_of_birth":"28/02/1990"}`, nil},
		{`{"notes":"new"}`, map[string]any{"data.notes": "new"}},
		{`{"notes":null}`, nil},
		{`{"email_unsubscribed":true}`, map[string]any{"data.email_unsubscribed": true, "data.sms_unsubscribed": false}},
		{`{"email_unsubscribed":false}`, map[string]any{"data.email_unsubscribed": false}},
		{`{"email_unsubscribed":"true"}`, nil},
		{`{"sms_unsubscribed":true}`, map[string]any{"data.sms_unsubscribed": true}},
		{`{"sms_unsubscribed":false}`, map[string]any{"data.sms_unsubscribed": false}},
		{`{"sms_unsubscribed":0}`, nil},
		{`{"full_name":"Jo Doe"}`, nil},
		{`{"tags":[]}`, nil},
		{`{"job_title":"CEO"}`, nil},
	} {
		a := send("PATCH", c.body)
		if c.want == nil {
			a.status(t, 400).equal(t, map[string]any{"error.code": "VALIDATION_ERROR", "error.status": 400})
			continue
		}
		a.status(t, 200).equal(t, c.want)
		send("GET", "").equal(t, c.want)
	}
}

func TestTrustPagerMetadata(t *testing.T) {
	t.Parallel()
	_, send := trustpager(t)
	send("GET", "").status(t, 200).equal(t, map[string]any{
		"data.metadata": map[string]any{"kept": 1, "other": map[string]any{"a": []any{1, nil}}},
	})
	send("PATCH", `{"metadata":{"field_1":"x"}}`).status(t, 200).
		equal(t, map[string]any{"data.metadata": map[string]any{"field_1": "x"}})
	send("PATCH", `{"metadata":{}}`).status(t, 200).equal(t, map[string]any{"data.metadata": map[string]any{}})
	id := uuid.NewString()
	link := map[string]any{id: "https://example.com/q"}
	send("PATCH", `{"metadata":{"quick_links":{"`+id+`":"https://example.com/q"}}}`).status(t, 200).
		equal(t, map[string]any{"data.metadata": map[string]any{"quick_links": link}})
	for _, bad := range []string{
		`{"` + id + `":1}`, `{"` + strings.ToUpper(id) + `":1}`, `[]`, `"x"`, `null`, `1`,
		`{"quick_links":{"x":"https://example.com"}}`, `{"quick_links":{"` + id + `":"example"}}`,
		`{"quick_links":{"` + id + `":7}}`, `{"quick_links":[]}`, `{"a":1,"a":2}`,
	} {
		send("PATCH", `{"metadata":`+bad+`}`).status(t, 400).
			equal(t, map[string]any{"error.code": "VALIDATION_ERROR"})
	}
	send("GET", "").equal(t, map[string]any{"data.metadata": map[string]any{"quick_links": link}})
}

func TestTrustPagerErrors(t *testing.T) {
	t.Parallel()
	b, send := trustpager(t)
	a := send("PATCH", `{"phone":"+61299991234","email":"x","nonsense":1}`).status(t, 400)
	if got := strings.Join(a.keys("error"), " "); got != "code fix hint message status" || len(a.json) != 1 {
		t.Errorf("members %s", got)
	}
	a.says(t, "phone", "landline", "email", "nonsense")
	for name := range a.json["error"].(map[string]any) {
		if name != "status" && a.str("error."+name) == "" {
			t.Errorf("%s is empty: %s", name, a.raw)
		}
	}
	send("PATCH", `{`).status(t, 400).equal(t, map[string]any{"error.code": "INVALID_BODY"})
	b.as(t, trustpagerKey, "POST", "/functions/v1/api/v1/contacts", `{"notes":"x"}`).status(t, 400).
		equal(t, map[string]any{"error.code": "MISSING_FIELDS"})
	b.as(t, trustpagerKey, "POST", "/functions/v1/api/v1/contacts", `{"email":"JOHN@example.com"}`).status(t, 409).
		equal(t, map[string]any{"error.code": "CONFLICT", "error.status": 409})
	b.addKey("tp_test_other_account", contact.Key{Account: uuid.New(), Dialect: "trustpager", Scopes: contact.Scopes()})
	id := send("GET", "").str("data.id")
	b.as(t, "tp_test_other_account", "GET", trustpagerPath+id, "").status(t, 404).
		equal(t, map[string]any{"error.code": "NOT_FOUND"})
	b.as(t, trustpagerKey, "PATCH", trustpagerPath+"not-a-uuid", `{}`).status(t, 404)
	b.set(func() { b.appendErr = &contact.Error{Code: contact.CodeRateLimited, Message: "Too many."} })
	send("PATCH", `{}`).status(t, 429).equal(t, map[string]any{"error.code": "RATE_LIMITED"})
	b.set(func() { b.appendErr = errAway })
	send("PATCH", `{}`).status(t, 503).equal(t, map[string]any{"error.code": "INTERNAL_ERROR"})
	b.set(func() { b.panics = true })
	send("PATCH", `{}`).status(t, 500).equal(t, map[string]any{"error.code": "INTERNAL_ERROR"})
}

func TestTrustPagerAudit(t *testing.T) {
	t.Parallel()
	b, send := trustpager(t)
	id := send("GET", "").str("data.id")
	writer, auditor := "tp_live_writer_alone", "tp_live_auditor_alone"
	for key, scope := range map[string]contact.Scope{writer: contact.ContactsWrite, auditor: contact.AuditRead} {
		b.addKey(key, contact.Key{Account: b.key.Account, Dialect: "trustpager", Scopes: []contact.Scope{scope}})
	}
	logs := "/functions/v1/api/v1/data/crm-logs?contact_id=" + id
	b.as(t, writer, "GET", logs, "").status(t, 403).equal(t, map[string]any{"error.code": "INSUFFICIENT_SCOPE"})
	b.as(t, auditor, "PATCH", trustpagerPath+id, `{}`).status(t, 403)
	rows := func() []any {
		list, _ := b.as(t, auditor, "GET", logs, "").status(t, 200).at("data").([]any)
		return list
	}
	before := len(rows())
	send("PATCH", `{"phone":"+61299991234"}`).status(t, 400)
	if n := len(rows()); n != before {
		t.Errorf("a refused write left %d rows", n-before)
	}
	b.as(t, writer, "PATCH", trustpagerPath+id, `{"first_name":"Jo","notes":"new","email":"john@example.com"}`).status(t, 200)
	changed := make(map[string][2]any)
	for _, row := range rows()[:] {
		r, _ := row.(map[string]any)
		if r["version"] == 2.0 {
			field, _ := r["field"].(string)
			changed[field] = [2]any{r["old_value"], r["new_value"]}
		}
	}
	if len(changed) != 2 || changed["first_name"] != [2]any{"John", "Jo"} || changed["notes"] != [2]any{"old", "new"} {
		t.Errorf("changed %v", changed)
	}
	a := b.as(t, auditor, "GET", logs+"&limit=100", "").status(t, 200)
	if got := strings.Join(a.keys("pagination"), " "); got != "has_more limit next_cursor prev_cursor" || a.at("meta.credits_remaining") == nil {
		t.Errorf("envelope %s", a.raw)
	}
}

func TestTrustPagerLists(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	for range 3 {
		b.create(t, `{"full_name":"John Smith","company_name":"Acme","job_title":"CEO"}`)
	}
	list := func(query string) response {
		return b.as(t, trustpagerKey, "GET", "/functions/v1/api/v1/contacts"+query, "")
	}
	a := list("").status(t, 200)
	a.equal(t, map[string]any{
		"pagination.limit": 25, "pagination.has_more": false, "pagination.next_cursor": nil, "pagination.prev_cursor": nil,
	})
	if strings.Join(a.keys(""), " ") != "data meta pagination" || len(a.keys("data.2")) != 28 {
		t.Errorf("list %s", a.raw)
	}
	a = list("?limit=2").status(t, 200)
	a.equal(t, map[string]any{"pagination.limit": 2, "pagination.has_more": true})
	a = list("?limit=2&cursor="+a.str("pagination.next_cursor")).status(t, 200)
	a.equal(t, map[string]any{"pagination.has_more": false, "data.1": absent{}})
	a = list("?fields=first_name,email&expand=employers").status(t, 200)
	if got := strings.Join(a.keys("data.0"), " "); got != "email employers first_name id" {
		t.Errorf("members %s", got)
	}
	a.equal(t, map[string]any{"data.0.employers": []any{map[string]any{"name": "Acme", "job_title": "CEO"}}})
	for _, bad := range []string{"?limit=0", "?limit=101", "?fields=nonsense", "?expand=nonsense", "?nonsense=1"} {
		list(bad).status(t, 400).equal(t, map[string]any{"error.code": "VALIDATION_ERROR"})
	}
}
