package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

func TestBatchRowsStandForThemselves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, archived := b.create(t, `{"email":"a@example.com"}`), b.create(t, `{"email":"b@example.com"}`)
	b.do(t, "DELETE", "/v1/contacts/"+archived, "").want(t, 204, "")
	rows := []struct {
		row    string
		status float64
		code   contact.Code
	}{
		{`{"id":"` + id + `","patch":{"notes_append":"one"}}`, 202, ""},
		{`{"id":"` + id + `","patch":{"nots":"x","phone":1}}`, 400, contact.CodeValidationFailed},
		{`{"id":"` + id + `","patch":{"notes_append":"two"},"if_match":"2"}`, 202, ""},
		{`{"patch":{"first_name":"New"}}`, 202, ""},
		{`{"patch":{"job_title":"x"}}`, 400, contact.CodeValidationFailed},
		{`{"id":"` + uuid.NewString() + `","patch":{}}`, 404, contact.CodeNotFound},
		{`{"id":"` + archived + `","patch":{}}`, 409, contact.CodeArchived},
		{`{"id":"x","patch":{}}`, 400, contact.CodeValidationFailed},
		{`{"id":"` + id + `"}`, 400, contact.CodeValidationFailed},
		{`{"id":"` + id + `","patch":[]}`, 400, contact.CodeValidationFailed},
		{`{"id":"` + id + `","patch":{"notes":"a","notes":"b"}}`, 400, contact.CodeValidationFailed},
		{`{"id":"` + id + `","patch":{},"patch":{}}`, 400, contact.CodeValidationFailed},
		{`{"id":"` + id + `","patch":{},"etag":"1"}`, 400, contact.CodeValidationFailed},
		{`{"id":"` + id + `","patch":{},"if_match":7}`, 400, contact.CodeValidationFailed},
		{`{"id":"` + id + `","patch":{},"if_match":"seven"}`, 400, contact.CodeValidationFailed},
		{`{"id":"` + id + `","patch":{},"idempotency_key":""}`, 400, contact.CodeValidationFailed},
		{`7`, 400, contact.CodeValidationFailed},
		{`{"id":"` + id + `","patch":{"notes_append":"three"}}`, 202, ""},
	}
	list := make([]string, 0, len(rows))
	accepted := 0
	for _, r := range rows {
		if list = append(list, r.row); r.status == 202 {
			accepted++
		}
	}
	a := b.do(t, "POST", "/v1/contacts/batch", `{"writes":[`+strings.Join(list, ",")+`]}`).want(t, 207, "")
	if a.at("data.accepted") != float64(accepted) || a.at("data.rejected") != float64(len(rows)-accepted) {
		t.Errorf("counts %v %v", a.at("data.accepted"), a.at("data.rejected"))
	}
	for i, r := range rows {
		at := fmt.Sprintf("data.results.%d.", i)
		if a.at(at+"index") != float64(i) || a.at(at+"status") != r.status || a.str(at+"error.code") != string(r.code) {
			t.Errorf("row %d %s: got %v", i, r.row, a.at(strings.TrimSuffix(at, ".")))
		}
	}
	got := b.do(t, "GET", "/v1/contacts/"+id, "")
	if got.str("data.notes") != "one\ntwo\nthree" {
		t.Errorf("notes %q", got.str("data.notes"))
	}
	if last := b.appended[len(b.appended)-1]; last.Source != contact.SourceBatch || last.ReplyTo != "" {
		t.Errorf("appended %+v", last)
	}
}

func TestBatchReplays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	body := `{"writes":[
		{"id":"` + id + `","patch":{"notes_append":"x"},"idempotency_key":"k"},
		{"patch":{"first_name":"Ada"},"idempotency_key":"k"},
		{"patch":{"first_name":"Ada"},"idempotency_key":"k"},
		{"patch":{"first_name":"Bob"},"idempotency_key":"k"}]}`
	first := b.do(t, "POST", "/v1/contacts/batch", body).want(t, 207, "")
	if first.at("data.results.0.replayed") != nil || first.at("data.results.1.replayed") != nil ||
		first.at("data.results.2.replayed") != true || first.str("data.results.3.error.code") != "idempotency_key_reused" {
		t.Fatalf("first %s", first.raw)
	}
	b.do(t, "DELETE", "/v1/contacts/"+id, "").want(t, 204, "")
	again := b.do(t, "POST", "/v1/contacts/batch", body).want(t, 207, "")
	for i := range 3 {
		at := fmt.Sprintf("data.results.%d.", i)
		if again.at(at+"replayed") != true || again.str(at+"write_id") != first.str(at+"write_id") {
			t.Errorf("row %d: %v", i, again.at(at+"replayed"))
		}
	}
	if len(b.contacts) != 2 {
		t.Errorf("%d contacts", len(b.contacts))
	}
}

func TestBatchMayWriteToWhatItCreates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := uuid.NewString()
	a := b.do(t, "POST", "/v1/contacts/batch", `{"writes":[
		{"patch":{"id":"`+id+`","first_name":"Ada"}},
		{"id":"`+id+`","patch":{"job_title":"CTO"}}]}`).want(t, 207, "")
	if a.at("data.accepted") != float64(2) {
		t.Fatalf("batch %s", a.raw)
	}
	if got := b.do(t, "GET", "/v1/contacts/"+id, "").want(t, 200, ""); got.str("data.job_title") != "CTO" {
		t.Fatalf("contact %s", got.raw)
	}
}

func TestBatchEnvelope(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, c := range []struct {
		body   string
		status int
		code   contact.Code
	}{
		{`{"writes":[]}`, 207, ""},
		{`{}`, 400, contact.CodeValidationFailed},
		{`{"writes":{}}`, 400, contact.CodeValidationFailed},
		{`{"writes":[],"writes":[]}`, 400, contact.CodeValidationFailed},
		{`{"writes":[],"wait":true}`, 400, contact.CodeValidationFailed},
		{`[]`, 400, contact.CodeInvalidBody},
		{`{"writes":[`, 400, contact.CodeInvalidJSON},
		{`{"writes":[` + strings.Repeat(`{},`, 1000) + `{}]}`, 413, contact.CodePayloadTooLarge},
		{`{"writes":[` + strings.Repeat(` `, maxBatch) + `]}`, 413, contact.CodePayloadTooLarge},
	} {
		b.do(t, "POST", "/v1/contacts/batch", c.body).want(t, c.status, c.code)
	}
}

func TestBatchWhileTheQueueIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	b.set(func() { b.appendErr, b.laneErr = errAway, errAway })
	a := b.do(t, "POST", "/v1/contacts/batch", `{"writes":[{"id":"`+id+`","patch":{}},
		{"patch":{"first_name":"A"},"idempotency_key":"k"}]}`).want(t, 207, "")
	for i := range 2 {
		if a.at(fmt.Sprintf("data.results.%d.status", i)) != float64(503) {
			t.Errorf("row %d: %s", i, a.raw)
		}
	}
}

// A row whose id cannot be read names a contact all the same: its one problem
// is the id, not what a new contact would need.
func TestBatchRowWithUnreadableID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.do(t, "POST", "/v1/contacts/batch", `{"writes":[{"id":"x","patch":{}}]}`).want(t, 207, "")
	if a.str("data.results.0.error.errors.0.field") != "id" || a.at("data.results.0.error.errors.1") != nil {
		t.Errorf("batch %s", a.raw)
	}
}
