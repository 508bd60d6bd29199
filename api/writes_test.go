package api

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

func TestFollowAWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id := b.create(t, `{"email":"a@example.com"}`)
		b.set(func() { b.paused = true })
		sent := b.do(t, "PATCH", "/v1/contacts/"+id, `{"notes_append":"x"}`)
		path := sent.Header.Get("Location")
		queued := b.do(t, "GET", path, "").want(t, 200, "")
		if queued.str("data.state") != "queued" || queued.at("data.applied_at") != nil ||
			queued.str("data.accepted_at") != sent.str("data.accepted_at") {
			t.Fatalf("queued %s", queued.raw)
		}
		late, took := b.took(t, "GET", path, "", "Prefer: wait=2")
		if late.str("data.state") != "queued" || took != 2*time.Second {
			t.Fatalf("took %v: %s", took, late.raw)
		}
		b.after(time.Second, b.resume)
		done, took := b.took(t, "GET", path, "", "Prefer: wait=5")
		if done.str("data.state") != "applied" || took > time.Second+lastPoll || done.at("data.version") != 2.0 ||
			done.str("data.changes.0.op") != "append" {
			t.Fatalf("took %v: %s", took, done.raw)
		}
		b.do(t, "PATCH", "/v1/contacts/"+id, `{"email":"a@example.com"}`).want(t, 202, "")
		same := b.do(t, "GET", "/v1/writes?state=unchanged", "").want(t, 200, "")
		if same.str("data.0.state") != "unchanged" {
			t.Fatalf("unchanged %s", same.raw)
		}
	})
}

func TestAWriteIsMissingOnlyIfAllAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	b.set(func() { b.paused = true })
	queued := b.do(t, "PATCH", "/v1/contacts/"+id, `{}`).Header.Get("Location")
	unknown := "/v1/writes/" + uuid.NewString()

	b.do(t, "GET", unknown, "").want(t, 404, contact.CodeNotFound)
	b.set(func() { b.storeDown = errAway })
	b.do(t, "GET", queued, "").want(t, 200, "")
	if a := b.do(t, "GET", unknown, "").want(t, 503, contact.CodeStoreUnavailable); a.Header.Get("Retry-After") != "1" {
		t.Errorf("retry after %q", a.Header.Get("Retry-After"))
	}
	b.set(func() { b.storeDown, b.laneErr = nil, errAway })
	b.do(t, "GET", unknown, "").want(t, 503, contact.CodeQueueUnavailable)
}

func TestRetry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.create(t, `{"email":"taken@example.com"}`)
	id := b.create(t, `{"email":"a@example.com"}`)
	failed := b.do(t, "PATCH", "/v1/contacts/"+id, `{"email":"taken@example.com"}`).Header.Get("Location")
	if a := b.do(t, "GET", failed, ""); a.str("data.state") != "failed" || a.str("data.error.code") != "duplicate" ||
		a.at("data.error.status") != 409.0 {
		t.Fatalf("failed %s", a.raw)
	}
	list := b.do(t, "GET", "/v1/writes?state=failed&code=duplicate&contact_id="+id, "").want(t, 200, "")
	if list.str("data.0.contact_id") != id {
		t.Fatalf("list %s", list.raw)
	}
	b.do(t, "DELETE", "/v1/contacts/"+other, "").want(t, 204, "")
	again := b.do(t, "POST", failed+"/retry", `{"force":true}`).want(t, 202, "")
	last := b.appended[len(b.appended)-1]
	if !last.Force || last.RetryOf.String() != failed[len("/v1/writes/"):] || last.RetryAcceptedAt.IsZero() {
		t.Fatalf("appended %+v", last)
	}
	if got := b.do(t, "GET", "/v1/contacts/"+id, ""); got.str("data.email") != "taken@example.com" {
		t.Fatalf("contact %s", got.raw)
	}
	if a := b.do(t, "GET", failed, ""); a.str("data.state") != "retried" || a.str("data.retried_as") != again.str("data.write_id") {
		t.Fatalf("failed %s", a.raw)
	}
	if a := b.do(t, "GET", again.Header.Get("Location"), ""); "/v1/writes/"+a.str("data.retry_of") != failed {
		t.Fatalf("retry %s", a.raw)
	}
	b.do(t, "POST", failed+"/retry", "").want(t, 409, contact.CodeAlreadyRetried)
	b.do(t, "POST", failed+"/discard", "").want(t, 409, contact.CodeAlreadyRetried)
	b.do(t, "POST", again.Header.Get("Location")+"/retry", "").want(t, 409, contact.CodeNotFailed)
	b.do(t, "POST", "/v1/writes/"+uuid.NewString()+"/retry", "").want(t, 404, contact.CodeNotFound)
	b.do(t, "POST", failed+"/retry", `{"forced":true}`).want(t, 400, contact.CodeValidationFailed)
	b.do(t, "POST", failed+"/retry", `{"force":1}`).want(t, 400, contact.CodeValidationFailed)
}

// fail makes a write that failed and returns its path.
func (b *bench) fail(t *testing.T) string {
	t.Helper()
	id := b.create(t, `{"first_name":"A"}`)
	return b.do(t, "PATCH", "/v1/contacts/"+id, `{"notes":"x"}`, `If-Match: "9"`).want(t, 202, "").Header.Get("Location")
}

func TestAHalfDoneRetryIsCompleted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	failed := b.fail(t)
	b.set(func() { b.appendErr = &contact.Error{Code: contact.CodeQueueUnavailable} })
	b.do(t, "POST", failed+"/retry", "").want(t, 503, contact.CodeQueueUnavailable)
	claimed := b.do(t, "GET", failed, "").str("data.retried_as")
	b.set(func() { b.appendErr, b.paused = nil, true })
	a := b.do(t, "POST", failed+"/retry", "").want(t, 202, "")
	if a.str("data.write_id") != claimed || claimed == "" {
		t.Fatalf("claimed %q, appended %s", claimed, a.raw)
	}
	b.do(t, "POST", failed+"/retry", "").want(t, 409, contact.CodeAlreadyRetried) // it is queued
	b.set(func() { b.queue, b.laneErr = nil, errAway })
	b.do(t, "POST", failed+"/retry", "").want(t, 503, contact.CodeQueueUnavailable) // nobody knows
}

func TestUnreadableWritesCannotBeRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	failed := b.fail(t)
	b.set(func() {
		for _, f := range b.failed {
			f.Raw = []byte{99}
		}
	})
	b.do(t, "POST", failed+"/retry", "").want(t, 422, contact.CodeUnreadable)

	b = setup(t)
	failed = b.fail(t)
	b.set(func() {
		for ref, r := range b.ledger {
			if r.State == contact.Failed {
				r.Code = contact.CodeUnreadable
				b.ledger[ref] = r
			}
		}
	})
	b.do(t, "POST", failed+"/retry", "").want(t, 422, contact.CodeUnreadable)
	b.do(t, "POST", failed+"/discard", "").want(t, 200, "") // nothing was claimed
}

func TestDiscard(t *testing.T) {
	t.Parallel()
	b := setup(t)
	failed := b.fail(t)
	for range 2 {
		a := b.do(t, "POST", failed+"/discard", "").want(t, 200, "")
		if a.str("data.state") != "discarded" || a.str("data.error.code") != "precondition_failed" {
			t.Fatalf("discarded %s", a.raw)
		}
	}
	b.do(t, "POST", failed+"/retry", "").want(t, 409, contact.CodeNotFailed)
	applied := b.do(t, "GET", "/v1/writes?state=applied", "").str("data.0.write_id")
	b.do(t, "POST", "/v1/writes/"+applied+"/discard", "").want(t, 409, contact.CodeNotFailed)
}

func TestListsRefuseWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 3 {
		b.create(t, `{"first_name":"Ada","phone":"+61412345678"}`)
	}
	for _, path := range []string{
		"/v1/contacts?limit=0", "/v1/contacts?limit=101", "/v1/contacts?limit=x", "/v1/contacts?limit=",
		"/v1/contacts?emial=a@example.com", "/v1/contacts?email=a", "/v1/contacts?email=a@b.cc&email=c@d.ee",
		"/v1/contacts?external_id=%00", "/v1/contacts?external_id=%ff", "/v1/contacts?phone=1", "/v1/contacts?cursor=broken",
		"/v1/contacts?%zz", "/v1/contacts?include_archived=1",
		"/v1/writes?state=done", "/v1/writes?state=queued", "/v1/writes?contact_id=1", "/v1/writes?code=bad",
		"/v1/data/crm-logs?from=now", "/v1/data/crm-logs?write_id=1", "/v1/data/crm-logs?field=%00",
	} {
		b.do(t, "GET", path, "").want(t, 400, contact.CodeValidationFailed)
	}
	page := b.do(t, "GET", "/v1/contacts?limit=2&phone=+61412345678", "").want(t, 200, "")
	cursor := page.str("pagination.next_cursor")
	if page.at("pagination.has_more") != true || cursor == "" || page.at("data.1") == nil {
		t.Fatalf("page %s", page.raw)
	}
	if last := b.do(t, "GET", "/v1/contacts?limit=2&cursor="+cursor, ""); last.at("pagination.has_more") != false ||
		last.at("data.0") == nil || last.at("data.1") != nil {
		t.Fatalf("last %s", last.raw)
	}
}

func TestChangeLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"first_name":"Ada"}`)
	a := b.do(t, "GET", "/functions/v1/api/v1/data/crm-logs?from=2020-01-01T00:00:00Z&contact_id="+id, "").want(t, 200, "")
	if a.str("data.0.field") != "first_name" || a.str("data.0.new_value") != "Ada" || a.str("data.0.op") != "set" ||
		a.str("data.0.actor") != b.key.ID.String() {
		t.Fatalf("log %s", a.raw)
	}
}

func TestOutages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	path := "/v1/contacts/" + id
	b.set(func() { b.storeDown = errAway })
	for _, read := range []string{path, "/v1/contacts", "/v1/writes", "/v1/data/crm-logs"} {
		b.do(t, "GET", read, "").want(t, 503, contact.CodeStoreUnavailable)
	}
	b.do(t, "PATCH", path, `{}`).want(t, 202, "")
	b.do(t, "POST", "/v1/contacts", `{"first_name":"A"}`, "Idempotency-Key: k", "Prefer: respond-async").want(t, 202, "")
	for _, c := range []struct {
		err   error
		code  contact.Code
		pause string
	}{
		{errAway, contact.CodeQueueUnavailable, "1"},
		{&contact.Error{Code: contact.CodeOverloaded, RetryAfter: 6100 * time.Millisecond}, contact.CodeOverloaded, "7"},
		{&contact.Error{Code: contact.CodeQueueUnavailable, RetryAfter: time.Millisecond}, contact.CodeQueueUnavailable, "1"},
		{&contact.Error{Code: contact.CodeInternal, Err: errors.New("secret")}, contact.CodeInternal, ""},
		{&contact.Error{Code: "never heard of"}, contact.CodeInternal, ""},
	} {
		b.set(func() { b.appendErr = c.err })
		status := 503
		if c.code == contact.CodeInternal {
			status = 500
		}
		a := b.do(t, "PATCH", path, `{}`).want(t, status, c.code)
		if got := a.Header.Get("Retry-After"); got != c.pause {
			t.Errorf("%v: retry after %q, want %q", c.err, got, c.pause)
		}
	}
	b.set(func() { b.appendErr, b.laneErr = nil, errAway })
	b.do(t, "POST", "/v1/contacts", `{"first_name":"A"}`, "Idempotency-Key: k2").want(t, 503, contact.CodeQueueUnavailable)
}
