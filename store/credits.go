package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"patchlane/tasks/contact"
)

// creditRow is the copy of an account's balance.
type creditRow struct {
	bun.BaseModel `bun:"table:credits"`

	AccountID uuid.UUID `bun:"account_id,pk,type:uuid"`
	Balance   int64     `bun:"balance"`
	Epoch     int64     `bun:"epoch"`
	Seq       int64     `bun:"seq"`
	ChangedAt time.Time `bun:"changed_at,nullzero,default:now()"`
}

func (r *creditRow) balance() contact.Balance {
	return contact.Balance{Account: r.AccountID, Left: r.Balance, Epoch: r.Epoch, Seq: r.Seq}
}

// SetCredits gives an account a number of credits in place of what it has. The
// answer has to reach Redis to be in force.
func (s *Store) SetCredits(ctx context.Context, account uuid.UUID, n int64) (contact.Balance, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	row := creditRow{AccountID: account, Balance: n, Epoch: time.Now().UnixMicro()}
	_, err := s.records.NewInsert().Model(&row).
		On("CONFLICT (account_id) DO UPDATE").
		Set("balance = excluded.balance, seq = 0, changed_at = now()").
		Set("epoch = greatest(credit_row.epoch + 1, excluded.epoch)").
		Returning("*").Exec(ctx)
	if sqlState(err) == stateForeignKey {
		return contact.Balance{}, &contact.Error{Code: contact.CodeNotFound, Message: "there is no such account", Err: err}
	}
	if err != nil {
		return contact.Balance{}, readError("set credits", err)
	}
	return row.balance(), nil
}

// Balance returns the copy of an account's balance, or not_found when it was
// never given credits.
func (s *Store) Balance(ctx context.Context, account uuid.UUID) (contact.Balance, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	row := creditRow{AccountID: account}
	if err := s.records.NewSelect().Model(&row).WherePK().Scan(ctx); err != nil {
		return contact.Balance{}, readError("read credits", err)
	}
	return row.balance(), nil
}

// Balances returns the copies of all balances.
func (s *Store) Balances(ctx context.Context) ([]contact.Balance, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var rows []creditRow
	if err := s.records.NewSelect().Model(&rows).Order("account_id").Scan(ctx); err != nil {
		return nil, readError("list credits", err)
	}
	balances := make([]contact.Balance, len(rows))
	for i := range rows {
		balances[i] = rows[i].balance()
	}
	return balances, nil
}

// CopyBalances stores balances of Redis. One that is older than the stored one,
// or of credits that were replaced since, is left out.
func (s *Store) CopyBalances(ctx context.Context, balances []contact.Balance) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	problems := make([]error, 0, len(balances))
	for _, b := range balances {
		_, err := s.records.NewUpdate().Model((*creditRow)(nil)).
			Set("balance = ?, seq = ?, changed_at = now()", b.Left, b.Seq).
			Where("account_id = ? AND epoch = ? AND seq < ?", b.Account, b.Epoch, b.Seq).Exec(ctx)
		problems = append(problems, err)
	}
	return readError("copy credits", errors.Join(problems...))
}
