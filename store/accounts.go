package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"patchlane/tasks/contact"
)

// accountRow is the row of an account.
type accountRow struct {
	bun.BaseModel `bun:"table:accounts"`

	ID          uuid.UUID `bun:"id,pk,type:uuid"`
	Name        string    `bun:"name"`
	ConsentLock bool      `bun:"consent_lock"`
	CreatedAt   time.Time `bun:"created_at,nullzero,default:now()"`
}

func (r *accountRow) account() contact.Account {
	return contact.Account{
		ID: r.ID, Name: r.Name, ConsentLock: r.ConsentLock, CreatedAt: r.CreatedAt.UTC(),
	}
}

// CreateAccount makes an account with an id of its own.
func (s *Store) CreateAccount(ctx context.Context, name string) (contact.Account, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return contact.Account{}, fmt.Errorf("mint account id: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	row := accountRow{ID: id, Name: name}
	if _, err := s.records.NewInsert().Model(&row).Returning("?Columns").Exec(ctx); err != nil {
		return contact.Account{}, readError("create account", err)
	}
	return row.account(), nil
}

// Account returns an account, or not_found.
func (s *Store) Account(ctx context.Context, id uuid.UUID) (contact.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	row := accountRow{ID: id}
	if err := s.records.NewSelect().Model(&row).WherePK().Scan(ctx); err != nil {
		return contact.Account{}, readError("read account", err)
	}
	return row.account(), nil
}

// Accounts lists every account, the oldest first, for operators.
func (s *Store) Accounts(ctx context.Context) ([]contact.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var rows []accountRow
	if err := s.records.NewSelect().Model(&rows).Order("created_at", "id").Scan(ctx); err != nil {
		return nil, readError("list accounts", err)
	}
	accounts := make([]contact.Account, len(rows))
	for i := range rows {
		accounts[i] = rows[i].account()
	}
	return accounts, nil
}

// SetAccount changes what is not nil and returns the account as it is then.
func (s *Store) SetAccount(ctx context.Context, id uuid.UUID, consentLock *bool) (contact.Account, error) {
	if consentLock == nil {
		return s.Account(ctx, id)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	row := accountRow{ID: id, ConsentLock: *consentLock}
	err := s.records.NewUpdate().Model(&row).Column("consent_lock").WherePK().
		Returning("?Columns").Scan(ctx)
	if err != nil {
		return contact.Account{}, readError("set account", err)
	}
	return row.account(), nil
}
