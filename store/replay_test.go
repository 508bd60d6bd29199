package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// retryOf makes the entry that repeats a failed one.
func (b *bundle) retryOf(lost contact.Entry, force bool) contact.Entry {
	b.t.Helper()
	again, e := b.note(lost.Contact, ""), lost
	e.ID, e.Offset, e.AcceptedAt = again.ID, again.Offset, again.AcceptedAt
	e.RetryOf, e.RetryAcceptedAt, e.Force = lost.ID, lost.AcceptedAt, force
	if !lost.RetryAcceptedAt.IsZero() {
		e.RetryAcceptedAt = lost.RetryAcceptedAt
	}
	e.Raw = contact.Encode(&e.Write)
	return e
}

// titled makes an entry that fails, since the address is taken, and would set a
// title and append to the notes.
func (b *bundle) titled(id uuid.UUID, title string) contact.Entry {
	b.t.Helper()
	return b.entry(contact.KindPatch, id, func(p *contact.Patch) {
		email := "taken@b.example"
		p.SetText(contact.Email, &email)
		p.SetText(contact.JobTitle, &title)
		p.NotesAppend = &title
	})
}

// taken returns two contacts of which the second has the address that titled
// writes want, and a function that frees it.
func (b *bundle) taken() (id uuid.UUID, free func()) {
	b.t.Helper()
	ids := b.contactsNamed("Ada", "Bob")
	b.mustApply(b.patch(ids[1], contact.Email, "taken@b.example"))
	return ids[0], func() { b.mustApply(b.patch(ids[1], contact.Email, "other@b.example")) }
}

func TestRetriesOfOneContactKeepTheirOrder(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(first, second contact.Entry) []contact.Entry{
		"in their order": func(first, second contact.Entry) []contact.Entry { return []contact.Entry{first, second} },
		"the other way":  func(first, second contact.Entry) []contact.Entry { return []contact.Entry{second, first} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			id, free := b.taken()
			first, second := b.titled(id, "first"), b.titled(id, "second")
			b.mustApply(first, second)
			free()
			for _, e := range again(first, second) {
				if o := b.mustApply(b.retryOf(e, false))[0]; o.State == contact.Failed {
					t.Fatalf("retry failed: %+v", o)
				}
			}
			// The second was accepted last, so it stands, whichever was retried last.
			if c := b.contact(id); text(c, contact.JobTitle) != "second" {
				t.Errorf("title %q", text(c, contact.JobTitle))
			}
			want := "first\nsecond"
			if name != "in their order" {
				want = "second" // The first would be appended behind a newer one.
			}
			if got := text(b.contact(id), contact.Notes); got != want {
				t.Errorf("notes %q, want %q", got, want)
			}
		})
	}
}

// A retry that failed again has the place of the first of its chain.
func TestRetriesOfRetriesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, free := b.taken()
	first, second := b.titled(id, "first"), b.titled(id, "second")
	b.mustApply(first, second)
	again := b.retryOf(first, false)
	if _, err := b.Store.ClaimRetry(t.Context(), b.account, first.ID, again.ID); err != nil {
		t.Fatal(err)
	}
	if o := b.mustApply(again)[0]; o.Code != contact.CodeDuplicate {
		t.Fatalf("retry: %+v", o)
	}
	if err := b.Store.RetriesSent(t.Context(), []contact.WriteRef{{Account: b.account, ID: first.ID}}); err != nil {
		t.Fatal(err)
	}
	free()
	failures, err := b.Store.Failures(t.Context(), contact.FailureQuery{Account: b.account, Limit: 10})
	if err != nil || len(failures) != 2 || failures[0].ID != again.ID || failures[1].ID != second.ID {
		t.Fatalf("%+v, %v", failures, err)
	}
	if !failures[0].Origin.Equal(first.AcceptedAt) {
		t.Errorf("origin %s, want %s", failures[0].Origin, first.AcceptedAt)
	}
	b.mustApply(b.retryOf(again, false))
	b.mustApply(b.retryOf(second, false))
	if got := text(b.contact(id), contact.Notes); got != "first\nsecond" {
		t.Errorf("notes %q", got)
	}
}

func TestFailuresPagesAndFilters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, _ := b.taken()
	want := make([]uuid.UUID, 0, 5)
	for range 5 {
		e := b.titled(id, "x")
		b.mustApply(e)
		want = append(want, e.ID)
	}
	other := b.failed() // not_found, of another contact
	ctx := t.Context()
	var got []uuid.UUID
	q := contact.FailureQuery{AllAccounts: true, Code: contact.CodeDuplicate, Limit: 2}
	for {
		page, err := b.Store.Failures(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, f := range page {
			got = append(got, f.ID)
		}
		place := page[len(page)-1].Place()
		q.After = &place
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	for name, tt := range map[string]struct {
		q    contact.FailureQuery
		want int
	}{
		"the account":     {contact.FailureQuery{Account: b.account}, 6},
		"another account": {contact.FailureQuery{Account: uuid.New()}, 0},
		"the contact":     {contact.FailureQuery{Account: b.account, Contact: other.Contact}, 1},
		"since":           {contact.FailureQuery{Account: b.account, Since: time.Now().Add(time.Hour)}, 0},
		"until":           {contact.FailureQuery{Account: b.account, Until: time.Now().Add(time.Hour)}, 6},
		"no such code":    {contact.FailureQuery{Account: b.account, Code: "a\x00b"}, 0},
	} {
		tt.q.Limit = 100
		page, err := b.Store.Failures(ctx, tt.q)
		if err != nil || len(page) != tt.want {
			t.Errorf("%s: %d, %v, want %d", name, len(page), err, tt.want)
		}
	}
	counts, err := b.Store.FailureCounts(ctx, contact.FailureQuery{AllAccounts: true})
	if err != nil || len(counts) != 2 || counts[0].Code != contact.CodeDuplicate || counts[0].Count != 5 || counts[1].Count != 1 {
		t.Errorf("counts %+v, %v", counts, err)
	}
}

func TestClaimRetriesLeavesOutWhatIsNotFree(t *testing.T) {
	t.Parallel()
	b := setup(t)
	free, claimed, discarded := b.failed(), b.failed(), b.failed()
	ctx := t.Context()
	if _, err := b.Store.ClaimRetry(ctx, b.account, claimed.ID, uuid.New()); err != nil {
		t.Fatal(err)
	}
	if err := b.Store.Discard(ctx, b.account, discarded.ID); err != nil {
		t.Fatal(err)
	}
	claims := make([]contact.RetryClaim, 0, 4)
	for _, id := range []uuid.UUID{discarded.ID, claimed.ID, free.ID, uuid.New()} {
		claims = append(claims, contact.RetryClaim{
			WriteRef: contact.WriteRef{Account: b.account, ID: id}, NewID: uuid.New(),
		})
	}
	got, err := b.Store.ClaimRetries(ctx, claims)
	if err != nil || len(got) != 1 || got[0].ID != free.ID || got[0].RetryID != claims[2].NewID || string(got[0].Raw) != string(free.Raw) {
		t.Fatalf("claimed %+v, %v", got, err)
	}
	// Claimed and not sent is open; sent is not.
	open := func() (ids []uuid.UUID) {
		page, err := b.Store.Failures(ctx, contact.FailureQuery{AllAccounts: true, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range page {
			if !f.Claimed {
				t.Errorf("%s is not claimed", f.ID)
			}
			ids = append(ids, f.ID)
		}
		return ids
	}
	if got := open(); !slices.Equal(got, []uuid.UUID{free.ID, claimed.ID}) {
		t.Errorf("open %v", got)
	}
	if err := b.Store.RetriesSent(ctx, []contact.WriteRef{{Account: b.account, ID: free.ID}}); err != nil {
		t.Fatal(err)
	}
	if got := open(); !slices.Equal(got, []uuid.UUID{claimed.ID}) {
		t.Errorf("open %v", got)
	}
}

// A preview says exactly what the retries then do, in whatever order it is asked.
func TestPreviewIsWhatHappens(t *testing.T) {
	t.Parallel()
	for _, force := range []bool{false, true} {
		b := setup(t)
		id, free := b.taken()
		first, second := b.titled(id, "first"), b.titled(id, "second")
		gone := b.failed()
		b.mustApply(first, second, b.patch(id, contact.JobTitle, "newer"))
		free()
		refs := make([]contact.WriteRef, 0, 3)
		for _, e := range []contact.Entry{second, gone, first} {
			refs = append(refs, contact.WriteRef{Account: b.account, ID: e.ID})
		}
		before := b.contact(id)
		previews, err := b.Store.PreviewRetries(t.Context(), refs, force)
		if err != nil || len(previews) != 3 {
			t.Fatalf("%+v, %v", previews, err)
		}
		if after := b.contact(id); after.Version != before.Version {
			t.Error("the preview changed the contact")
		}
		for i, e := range []contact.Entry{first, second, gone} {
			want, got := b.mustApply(b.retryOf(e, force))[0], previews[i].Outcome
			if previews[i].ID != e.ID || got.State != want.State || got.Code != want.Code ||
				len(got.Skipped) != len(want.Skipped) || len(got.Changes) != len(want.Changes) {
				t.Errorf("force %t, write %d: preview %+v, outcome %+v", force, i, got, want)
				continue
			}
			for n := range want.Changes {
				if w, g := want.Changes[n], got.Changes[n]; w.Field != g.Field || string(w.Old) != string(g.Old) || string(w.New) != string(g.New) {
					t.Errorf("change %+v, want %+v", g, w)
				}
			}
		}
	}
}

func TestPreviewRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	unreadable, nul, fine := b.note(id, "x"), b.patch(id, contact.ExternalID, "a\x00b"), b.failed()
	cause := &contact.DataError{Code: contact.CodeDataError}
	unreadable.Raw, unreadable.Poison = unreadable.Raw[:60], cause
	for _, e := range []contact.Entry{unreadable, nul} {
		if _, err := b.Store.Fail(t.Context(), lane0, e, cause); err != nil {
			t.Fatal(err)
		}
	}
	refs := make([]contact.WriteRef, 0, 4)
	for _, e := range []contact.Entry{unreadable, nul, fine, b.note(id, "never failed")} {
		refs = append(refs, contact.WriteRef{Account: b.account, ID: e.ID})
	}
	previews, err := b.Store.PreviewRetries(t.Context(), refs, false)
	if err != nil {
		t.Fatal(err)
	}
	refused := map[uuid.UUID]string{}
	for _, p := range previews {
		refused[p.ID] = p.Refused
	}
	want := map[uuid.UUID]string{
		unreadable.ID: "It cannot be read.", nul.ID: "It cannot be read.", fine.ID: "",
	}
	for id, why := range want {
		if got, found := refused[id]; !found || got != why {
			t.Errorf("refused %q (found %t), want %q", got, found, why)
		}
	}
	if len(refused) != len(want) {
		t.Errorf("%d previews", len(refused))
	}
}

func TestDiscardManyLeavesWhatIsRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	free, claimed := b.failed(), b.failed()
	ctx := t.Context()
	if _, err := b.Store.ClaimRetry(ctx, b.account, claimed.ID, uuid.New()); err != nil {
		t.Fatal(err)
	}
	refs := []contact.WriteRef{{Account: b.account, ID: free.ID}, {Account: b.account, ID: claimed.ID}}
	for _, want := range []int{1, 0} {
		if n, err := b.Store.DiscardMany(ctx, refs); err != nil || n != want {
			t.Errorf("discarded %d, %v, want %d", n, err, want)
		}
	}
	if r := b.state(free.ID); r.State != contact.Discarded {
		t.Errorf("state %s", r.State)
	}
	if r := b.state(claimed.ID); r.State != contact.Retried {
		t.Errorf("state %s", r.State)
	}
}

func TestOperatorLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	for i := range 3 {
		err := b.Store.LogOperator(ctx, contact.OperatorAction{
			Operator: "Ada\x00", Via: "console", Action: "pause", Account: b.account, Target: strings.Repeat("x", 300), Detail: fmt.Sprint(i),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	page, next, err := b.Store.OperatorLog(ctx, 2, "")
	if err != nil || len(page) != 2 || next == "" || page[0].Detail != "2" || page[0].Operator != "Ada" || page[0].Account != b.account {
		t.Fatalf("%+v, %q, %v", page, next, err)
	}
	page, next, err = b.Store.OperatorLog(ctx, 2, next)
	if err != nil || len(page) != 1 || next != "" || page[0].Detail != "0" {
		t.Errorf("%+v, %q, %v", page, next, err)
	}
	if _, _, err := b.Store.OperatorLog(ctx, 2, "none"); contact.CodeOf(err) != contact.CodeValidationFailed {
		t.Errorf("bad cursor: %v", err)
	}
}

// Entries that stood aside while their account was paused come after newer ones
// of the lane: the ledger decides what is known, and the offset does not go back.
func TestApplyBehindTheOffset(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.contactsNamed("Ada", "Bob")
	aside := []contact.Entry{b.note(ids[0], "1"), b.note(ids[0], "2"), b.patch(ids[0], contact.Email, "ada@b.example")}
	newer := b.note(ids[1], "newer")
	b.mustApply(newer)
	for range 2 {
		b.mustApply(aside[:2]...)
		b.mustApply(aside[2])
	}
	if got := text(b.contact(ids[0]), contact.Notes); got != "1\n2" {
		t.Errorf("notes %q", got)
	}
	offsets, err := b.Store.Offsets(t.Context())
	if err != nil || offsets[lane0] != newer.Offset {
		t.Errorf("offset %s, want %s: %v", offsets[lane0], newer.Offset, err)
	}
}

func TestFollowByIDAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, lost := b.contactsNamed("Ada")[0], b.failed()
	ctx := t.Context()
	for name, c := range map[string]struct {
		look func(context.Context, uuid.UUID) ([]uuid.UUID, error)
		id   uuid.UUID
		want []uuid.UUID
	}{
		"write":        {b.Store.AccountsOfWrite, lost.ID, []uuid.UUID{b.account}},
		"no write":     {b.Store.AccountsOfWrite, uuid.New(), nil},
		"contact":      {b.Store.AccountsOfContact, id, []uuid.UUID{b.account}},
		"lost contact": {b.Store.AccountsOfContact, lost.Contact, nil},
	} {
		if got, err := c.look(ctx, c.id); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
	}
	if page, err := b.Store.Failures(ctx, contact.FailureQuery{AllAccounts: true, IDs: []uuid.UUID{lost.ID}, Limit: 9}); err != nil || len(page) != 1 {
		t.Errorf("by id: %+v, %v", page, err)
	}
	if page, err := b.Store.Failures(ctx, contact.FailureQuery{AllAccounts: true, IDs: []uuid.UUID{}, Limit: 9}); err != nil || len(page) != 0 {
		t.Errorf("by no id: %+v, %v", page, err)
	}
}
