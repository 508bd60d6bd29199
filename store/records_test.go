package store_test

import (
	"crypto/sha256"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// failed makes a failed write and returns its entry.
func (b *bundle) failed() contact.Entry {
	b.t.Helper()
	e := b.note(uuid.New(), "lost")
	if o := b.mustApply(e)[0]; o.State != contact.Failed {
		b.t.Fatalf("outcome %+v", o)
	}
	return e
}

func (b *bundle) state(id uuid.UUID) contact.Record {
	b.t.Helper()
	r, err := b.Store.Write(b.t.Context(), b.account, id)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func TestClaimRetry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e, newID := b.failed(), uuid.New()
	claim := func(id uuid.UUID) (contact.FailedWrite, error) {
		return b.Store.ClaimRetry(t.Context(), b.account, e.ID, id)
	}
	got, err := claim(newID)
	want := contact.FailedWrite{
		WriteRef: contact.WriteRef{Account: b.account, ID: e.ID}, Raw: e.Raw, AcceptedAt: e.AcceptedAt, RetryID: newID,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("%v\n%s", err, diff)
	}
	if r := b.state(e.ID); r.State != contact.Retried || r.RetriedAs != newID {
		t.Errorf("state %s as %s", r.State, r.RetriedAs)
	}
	// Another call at the same time is refused; the same call may repeat.
	if _, err := claim(uuid.New()); contact.CodeOf(err) != contact.CodeAlreadyRetried {
		t.Errorf("second call: %v", err)
	}
	if got, err := claim(newID); err != nil || got.RetryID != newID {
		t.Errorf("same call: %+v, %v", got, err)
	}
	if err := b.Store.Discard(t.Context(), b.account, e.ID); contact.CodeOf(err) != contact.CodeAlreadyRetried {
		t.Errorf("discard: %v", err)
	}
	// The call died before its append: a later one goes on with the same id.
	b.exec(`UPDATE failed_writes SET retry_at = retry_at - interval '1 minute'`)
	if got, err := claim(uuid.New()); err != nil || got.RetryID != newID {
		t.Errorf("after a crash: %+v, %v", got, err)
	}
	// Once the repeating write has an outcome, that is final.
	retry := b.note(uuid.New(), "lost")
	retry.ID, retry.RetryOf, retry.RetryAcceptedAt = newID, e.ID, e.AcceptedAt
	b.mustApply(retry)
	b.exec(`UPDATE failed_writes SET retry_at = retry_at - interval '1 minute'`)
	if _, err := claim(uuid.New()); contact.CodeOf(err) != contact.CodeAlreadyRetried {
		t.Errorf("after the retry: %v", err)
	}
	if r := b.state(newID); r.RetryOf != e.ID {
		t.Errorf("retry of %s", r.RetryOf)
	}
}

func TestClaimRetryManyAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.failed()
	var mu sync.Mutex
	won := map[uuid.UUID]int{}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			got, err := b.Store.ClaimRetry(t.Context(), b.account, e.ID, uuid.New())
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won[got.RetryID]++
			} else if contact.CodeOf(err) != contact.CodeAlreadyRetried {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d ids were claimed, want 1", len(won))
	}
}

func TestDiscard(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e, id := b.failed(), b.contactsNamed("Ada")[0]
	fine := b.mustApply(b.note(id, "x"))[0]
	for range 2 {
		if err := b.Store.Discard(t.Context(), b.account, e.ID); err != nil {
			t.Fatal(err)
		}
	}
	if r := b.state(e.ID); r.State != contact.Discarded {
		t.Errorf("state %s", r.State)
	}
	for name, err := range map[string]error{
		"discard what did not fail": b.Store.Discard(t.Context(), b.account, fine.WriteID),
		"retry what was discarded":  second(b.Store.ClaimRetry(t.Context(), b.account, e.ID, uuid.New())),
		"retry what did not fail":   second(b.Store.ClaimRetry(t.Context(), b.account, fine.WriteID, uuid.New())),
	} {
		if contact.CodeOf(err) != contact.CodeNotFailed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if a, err := b.Store.AccountOfFailed(t.Context(), e.ID); err != nil || a != b.account {
		t.Errorf("account %s: %v", a, err)
	}
	if _, err := b.Store.AccountOfFailed(t.Context(), uuid.New()); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("account of nothing: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestRetryLeavesChangedFieldsAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.contactsNamed("Ada", "Bob")
	b.mustApply(b.patch(ids[1], contact.Email, "x@b.example"))
	lost := b.entry(contact.KindPatch, ids[0], func(p *contact.Patch) {
		email, title, company := "x@b.example", "old title", "old company"
		p.SetText(contact.Email, &email)
		p.SetText(contact.JobTitle, &title)
		p.SetText(contact.CompanyName, &company)
	})
	b.mustApply(lost, b.patch(ids[0], contact.JobTitle, "new title"))
	b.mustApply(b.patch(ids[1], contact.Email, "other@b.example"))

	retry := func(force bool) contact.Outcome {
		e := lost
		again := b.note(ids[0], "")
		e.ID, e.Offset, e.AcceptedAt = again.ID, again.Offset, again.AcceptedAt
		e.RetryOf, e.RetryAcceptedAt, e.Force = lost.ID, lost.AcceptedAt, force
		return b.mustApply(e)[0]
	}
	o := retry(false)
	if o.State != contact.Applied || len(o.Skipped) != 1 || o.Skipped[0].Field != "job_title" {
		t.Errorf("outcome %+v", o)
	}
	c := b.contact(ids[0])
	if text(c, contact.JobTitle) != "new title" || text(c, contact.CompanyName) != "old company" ||
		text(c, contact.Email) != "x@b.example" {
		t.Errorf("contact %q %q", text(c, contact.JobTitle), text(c, contact.CompanyName))
	}
	if r := b.state(o.WriteID); len(r.Skipped) != 1 || r.Skipped[0] != o.Skipped[0] {
		t.Errorf("ledger skipped %+v", r.Skipped)
	}
	retry(true)
	if c := b.contact(ids[0]); text(c, contact.JobTitle) != "old title" {
		t.Errorf("forced retry left %q", text(c, contact.JobTitle))
	}
}

func TestAccountsAndKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	lock := true
	if a, err := b.Store.SetAccount(ctx, b.account, &lock); err != nil || !a.ConsentLock || a.Name != "Acme" {
		t.Errorf("set: %+v, %v", a, err)
	}
	if a, err := b.Store.Account(ctx, b.account); err != nil || !a.ConsentLock || a.CreatedAt.IsZero() {
		t.Errorf("read: %+v, %v", a, err)
	}
	if _, err := b.Store.SetAccount(ctx, uuid.New(), &lock); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("no account: %v", err)
	}
	since := time.Now().Add(-time.Minute)
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	k := contact.Key{
		ID: uuid.New(), Account: b.account, Hash: sha256.Sum256([]byte("it's ? a \\ secret")), Prefix: "pl_ab?c'",
		Dialect: "native", Scopes: []contact.Scope{contact.ContactsRead, contact.ContactsWrite},
		PerMinute: 5, PerDay: 100, ExpiresAt: &expires, CreatedAt: time.Now().UTC().Truncate(time.Microsecond),
	}
	if err := b.Store.CreateKey(ctx, k); err != nil {
		t.Fatal(err)
	}
	byHash, err := b.Store.Key(ctx, k.Hash)
	if diff := cmp.Diff(k, byHash); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if byID, err := b.Store.KeyByID(ctx, k.ID); err != nil || byID.Hash != k.Hash {
		t.Errorf("by id: %+v, %v", byID, err)
	}
	if _, err := b.Store.Key(ctx, [32]byte{1}); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("no key: %v", err)
	}
	at := time.Now().UTC().Truncate(time.Microsecond)
	for range 2 {
		revoked, err := b.Store.RevokeKey(ctx, k.ID, at)
		if err != nil || revoked.RevokedAt == nil || !revoked.RevokedAt.Equal(at) || revoked.Hash != k.Hash {
			t.Errorf("revoke: %+v, %v", revoked, err)
		}
	}
	changed, err := b.Store.KeysChangedSince(ctx, since)
	if err != nil || len(changed) != 1 || changed[0].Live(time.Now()) {
		t.Errorf("changed: %+v, %v", changed, err)
	}
	k.ID, k.Account, k.Hash = uuid.New(), uuid.New(), [32]byte{2}
	if err := b.Store.CreateKey(ctx, k); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("key of no account: %v", err)
	}
}
