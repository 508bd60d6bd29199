package api

import (
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestCallbellNamesContacts(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	id := b.create(t, `{"full_name":"Jane Doe","phone":"+61412345678"}`)
	patch := func(name string) response {
		return b.as(t, callbellKey, "PATCH", callbellPath+name, `{}`)
	}
	for _, name := range []string{
		hexID(id), strings.ToUpper(hexID(id)), id, strings.ToUpper(id), "61412345678", "+61412345678", "%2B61412345678",
	} {
		patch(name).status(t, 200).equal(t, map[string]any{"contact.0.uuid": hexID(id), "contact.0.phoneNumber": "61412345678"})
		b.as(t, callbellKey, "GET", callbellPath+name, "").status(t, 200).equal(t, map[string]any{"contact.0.uuid": hexID(id)})
	}
	for _, name := range []string{"61412345679", "1234", "x", strings.Repeat("0", 32), hexID(uuid.NewString()), "6141234567890123", "++61412345678"} {
		patch(name).status(t, 404).equal(t, map[string]any{"error.code": "not_found"})
	}
	// A number that is no E.164 was stored as it was sent.
	odd := b.create(t, `{"full_name":"Odd Doe"}`)
	b.as(t, leadlexKey, "PATCH", "/v1/contacts/"+odd, `{"phone":"5559999"}`).status(t, 200)
	patch("5559999").status(t, 200).equal(t, map[string]any{"contact.0.uuid": hexID(odd)})
	// Another contact gets the number: the number names nobody any more.
	other := b.create(t, `{"full_name":"Other Doe","phone":"+61412345678"}`)
	patch("61412345678").status(t, 409).says(t, "Several contacts have this phone number")
	// Archived contacts stand back.
	b.do(t, "DELETE", "/v1/contacts/"+id, "").status(t, 204)
	patch("61412345678").status(t, 200).equal(t, map[string]any{"contact.0.uuid": hexID(other)})
	b.do(t, "DELETE", "/v1/contacts/"+odd, "").status(t, 204)
	patch("5559999").status(t, 409).equal(t, map[string]any{"error.code": "archived"})
	b.set(func() { b.storeDown = errAway })
	patch("61412345678").status(t, 503).equal(t, map[string]any{"error.code": "store_unavailable"})
}

func TestCallbellShowsAContact(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	id := b.create(t, `{"external_id":"x"}`)
	a := b.as(t, callbellKey, "PATCH", callbellPath+hexID(id), `{}`).status(t, 200)
	a.equal(t, map[string]any{
		"contact.0.name": nil, "contact.0.phoneNumber": nil, "contact.0.avatarUrl": nil, "contact.0.source": nil,
		"contact.0.tags": []any{}, "contact.0.customFields": map[string]any{}, "contact.1": absent{},
	})
	if got := strings.Join(a.keys("contact.0"), " "); got != "avatarUrl createdAt customFields href name phoneNumber source tags uuid" {
		t.Errorf("members %s", got)
	}
	b.do(t, "PATCH", "/v1/contacts/"+id, `{"avatar_url":"https://example.com/a.png"}`, "Prefer: wait=5").status(t, 200)
	b.as(t, callbellKey, "GET", callbellPath+id, "").equal(t, map[string]any{"contact.0.avatarUrl": "https://example.com/a.png"})
	list := b.as(t, callbellKey, "GET", "/v1/contacts?limit=1", "").status(t, 200)
	list.equal(t, map[string]any{"contacts.0.uuid": hexID(id), "meta.next": nil})
	b.as(t, callbellKey, "GET", "/v1/data/crm-logs?contact_id="+hexID(id), "").status(t, 200).equal(t, map[string]any{"data.0.contact_id": id})
	rows := b.as(t, callbellKey, "POST", "/v1/contacts/batch", `{"writes":[{"id":"`+hexID(id)+`","patch":{"name":"Jane Doe"}}]}`)
	rows.status(t, 207).equal(t, map[string]any{"data.results.0.contact_id": id})
	b.as(t, callbellKey, "GET", callbellPath+id, "").equal(t, map[string]any{"contact.0.name": "Jane Doe"})
}

func TestCallbellErrors(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	id := b.create(t, `{"full_name":"Jane Doe"}`)
	a := b.as(t, callbellKey, "PATCH", callbellPath+hexID(id), `{"name":" ","tags":7,"custom_fields":[],"nonsense":1}`).status(t, 400)
	if got := strings.Join(a.keys("error"), " "); got != "code fields message" || len(a.json) != 1 {
		t.Errorf("members %s", got)
	}
	if got := strings.Join(a.keys("error.fields"), " "); got != "custom_fields name nonsense tags" {
		t.Errorf("fields %s", got)
	}
	for _, body := range []string{`{"custom_fields":{"Unknown":"x"}}`, `{"custom_fields":{"Unknown":7}}`, `{"tags":[1]}`, `{"name":null}`} {
		b.as(t, callbellKey, "PATCH", callbellPath+hexID(id), body).status(t, 400).
			equal(t, map[string]any{"error.code": "validation_failed"})
	}
}

func TestCallbellTags(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	b.define(t, []string{"Call back", "Interested", "VIP"})
	id := b.create(t, `{"full_name":"Jane Doe","tags":["vip"]}`)
	patch := func(body string) response { return b.as(t, callbellKey, "PATCH", callbellPath+hexID(id), body) }
	for _, c := range []struct {
		body string
		want []any // nil: refused
	}{
		{`{}`, []any{"VIP"}},
		{`{"tags":["Call back","Interested"]}`, []any{"Call back", "Interested"}},
		{`{"tags":["INTERESTED","interested","vip"]}`, []any{"Interested", "VIP"}},
		{`{"tags":"Call back, vip"}`, []any{"Call back", "VIP"}},
		{`{"tags":["Call back","Nobody's"],"name":"Lost"}`, nil},
		{`{"tags":"Nobody's"}`, nil},
		{`{"tags":null}`, nil},
		{`{"tags":[]}`, []any{}},
		{`{"tags":["VIP"]}`, []any{"VIP"}},
		{`{"tags":""}`, []any{}},
	} {
		a := patch(c.body)
		if c.want == nil {
			a.status(t, 400).says(t, `"tags":`)
			continue
		}
		a.status(t, 200).equal(t, map[string]any{"contact.0.tags": c.want, "contact.0.name": "Jane Doe"})
	}
	if a := b.do(t, "GET", "/v1/tags", ""); strings.Contains(string(a.raw), "Nobody") {
		t.Error("a tag was made by a write")
	}
}

func TestCallbellCustomFields(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	b.define(t, nil, "billing_address,Billing Address,string", "score,Score,number", "live,Live,boolean", "due,Due,date")
	id := b.create(t, `{"full_name":"Jane Doe"}`)
	patch := func(body string) response { return b.as(t, callbellKey, "PATCH", callbellPath+hexID(id), body) }
	address := map[string]any{"Billing Address": "Main Street 1"}
	patch(`{"custom_fields":{"Billing Address":"Main Street 1"}}`).status(t, 200).
		equal(t, map[string]any{"contact.0.customFields": address})
	patch(`{"custom_fields":{"Score":" 1.50","live":"true","Due":"2028-02-29"}}`).status(t, 200).
		equal(t, map[string]any{"contact.0.customFields": map[string]any{
			"Billing Address": "Main Street 1", "Score": "1.5", "Live": "true", "Due": "2028-02-29",
		}})
	b.do(t, "GET", "/v1/contacts/"+id, "").equal(t, map[string]any{"data.custom_fields": map[string]any{
		"billing_address": "Main Street 1", "score": 1.5, "live": true, "due": "2028-02-29",
	}})
	patch(`{"custom_fields":{"Score":null,"Live":null,"Due":null}}`).status(t, 200).
		equal(t, map[string]any{"contact.0.customFields": address})
	for _, bad := range []string{
		`{"Unknown":"x"}`, `{"Unknown":null}`, `{"Score":"many"}`, `{"Due":"tomorrow"}`, `{"Billing Address":7}`,
		`{"Billing Address":"x","billing_address":"y"}`, `{"Billing Address":"x","Billing Address":"y"}`,
	} {
		patch(`{"custom_fields":`+bad+`,"name":"Lost"}`).status(t, 400).says(t, `"custom_fields.`)
	}
	b.as(t, callbellKey, "GET", callbellPath+id, "").equal(t, map[string]any{
		"contact.0.customFields": address, "contact.0.name": "Jane Doe",
	})
}
