package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// define makes tags, and fields given as "internal_name label type".
func (b *bench) define(t *testing.T, tags []string, fields ...string) {
	t.Helper()
	for _, name := range tags {
		b.do(t, "POST", "/v1/tags", fmt.Sprintf(`{"name":%q}`, name)).want(t, 201, "")
	}
	for _, f := range fields {
		part := strings.SplitN(f, ",", 3)
		body := fmt.Sprintf(`{"internal_name":%q,"label":%q,"type":%q}`, part[0], part[1], part[2])
		b.do(t, "POST", "/v1/custom-fields", body).want(t, 201, "")
	}
}

// custom returns the custom fields of a reply as JSON.
func (a response) custom(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(a.at("data.custom_fields"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDefinitionsOverHTTP(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.do(t, "POST", "/v1/tags", `{"name":"  VIP gold "}`).want(t, 201, "")
	if r.str("data.name") != "VIP gold" || r.Header.Get("Location") != "/v1/tags/VIP%20gold" {
		t.Errorf("tag %s at %s", r.raw, r.Header.Get("Location"))
	}
	b.do(t, "POST", "/v1/tags", `{"name":"vip GOLD"}`).want(t, 409, contact.CodeDuplicate)
	b.do(t, "POST", "/v1/tags", `{"name":"a/b"}`).want(t, 201, "")
	r = b.do(t, "POST", "/v1/custom-fields", `{"internal_name":"plan","label":"Plan","type":"string"}`).want(t, 201, "")
	if r.str("data.internal_name") != "plan" || r.str("data.label") != "Plan" || r.str("data.type") != "string" {
		t.Errorf("field %s", r.raw)
	}
	b.do(t, "POST", "/v1/custom-fields", `{"internal_name":"score","type":"number"}`).want(t, 201, "")
	b.do(t, "POST", "/v1/custom-fields", `{"internal_name":"other","label":"PLAN","type":"url"}`).
		want(t, 409, contact.CodeDuplicate)

	r = b.do(t, "GET", "/v1/tags?limit=1", "").want(t, 200, "")
	if r.str("data.0.name") != "a/b" || r.at("pagination.has_more") != true {
		t.Errorf("first page %s", r.raw)
	}
	r = b.do(t, "GET", "/v1/tags?limit=1&cursor="+r.str("pagination.next_cursor"), "").want(t, 200, "")
	if r.str("data.0.name") != "VIP gold" || r.at("pagination.has_more") != false {
		t.Errorf("second page %s", r.raw)
	}
	r = b.do(t, "GET", "/v1/custom-fields", "").want(t, 200, "")
	if r.str("data.0.internal_name") != "plan" || r.str("data.1.label") != "score" {
		t.Errorf("fields %s", r.raw)
	}
	b.do(t, "GET", "/v1/tags?cursor=%21", "").want(t, 400, contact.CodeValidationFailed)

	b.do(t, "DELETE", "/v1/tags/a%2Fb", "").want(t, 204, "")
	b.do(t, "DELETE", "/v1/tags/vip%20GOLD", "").want(t, 204, "")
	b.do(t, "DELETE", "/v1/tags/VIP%20gold", "").want(t, 404, contact.CodeNotFound)
	b.do(t, "DELETE", "/v1/custom-fields/score", "").want(t, 204, "")
	b.do(t, "DELETE", "/v1/custom-fields/plan?force=maybe", "").want(t, 400, contact.CodeValidationFailed)
	b.do(t, "PUT", "/v1/tags", "{}").want(t, 405, contact.CodeMethodNotAllowed)
}

func TestBadDefinitions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for body, want := range map[string][]string{
		`{}`:                        {"name required"},
		`{"name":" "}`:              {"name required"},
		`{"name":1,"colour":"red"}`: {"name invalid_type", "colour unknown"},
		`{"name":"a\nb"}`:           {"name invalid_characters"},
		`{"name":"a","name":"b"}`:   {"name duplicate"},
		`{"name":"` + strings.Repeat("x", 256) + `"}`: {"name too_long"},
	} {
		if got := b.do(t, "POST", "/v1/tags", body).want(t, 400, "validation_failed").fields(); !slices.Equal(got, want) {
			t.Errorf("%.40s: %v, want %v", body, got, want)
		}
	}
	for body, want := range map[string][]string{
		`{}`: {"internal_name required", "type invalid_format"},
		`{"internal_name":"9x","label":"a\tb","type":"text"}`: {
			"internal_name invalid_format", "label invalid_characters", "type invalid_format",
		},
		`{"internal_name":"Email","type":"string"}`:          {"internal_name conflict"},
		`{"internal_name":"archived","type":"string"}`:       {"internal_name conflict"},
		`{"internal_name":"a b","type":"string","x":1}`:      {"x unknown", "internal_name invalid_format"},
		`{"internal_name":"a","label":null,"type":"string"}`: {"label invalid_type"},
	} {
		if got := b.do(t, "POST", "/v1/custom-fields", body).want(t, 400, "validation_failed").fields(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", body, got, want)
		}
	}
	b.addKey("pl_without_that_scope", contact.Key{Account: b.key.Account, Scopes: []contact.Scope{contact.ContactsWrite}})
	for _, path := range []string{"/v1/tags", "/v1/custom-fields"} {
		b.send(t, b.server, request{"GET", path, "", nil, "pl_without_that_scope"}).
			want(t, 403, contact.CodeInsufficientScope)
	}
}

// What must be defined is refused until it is, every problem at once and at the
// place that the client knows, and nothing is written.
func TestUndefinedNamesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.define(t, []string{"VIP"}, "plan,Plan,string", "score,Score,number", "live,Live,boolean", "due,Due,date", "site,Web Site,url")
	path := "/v1/contacts/" + b.create(t, `{"first_name":"Ada"}`)
	body := `{"tags_add":["vip","VIP","new","other"],"custom_fields":{"nothing":null,"plan":1,"SCORE":"7","live":"true",
		"due":"2026-02-30","web site":"/x","site":null},"job_title":"CEO"}`
	want := []string{
		"custom_fields.SCORE invalid_type", "custom_fields.due invalid_format", "custom_fields.live invalid_type",
		"custom_fields.nothing unknown", "custom_fields.plan invalid_type", "custom_fields.web site duplicate",
		"custom_fields.web site invalid_format", "tags_add[2] unknown", "tags_add[3] unknown",
	}
	r := b.do(t, "PATCH", path, body).want(t, 400, contact.CodeValidationFailed)
	got := r.fields()
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("problems\n%v, want\n%v", got, want)
	}
	if len(b.appended) != 1 {
		t.Error("something was written")
	}
	// Together with problems of another kind.
	got = b.do(t, "PATCH", path, `{"tags":["no"],"email":"x"}`).want(t, 400, "").fields()
	if slices.Sort(got); !slices.Equal(got, []string{"email invalid_format", "tags[0] unknown"}) {
		t.Errorf("problems %v", got)
	}
	got = b.do(t, "POST", "/v1/contacts", `{"first_name":"Bob","tags":["no"]}`).want(t, 400, "").fields()
	if !slices.Equal(got, []string{"tags[0] unknown"}) {
		t.Errorf("create: %v", got)
	}
	many := `"email":"x","tags":["no` + strings.Repeat(`","no`, 500) + `"]`
	if n := len(b.do(t, "PATCH", path, "{"+many+"}").want(t, 400, "").fields()); n != 100 {
		t.Errorf("%d problems of one body", n)
	}
	// A tag that nobody defined can be removed.
	b.do(t, "PATCH", path, `{"tags_remove":["no"]}`, "Prefer: wait=5").want(t, 200, "")
}

func TestDefinedNamesAreResolved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.define(t, []string{"VIP", "Été"}, "plan,Plan,string", "score,Score,number", "live,Live,boolean", "due,Due Date,date", "site,Site,url")
	path := "/v1/contacts/" + b.create(t, `{"first_name":"Ada","tags":["vip"],"custom_fields":{"PLAN":"free"}}`)
	r := b.do(t, "PATCH", path, `{"tags_add":["ÉTÉ"],"custom_fields":{"Score":1.50,"live":true,"due date":"2028-02-29",
		"site":"https://example.com/a","plan":null}}`, "Prefer: wait=5").want(t, 200, "")
	if got := fmt.Sprint(r.at("data.tags")); got != "[VIP Été]" {
		t.Errorf("tags %s", got)
	}
	if got, want := r.custom(t), `{"due":"2028-02-29","live":true,"score":1.5,"site":"https://example.com/a"}`; got != want {
		t.Errorf("custom fields %s, want %s", got, want)
	}
	// A batch looks everything up at once, each row for itself.
	reads := b.mirrorReads
	r = b.do(t, "POST", "/v1/contacts/batch", `{"writes":[{"patch":{"first_name":"a","tags":["vip"]}},
		{"patch":{"first_name":"b","tags":["nil"]}},{"patch":{"first_name":"c","custom_fields":{"plan":"x"}}}]}`).want(t, 207, "")
	for i, want := range []float64{202, 400, 202} {
		if got := r.at(fmt.Sprintf("data.results.%d.status", i)); got != want {
			t.Errorf("row %d: %v, want %v", i, got, want)
		}
	}
	if n := b.mirrorReads - reads; n > 2 {
		t.Errorf("the mirror was read %d times for one batch", n)
	}
	// A tag in use stays unless it is forced out.
	b.do(t, "DELETE", "/v1/tags/VIP", "").want(t, 409, contact.CodeInUse)
	b.do(t, "DELETE", "/v1/tags/VIP?force=true", "").want(t, 204, "")
	b.do(t, "PATCH", path, `{"tags_add":["VIP"]}`).want(t, 400, contact.CodeValidationFailed)
	r = b.do(t, "PATCH", path, `{"tags_remove":["vip"]}`, "Prefer: wait=5").want(t, 200, "")
	if got := fmt.Sprint(r.at("data.tags")); got != "[Été]" {
		t.Errorf("tags after the removal %s", got)
	}
}

// A definition counts from the next request on, in every process.
func TestDefinitionsCountEverywhereAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.newServerAlone(t)
	path := "/v1/contacts/" + b.create(t, `{"first_name":"Ada"}`)
	patch := func(s *Server) response {
		return b.send(t, s, request{"PATCH", path, `{"tags_add":["a"]}`, nil, secret})
	}
	for range 3 {
		patch(other).want(t, 400, "")
		patch(b.server).want(t, 400, "")
		b.define(t, []string{"a"})
		patch(other).want(t, 202, "")
		patch(b.server).want(t, 202, "")
		b.do(t, "DELETE", "/v1/tags/a?force=true", "").want(t, 204, "")
	}
	patch(other).want(t, 400, "")
}

// Settings of one account are nobody else's.
func TestDefinitionsBelongToTheirAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.define(t, []string{"a"})
	b.addKey("pl_of_another_account", contact.Key{Account: uuid.New(), Scopes: contact.Scopes()})
	foreign := func(method, path, body string) response {
		return b.send(t, b.server, request{method, path, body, nil, "pl_of_another_account"})
	}
	foreign("POST", "/v1/contacts", `{"first_name":"Eve","tags":["a"]}`).want(t, 400, "")
	foreign("DELETE", "/v1/tags/a", "").want(t, 404, "")
	if r := foreign("GET", "/v1/tags", "").want(t, 200, ""); len(r.at("data").([]any)) != 0 {
		t.Errorf("tags of another account: %s", r.raw)
	}
}

// Writes that name nothing cost no look-up; those that do need Redis alone.
func TestDefinitionsWhileThingsAreAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.define(t, []string{"a"}, "plan,Plan,string")
	path := "/v1/contacts/" + b.create(t, `{"first_name":"Ada"}`)
	if b.mirrorReads+b.settingReads != 0 {
		t.Errorf("%d and %d look-ups for a write without tags", b.mirrorReads, b.settingReads)
	}
	b.set(func() { b.storeDown = errAway })
	b.do(t, "PATCH", path, `{"tags_add":["A"],"custom_fields":{"plan":"x"}}`).want(t, 202, "")
	b.do(t, "PATCH", path, `{"custom_fields":{"plan":1}}`).want(t, 400, contact.CodeValidationFailed)
	// Nobody can say whether these are defined.
	b.do(t, "PATCH", path, `{"tags_add":["b"]}`).want(t, 503, contact.CodeStoreUnavailable)
	b.do(t, "PATCH", path, `{"tags_add":["b"],"email":"x"}`).want(t, 400, contact.CodeValidationFailed)
	b.do(t, "POST", "/v1/tags", `{"name":"b"}`).want(t, 503, contact.CodeStoreUnavailable)
	b.do(t, "DELETE", "/v1/tags/a", "").want(t, 503, contact.CodeStoreUnavailable)
	b.do(t, "GET", "/v1/tags", "").want(t, 503, contact.CodeStoreUnavailable)

	// An emptied mirror is filled from the store.
	b.set(func() { clear(b.settingsCopy) })
	b.do(t, "PATCH", path, `{"tags_add":["a"]}`).want(t, 503, contact.CodeStoreUnavailable)
	b.set(func() { b.storeDown = nil })
	b.do(t, "PATCH", path, `{"tags_add":["a"]}`).want(t, 202, "")
	b.set(func() { b.storeDown = errAway })
	b.do(t, "PATCH", path, `{"tags_add":["a"]}`).want(t, 202, "")
}

// A change that did not reach the mirror counts all the same.
func TestDefinitionsThatMissedTheMirror(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.newServerAlone(t)
	path := "/v1/contacts/" + b.create(t, `{"first_name":"Ada"}`)
	b.define(t, []string{"a"})
	b.set(func() { b.mirrorPutErr = errAway })
	b.define(t, []string{"b"})
	b.send(t, other, request{"PATCH", path, `{"tags_add":["b"]}`, nil, secret}).want(t, 202, "")
	// A deletion that missed it is found by the worker, until the poll.
	b.do(t, "DELETE", "/v1/tags/a?force=true", "").want(t, 204, "")
	third := b.newServerAlone(t)
	r := b.send(t, third, request{"PATCH", path, `{"tags_add":["a"]}`, []string{"Prefer: wait=5"}, secret})
	if r.want(t, 400, contact.CodeValidationFailed); !strings.Contains(r.str("detail"), "tags_add[0]") {
		t.Errorf("detail %q", r.str("detail"))
	}
	b.set(func() { b.mirrorPutErr = nil })
	if !third.lexicon.refresh(t.Context(), third.now()) {
		t.Fatal("the poll failed")
	}
	b.send(t, other, request{"PATCH", path, `{"tags_add":["a"]}`, nil, secret}).want(t, 400, "")
	reads := b.settingReads
	if third.lexicon.refresh(t.Context(), third.now()); b.settingReads != reads {
		t.Error("the poll read what the mirror has already")
	}
}

// A dialect names custom fields in its own way: by label, and all as strings.
func TestDefinitionsByLabel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.define(t, []string{"VIP"}, "billing_address,Billing Address,string", "score,Score,number")
	id := b.create(t, `{"first_name":"Ada","email":"ada@example.com"}`)
	b.addKey("opaque-callbell-key", contact.Key{Account: b.key.Account, Dialect: "callbell", Scopes: contact.Scopes()})
	r := b.send(t, b.server, request{
		"PATCH", "/v1/contacts/" + strings.ReplaceAll(id, "-", ""),
		`{"tags":["vip"],"custom_fields":{"Billing Address":"1 Main St","Score":"7"}}`, nil, "opaque-callbell-key",
	})
	if got := string(r.raw); r.StatusCode != 200 || !strings.Contains(got, `"tags":["VIP"]`) || !strings.Contains(got, `"Billing Address":"1 Main St"`) {
		t.Errorf("callbell: %d %s", r.StatusCode, got)
	}
	r = b.send(t, b.server, request{
		"PATCH", "/v1/contacts/" + id, `{"tags":["nil"],"custom_fields":{"Nothing":"x"}}`, nil, "opaque-callbell-key",
	})
	if got := string(r.raw); r.StatusCode != 400 || !strings.Contains(got, "tags[0]") || !strings.Contains(got, "Nothing") {
		t.Errorf("callbell, undefined: %d %s", r.StatusCode, got)
	}
	r = b.do(t, "GET", "/v1/contacts/"+id, "").want(t, 200, "")
	if got := r.custom(t); got != `{"billing_address":"1 Main St","score":7}` {
		t.Errorf("stored %s", got)
	}
}

// A repeated key is answered as the first request was, whatever was deleted
// meanwhile.
func TestReplayOutlivesDefinitions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.define(t, []string{"VIP"}, "plan,Plan,string")
	path := "/v1/contacts/" + b.create(t, `{"first_name":"Ada"}`)
	const body = `{"tags":["vip"],"custom_fields":{"PLAN":"x"}}`
	first := b.do(t, "PATCH", path, body, "Idempotency-Key: k").want(t, 202, "")
	b.do(t, "DELETE", "/v1/tags/VIP?force=true", "").want(t, 204, "")
	again := b.do(t, "PATCH", path, body, "Idempotency-Key: k").want(t, 202, "")
	if again.str("data.write_id") != first.str("data.write_id") || again.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("replay %s, first %s", again.raw, first.raw)
	}
	b.do(t, "PATCH", path, body, "Idempotency-Key: new").want(t, 400, contact.CodeValidationFailed)
	b.do(t, "PATCH", path, `{"tags":["x"]}`, "Idempotency-Key: k").want(t, 400, contact.CodeValidationFailed)
	id := strings.TrimPrefix(path, "/v1/contacts/")
	r := b.do(t, "POST", "/v1/contacts/batch", `{"writes":[{"id":"`+id+`","patch":`+body+`,"idempotency_key":"k"},
		{"id":"`+id+`","patch":`+body+`}]}`).want(t, 207, "")
	if r.at("data.results.0.replayed") != true || r.at("data.results.1.status") != 400.0 {
		t.Errorf("batch %s", r.raw)
	}
}

// What was accepted and is deleted before it is applied fails, and a retry after
// it was defined again goes through.
func TestDefinitionGoneBeforeTheWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.define(t, nil, "plan,Plan,string")
	path := "/v1/contacts/" + b.create(t, `{"first_name":"Ada"}`)
	b.set(func() { b.paused = true })
	r := b.do(t, "PATCH", path, `{"custom_fields":{"plan":"x"}}`).want(t, 202, "")
	b.do(t, "DELETE", "/v1/custom-fields/plan", "").want(t, 204, "")
	b.resume()
	w := b.do(t, "GET", "/v1/writes/"+r.str("data.write_id"), "").want(t, 200, "")
	if w.str("data.state") != "failed" || w.str("data.error.code") != "validation_failed" {
		t.Fatalf("write %s", w.raw)
	}
	b.define(t, nil, "plan,Plan,string")
	b.do(t, "POST", "/v1/writes/"+r.str("data.write_id")+"/retry", `{}`).want(t, 202, "")
	if r = b.do(t, "GET", path, "").want(t, 200, ""); r.custom(t) != `{"plan":"x"}` {
		t.Errorf("after the retry: %s", r.custom(t))
	}
}
