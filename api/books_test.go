package api

import (
	"cmp"
	"context"
	"sync"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// books is Postgres' copy of the balances.
type books struct {
	mu   sync.Mutex
	rows map[uuid.UUID]contact.Balance
	away error
}

func (b *books) Balance(_ context.Context, account uuid.UUID) (contact.Balance, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if row, found := b.rows[account]; found && b.away == nil {
		return row, nil
	}
	return contact.Balance{}, cmp.Or(b.away, missing())
}

func (b *books) Balances(context.Context) ([]contact.Balance, error) { return nil, b.away }

func (b *books) CopyBalances(context.Context, []contact.Balance) error { return b.away }

// freely is a limiter of keys without limits, of accounts without credits.
type freely struct{}

func (freely) Take(_ context.Context, t *contact.Toll) (contact.Grant, error) {
	return contact.Grant{Allowed: t.Units, Paid: t.Units, Credits: contact.Unmetered}, nil
}

func (freely) Settle(context.Context, uuid.UUID, []uuid.UUID) {}

func (freely) Release(context.Context, uuid.UUID, []uuid.UUID) (int64, error) {
	return contact.Unmetered, nil
}

func (freely) LastKnown(context.Context, uuid.UUID) int64 { return contact.Unmetered }
