package store_test

import (
	"testing"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

func TestCredits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	if _, err := b.Store.Balance(ctx, b.account); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("an account without credits: %v, want not_found", err)
	}
	if _, err := b.Store.SetCredits(ctx, uuid.New(), 5); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("no account: %v, want not_found", err)
	}
	first, err := b.Store.SetCredits(ctx, b.account, 10)
	if err != nil {
		t.Fatal(err)
	}
	stored := func() contact.Balance {
		t.Helper()
		got, err := b.Store.Balance(ctx, b.account)
		if err != nil {
			t.Fatal(err)
		}
		all, err := b.Store.Balances(ctx)
		if err != nil || len(all) != 1 || all[0] != got {
			t.Errorf("listed %v, %v; want %v", all, err, got)
		}
		return got
	}
	if got := stored(); got != first || got.Left != 10 || got.Seq != 0 {
		t.Errorf("stored %+v", got)
	}
	copied := func(b contact.Balance, seq, left int64) contact.Balance {
		b.Seq, b.Left = seq, left
		return b
	}
	keep := func(balances ...contact.Balance) {
		t.Helper()
		if err := b.Store.CopyBalances(ctx, balances); err != nil {
			t.Fatal(err)
		}
	}
	keep(copied(first, 7, 3))
	keep(copied(first, 6, 4)) // an older look that comes late
	if got := stored(); got != copied(first, 7, 3) {
		t.Errorf("stored %+v", got)
	}
	second, err := b.Store.SetCredits(ctx, b.account, 0)
	if err != nil || second.Epoch <= first.Epoch {
		t.Fatalf("second %+v, %v", second, err)
	}
	keep(copied(first, 9, 1)) // of the credits that were replaced
	if got := stored(); got != second || got.Left != 0 {
		t.Errorf("stored %+v, want %+v", got, second)
	}
}
