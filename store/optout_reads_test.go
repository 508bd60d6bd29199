package store_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

func TestSuppressionsAreListed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stop := b.event(contact.OptOut)
	b.hear(
		stop,
		b.event(contact.OptOut, mail("b@x.org"), cause(contact.HardBounce), func(e *contact.Event) { e.Provider = "ses" }),
		b.event(contact.OptOut, mail("a@x.org"), cause(contact.Complaint)),
		b.event(contact.OptOut, to("+31600000001")), b.event(contact.Start, to("+31600000001")),
	)
	var got []string
	q := contact.SuppressionQuery{Account: b.account, Limit: 1}
	for {
		page, err := b.Store.Suppressions(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Suppressions {
			got = append(got, s.Channel.String()+" "+s.Key+" "+s.Cause.String()+" "+s.Provider)
		}
		if q.After = page.Next; !page.HasMore {
			break
		}
	}
	want := []string{"email a@x.org complaint twilio", "email b@x.org hard_bounce ses", "sms " + number + " keyword_stop twilio"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, q := range []contact.SuppressionQuery{
		{Account: b.account, Channel: contact.SMSChannel, Limit: 10}, {Account: b.account, Key: number, Limit: 10},
	} {
		page, err := b.Store.Suppressions(t.Context(), q)
		if err != nil || len(page.Suppressions) != 1 || page.HasMore {
			t.Errorf("%+v: %+v, %v", q, page, err)
		}
	}
	if page, err := b.Store.Suppressions(t.Context(), contact.SuppressionQuery{Account: uuid.New(), Limit: 10}); err != nil ||
		len(page.Suppressions) != 0 {
		t.Errorf("another account sees %+v, %v", page, err)
	}
	_, err := b.Store.Suppressions(t.Context(), contact.SuppressionQuery{Account: b.account, Limit: 1, After: "nonsense"})
	if contact.CodeOf(err) != contact.CodeValidationFailed {
		t.Errorf("bad cursor: %v", err)
	}
	a := contact.Address{Account: b.account, Channel: contact.SMSChannel, Key: number}
	s, err := b.Store.Suppression(t.Context(), a)
	if err != nil || s.Event != stop.ID || !s.Since.Equal(stop.AcceptedAt.Truncate(time.Microsecond)) {
		t.Errorf("%+v, %v", s, err)
	}
	a.Key = "+1"
	if _, err := b.Store.Suppression(t.Context(), a); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("unknown address: %v", err)
	}
}

func TestEventIsRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.holder()
	stop := b.event(contact.OptOut, at(b.clock.Truncate(time.Microsecond)), func(e *contact.Event) {
		e.Endpoint, e.Contact, e.Ambiguous, e.WholeSeconds, e.Type = uuid.New(), uuid.New(), true, true, "STOP"
		e.ProviderID, e.Actor, e.Reason = "SM1", "key", "keyword_stop"
	})
	b.hear(stop)
	r, err := b.Store.EventByID(t.Context(), b.account, stop.ID)
	if err != nil {
		t.Fatal(err)
	}
	same := cmp.Transformer("json", compact)
	if diff := cmp.Diff(*stop.Event, r.Event, cmpopts.EquateApproxTime(time.Microsecond), same); diff != "" {
		t.Error(diff)
	}
	if r.Result != contact.ResultApplied || r.Contacts != 1 || !r.Done || r.AppliedAt.IsZero() {
		t.Errorf("%+v", r)
	}
	if _, err := b.Store.EventByID(t.Context(), uuid.New(), stop.ID); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("another account: %v", err)
	}
}

func TestReviews(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.holder()
	said := b.clock.Truncate(time.Microsecond)
	first, second := b.event(contact.Review, at(said)), b.event(contact.Review)
	b.hear(first, second)
	b.wantReason(id, "")
	pending := func() []uuid.UUID {
		var ids []uuid.UUID
		q := contact.ReviewQuery{Account: b.account, State: contact.ReviewPending, Limit: 1}
		for {
			page, err := b.Store.Reviews(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Reviews {
				ids = append(ids, r.ID)
			}
			if q.After = page.Next; !page.HasMore {
				return ids
			}
		}
	}
	if got := pending(); !slices.Equal(got, []uuid.UUID{second.ID, first.ID}) {
		t.Errorf("pending %v", got)
	}
	r, err := b.Store.Review(t.Context(), b.account, first.ID)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // deciding twice counts once
		accept := r.Accept("key-9")
		b.hear(b.event(contact.OptOut, func(e *contact.Event) { *e = accept; e.AcceptedAt = b.clock }))
	}
	b.wantReason(id, "keyword_stop")
	if c := b.contact(id); c.Version != 2 {
		t.Errorf("version %d", c.Version)
	}
	r, err = b.Store.Review(t.Context(), b.account, first.ID)
	if err != nil || r.State != contact.ReviewAccepted || r.DecidedBy != "key-9" || r.DecidedAt == nil {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = b.Store.DismissReview(t.Context(), b.account, second.ID, "key-9")
	if err != nil || r.State != contact.ReviewDismissed {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = b.Store.DismissReview(t.Context(), b.account, first.ID, "key-8"); err != nil || r.State != contact.ReviewAccepted {
		t.Errorf("an accepted review is %s, %v", r.State, err)
	}
	if got := pending(); len(got) != 0 {
		t.Errorf("pending %v", got)
	}
	if _, err := b.Store.DismissReview(t.Context(), uuid.New(), first.ID, ""); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("another account: %v", err)
	}
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	raw := []byte("\x00{\xff")
	set := b.event(contact.Quarantine, func(e *contact.Event) { e.Address, e.Evidence, e.Reason = "", raw, "malformed" })
	b.hear(set, b.event(contact.Quarantine))
	for _, q := range []contact.QuarantineQuery{{Account: b.account, Limit: 10}, {AllAccounts: true, Limit: 10}} {
		page, err := b.Store.Quarantined(t.Context(), q)
		if err != nil || len(page.Events) != 2 {
			t.Fatalf("%+v, %v", page, err)
		}
		if e := page.Events[1]; e.ID != set.ID || e.Reason != "malformed" || !bytes.Equal(e.Evidence, raw) {
			t.Errorf("%+v", e)
		}
	}
	page, err := b.Store.Quarantined(t.Context(), contact.QuarantineQuery{Account: b.account, Limit: 1})
	if err != nil || len(page.Events) != 1 || !page.HasMore {
		t.Fatalf("%+v, %v", page, err)
	}
	page, err = b.Store.Quarantined(t.Context(), contact.QuarantineQuery{Account: b.account, Limit: 1, After: page.Next})
	if err != nil || len(page.Events) != 1 || page.HasMore || page.Events[0].ID != set.ID {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	b := setup(t)
	start := time.Now().Add(-time.Minute)
	e := contact.Endpoint{
		ID: uuid.New(), Account: b.account, Provider: "ses", Secrets: []string{"a"}, TopicARN: "arn:1",
		Settings: []byte(`{"x": 1}`), CreatedAt: b.clock,
	}
	if err := b.Store.CreateEndpoint(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	read := func() contact.Endpoint {
		got, err := b.Store.Endpoint(t.Context(), e.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff(e, read(), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	changed, err := b.Store.ChangeEndpoint(t.Context(), b.account, e.ID, contact.EndpointChange{Secrets: []string{"b", "a"}})
	if err != nil || !slices.Equal(changed.Secrets, []string{"b", "a"}) || changed.TopicARN != "arn:1" {
		t.Errorf("%+v, %v", changed, err)
	}
	other := e
	other.ID, other.Account = uuid.New(), uuid.New()
	if err := b.Store.CreateEndpoint(t.Context(), other); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("unknown account: %v", err)
	}
	if _, err := b.Store.ChangeEndpoint(t.Context(), uuid.New(), e.ID, contact.EndpointChange{}); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("another account: %v", err)
	}
	other.Account = b.account
	if err := b.Store.CreateEndpoint(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	list, next, err := b.Store.Endpoints(t.Context(), b.account, 1, "")
	if err != nil || len(list) != 1 || next == "" {
		t.Fatalf("%+v, %q, %v", list, next, err)
	}
	if list, next, err = b.Store.Endpoints(t.Context(), b.account, 1, next); err != nil || len(list) != 1 || next != "" {
		t.Errorf("%+v, %q, %v", list, next, err)
	}
	if gone, err := b.Store.DeleteEndpoint(t.Context(), b.account, e.ID); err != nil || gone.DeletedAt == nil {
		t.Errorf("%+v, %v", gone, err)
	}
	if _, err := b.Store.DeleteEndpoint(t.Context(), b.account, e.ID); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("deleted twice: %v", err)
	}
	if read().DeletedAt == nil {
		t.Error("a deleted endpoint must say so")
	}
	if list, err := b.Store.EndpointsChangedSince(t.Context(), start); err != nil || len(list) != 2 || list[1].ID != e.ID {
		t.Errorf("%+v, %v", list, err)
	}
}
