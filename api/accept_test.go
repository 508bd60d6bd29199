package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

func TestCreateReadPatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	made := b.do(t, "POST", "/v1/contacts", `{"first_name":" Ada ","email":"ada@EXAMPLE.com","notes":"<b>&"}`).want(t, 201, "")
	id := made.str("data.id")
	if made.Header.Get("ETag") != `"1"` || made.Header.Get("Location") != "/v1/contacts/"+id {
		t.Fatalf("headers %v", made.Header)
	}
	if made.str("data.first_name") != "Ada" || made.str("data.email") != "ada@example.com" || made.str("data.notes") != "<b>&" {
		t.Fatalf("contact %s", made.raw)
	}

	queued := b.do(t, "PATCH", "/v1/contacts/"+strings.ToUpper(id), `{"job_title":"CTO"}`).want(t, 202, "")
	if queued.str("data.state") != "queued" || queued.str("data.contact_id") != id {
		t.Fatalf("202 %s", queued.raw)
	}
	if queued.Header.Get("Location") != "/v1/writes/"+queued.str("data.write_id") {
		t.Fatalf("location %q", queued.Header.Get("Location"))
	}

	waited := b.do(t, "PATCH", "/v1/contacts/"+id, `{"job_title":"CEO"}`, "Prefer: wait=5").want(t, 200, "")
	if waited.Header.Get("ETag") != `"3"` || waited.Header.Get("Preference-Applied") != "wait=5" {
		t.Fatalf("headers %v", waited.Header)
	}
	change, _ := waited.at("meta.changes.0").(map[string]any)
	if change["field"] != "job_title" || change["old"] != "CTO" || change["new"] != "CEO" {
		t.Fatalf("changes %s", waited.raw)
	}

	got := b.do(t, "GET", "/v1/contacts/"+id, "").want(t, 200, "")
	if got.str("data.job_title") != "CEO" || got.at("meta") != nil {
		t.Fatalf("read %s", got.raw)
	}
	b.do(t, "GET", "/v1/contacts/"+id, "", `If-None-Match: W/"3"`).want(t, 304, "")
	b.do(t, "HEAD", "/v1/contacts/"+id, "").want(t, 200, "")
}

func TestMountsAreAliases(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	for _, mount := range []string{"/v1", "", "/functions/v1/api/v1", "/functions/v1/api-gateway/v1"} {
		b.do(t, "GET", mount+"/contacts/"+id, "").want(t, 200, "")
		b.do(t, "PATCH", mount+"/contacts/"+id, `{}`).want(t, 202, "")
		b.do(t, "GET", mount+"/contacts?email=A@example.com", "").want(t, 200, "")
		b.do(t, "GET", mount+"/data/crm-logs?contact_id="+id, "").want(t, 200, "")
		b.do(t, "POST", mount+"/contacts/batch", `{"writes":[]}`).want(t, 207, "")
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	body := `{"emial":"x","Email":"y","email":"nope","email":"z@example.com","phone":12,"first_name":null,
		"tags":["a",1],"metadata":{"a":{"b":1,"b":2}},"date_of_birth":"2026-02-30","as_of":"yesterday","id":"1"}`
	a := b.do(t, "PATCH", "/v1/contacts/"+id, body, "If-Match: seven", "Idempotency-Key: "+strings.Repeat("k", 256)).
		want(t, 400, contact.CodeValidationFailed)
	got := a.fields()
	for _, want := range []string{
		"emial unknown", "Email unknown", "email duplicate", "phone invalid_type", "first_name invalid_type",
		"tags[1] invalid_type", "metadata.b duplicate", "date_of_birth invalid_format", "as_of invalid_format",
		"id unknown", "If-Match invalid_format", "Idempotency-Key invalid_format", "email invalid_format",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not reported: %v", want, got)
		}
	}
	if len(b.appended) != 1 {
		t.Fatal("something was written")
	}
	if a.str("fix") == "" || a.str("request_id") == "" || a.str("type") != "urn:patchlane:problem:validation_failed" {
		t.Fatalf("problem %s", a.raw)
	}
}

func TestBodiesThatAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for _, c := range []struct {
		name, body string
		headers    []string
		status     int
		code       contact.Code
	}{
		{"empty", "", nil, 400, contact.CodeInvalidJSON},
		{"blank", "  ", nil, 400, contact.CodeInvalidJSON},
		{"array", "[]", nil, 400, contact.CodeInvalidBody},
		{"string", `"x"`, nil, 400, contact.CodeInvalidBody},
		{"null", `null`, nil, 400, contact.CodeInvalidBody},
		{"cut", `{"notes":"a`, nil, 400, contact.CodeInvalidJSON},
		{"trailing", `{} {}`, nil, 400, contact.CodeInvalidJSON},
		{"trailing comma", `{"notes":"a",}`, nil, 400, contact.CodeInvalidJSON},
		{"comment", `{} // x`, nil, 400, contact.CodeInvalidJSON},
		{"raw NUL", "{\"notes\":\"a\x00\"}", nil, 400, contact.CodeInvalidJSON},
		{"escaped NUL", `{"notes":"a\u0000"}`, nil, 400, contact.CodeValidationFailed},
		{"deep NUL", `{"metadata":{"a":["\u0000"]}}`, nil, 400, contact.CodeValidationFailed},
		{"bad UTF-8", "{\"notes\":\"\xff\"}", nil, 400, contact.CodeInvalidJSON},
		{"lone surrogate", `{"notes":"\ud800"}`, nil, 400, contact.CodeInvalidJSON},
		{"byte order mark", "\ufeff{}", nil, 400, contact.CodeInvalidJSON},
		{"deep", `{"metadata":` + deep + `}`, nil, 400, contact.CodeValidationFailed},
		{"very deep", strings.Repeat("[", 20000), nil, 400, contact.CodeInvalidJSON},
		{"large", `{"notes":"` + strings.Repeat("a", maxBody) + `"}`, nil, 413, contact.CodePayloadTooLarge},
		{"no type", `{}`, []string{"Content-Type: "}, 415, contact.CodeUnsupportedMedia},
		{"form", `{}`, []string{"Content-Type: application/x-www-form-urlencoded"}, 415, contact.CodeUnsupportedMedia},
		{"latin", `{}`, []string{"Content-Type: application/json; charset=latin1"}, 415, contact.CodeUnsupportedMedia},
		{"utf-8", `{}`, []string{"Content-Type: application/json; charset=UTF-8"}, 202, ""},
		{"identity", `{}`, []string{"Content-Encoding: identity"}, 202, ""},
		{"gzip", `{}`, []string{"Content-Encoding: gzip"}, 415, contact.CodeUnsupportedEncoding},
		{"both notes", `{"notes":"a","notes_append":"b"}`, nil, 400, contact.CodeValidationFailed},
	} {
		a := b.do(t, "PATCH", "/v1/contacts/"+id, c.body, c.headers...)
		if a.StatusCode != c.status || (c.code != "" && a.str("code") != string(c.code)) {
			t.Errorf("%s: got %d %s, want %d %s", c.name, a.StatusCode, a.str("code"), c.status, c.code)
		}
	}
}

func TestManyUnknownMembersAreAnsweredBriefly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	var body strings.Builder
	body.WriteString(`{"` + strings.Repeat("x", 100_000) + `":1`)
	for i := range 80_000 {
		fmt.Fprintf(&body, `,"u%d":1`, i)
	}
	body.WriteString("}")
	a := b.do(t, "PATCH", "/v1/contacts/"+id, body.String()).want(t, 400, contact.CodeValidationFailed)
	if n := len(a.fields()); n != 100 || len(a.raw) > 32<<10 {
		t.Fatalf("%d problems in %d bytes", n, len(a.raw))
	}
}

func TestWaitedFailuresAnswerTheirOwnStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com","external_id":"x1"}`)
	b.create(t, `{"email":"b@example.com","external_id":"x2"}`)
	for _, c := range []struct {
		body, match string
		status      int
		code        contact.Code
	}{
		{`{"email":"B@example.com"}`, "*", 409, contact.CodeDuplicate},
		{`{"external_id":"x2"}`, "*", 409, contact.CodeDuplicate},
		{`{"notes_append":"` + strings.Repeat("n", 1001) + `"}`, "*", 409, contact.CodeLimitExceeded},
		{`{"job_title":"x"}`, `"9"`, 412, contact.CodePreconditionFailed},
		{`{"job_title":"x"}`, `W/"1"`, 412, contact.CodePreconditionFailed},
		{`{"job_title":"x"}`, `"8", "1"`, 200, ""},
	} {
		b.do(t, "PATCH", "/v1/contacts/"+id, c.body, "Prefer: wait=5", "If-Match: "+c.match).want(t, c.status, c.code)
	}
	b.do(t, "POST", "/v1/contacts", `{"external_id":"x2"}`).want(t, 409, contact.CodeDuplicate)
	b.do(t, "POST", "/v1/contacts", `{"id":"`+id+`","first_name":"A"}`).want(t, 409, contact.CodeDuplicate)
	b.do(t, "POST", "/v1/contacts", `{"job_title":"x"}`).want(t, 400, contact.CodeValidationFailed)
	b.do(t, "POST", "/v1/contacts", `{"first_name":"x"}`, `If-Match: "1"`).want(t, 400, contact.CodeValidationFailed)
}

func TestArchiveAndRestore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	b.do(t, "PATCH", "/v1/contacts/"+id, `{}`).want(t, 202, "") // it is remembered as active now
	if a := b.do(t, "DELETE", "/v1/contacts/"+id, "").want(t, 204, ""); len(a.raw) != 0 {
		t.Fatalf("204 with a body %s", a.raw)
	}
	b.do(t, "PATCH", "/v1/contacts/"+id, `{"notes":"x"}`).want(t, 409, contact.CodeArchived)
	b.do(t, "DELETE", "/v1/contacts/"+id, `{}`).want(t, 204, "")
	if got := b.do(t, "GET", "/v1/contacts/"+id, "").want(t, 200, ""); got.str("data.archived_at") == "" {
		t.Fatalf("not archived: %s", got.raw)
	}
	b.do(t, "POST", "/v1/contacts/"+id+"/restore", `{"now":true}`).want(t, 400, contact.CodeValidationFailed)
	b.do(t, "POST", "/v1/contacts/"+id+"/restore", "").want(t, 200, "")
	b.do(t, "PATCH", "/v1/contacts/"+id, `{"notes":"x"}`, "Prefer: wait=1").want(t, 200, "")
	b.do(t, "DELETE", "/v1/contacts/"+id, "", "Prefer: respond-async").want(t, 202, "")
	b.do(t, "DELETE", "/v1/contacts/"+uuid.NewString(), "").want(t, 404, contact.CodeNotFound)
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	path := "/v1/contacts/" + id
	first := b.do(t, "PATCH", path, `{"notes_append":"x"}`, "Idempotency-Key: k1").want(t, 202, "")
	again := b.do(t, "PATCH", path, ` {"notes_append" : "x"}`, "Idempotency-Key: k1").want(t, 202, "")
	if string(first.raw) != string(again.raw) || again.Header.Get("Idempotent-Replayed") != "true" {
		t.Fatalf("first %s, again %s", first.raw, again.raw)
	}
	waited := b.do(t, "PATCH", path, `{"notes_append":"x"}`, "Idempotency-Key: k1", "Prefer: wait=3").want(t, 200, "")
	if waited.str("meta.write_id") != first.str("data.write_id") || waited.str("data.notes") != "x" {
		t.Fatalf("waited replay %s", waited.raw)
	}
	b.do(t, "PATCH", path, `{"notes_append":"y"}`, "Idempotency-Key: k1").want(t, 422, contact.CodeKeyReused)
	b.do(t, "PATCH", path, `{"notes_append":"x"}`, "Idempotency-Key: k1", `If-Match: "1"`).want(t, 422, contact.CodeKeyReused)

	// The contact is archived: the known key answers as it did, a new one not.
	b.do(t, "DELETE", path, "").want(t, 204, "")
	b.do(t, "PATCH", path, `{"notes_append":"x"}`, "Idempotency-Key: k1", "Prefer: wait=3").want(t, 200, "")
	b.do(t, "PATCH", path, `{"notes_append":"z"}`, "Idempotency-Key: k1").want(t, 422, contact.CodeKeyReused)
	b.do(t, "PATCH", path, `{"notes_append":"x"}`, "Idempotency-Key: k2").want(t, 409, contact.CodeArchived)
	b.do(t, "PATCH", "/v1/contacts/"+uuid.NewString(), `{}`, "Idempotency-Key: k1").want(t, 404, contact.CodeNotFound)
}

func TestIdempotentCreate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.do(t, "POST", "/v1/contacts", `{"first_name":"Ada"}`, "Idempotency-Key: k").want(t, 201, "")
	again := b.do(t, "POST", "/v1/contacts", `{"first_name":"Ada"}`, "Idempotency-Key: k").want(t, 201, "")
	if string(first.raw) != string(again.raw) || len(b.contacts) != 1 {
		t.Fatalf("first %s, again %s", first.raw, again.raw)
	}
	b.do(t, "POST", "/v1/contacts", `{"first_name":"Bob"}`, "Idempotency-Key: k").want(t, 422, contact.CodeKeyReused)
	body := `{"first_name":"Ada","id":"` + uuid.NewString() + `"}`
	b.do(t, "POST", "/v1/contacts", body, "Idempotency-Key: k").want(t, 422, contact.CodeKeyReused)
	b.do(t, "POST", "/v1/contacts", body, "Idempotency-Key: k2").want(t, 201, "")
	b.do(t, "POST", "/v1/contacts", body, "Idempotency-Key: k2").want(t, 201, "")
}

func TestAFailedWriteIsReplayedAsFailed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	for range 2 {
		b.do(t, "PATCH", "/v1/contacts/"+id, `{"notes":"x"}`, "Idempotency-Key: k", `If-Match: "5"`, "Prefer: wait=2").
			want(t, 412, contact.CodePreconditionFailed)
	}
}

func TestAsOf(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	path := "/v1/contacts/" + id
	b.do(t, "PATCH", path, `{"as_of":"2026-01-02T03:04:05+01:00"}`, "X-As-Of: 2026-01-02T02:04:05Z").want(t, 202, "")
	want := time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC)
	if got := b.appended[1]; !got.AsOf.Equal(want) || got.Actor != b.key.ID.String() || got.Source != contact.SourcePatch {
		t.Fatalf("appended %+v", got)
	}
	b.do(t, "PATCH", path, `{"as_of":"2026-01-02T03:04:05Z"}`, "X-As-Of: 2026-01-02T02:04:05Z").
		want(t, 400, contact.CodeValidationFailed)
	b.do(t, "PATCH", path, `{}`, "X-As-Of: today").want(t, 400, contact.CodeValidationFailed)
}
