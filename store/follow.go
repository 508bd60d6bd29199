package store

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// AccountsOfWrite returns the accounts in which the ledger has a write, for
// operators, who know its id alone. Write ids are looked up under their account,
// so it asks for each; entries that nobody can read are the nil account's.
func (s *Store) AccountsOfWrite(ctx context.Context, id uuid.UUID) ([]uuid.UUID, error) {
	return s.accountsOf(ctx, `SELECT a.id FROM accounts a JOIN writes w ON w.account_id = a.id AND w.id = $1
		UNION ALL SELECT w.account_id FROM writes w WHERE w.account_id = $2 AND w.id = $1`, id, uuid.Nil)
}

// AccountsOfContact returns the accounts that have a contact with this id.
func (s *Store) AccountsOfContact(ctx context.Context, id uuid.UUID) ([]uuid.UUID, error) {
	return s.accountsOf(ctx, `SELECT a.id FROM accounts a JOIN contacts c ON c.account_id = a.id AND c.id = $1`, id)
}

func (s *Store) accountsOf(ctx context.Context, sql string, args ...any) ([]uuid.UUID, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, sql, args...)
	if err != nil {
		return nil, readError("look for the account", err)
	}
	ids, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (id uuid.UUID, err error) {
		err = row.Scan(scanID(&id))
		return id, err
	})
	return ids, readError("look for the account", err)
}

// Undecided counts the reviews that wait for somebody, and what is in quarantine.
func (s *Store) Undecided(ctx context.Context) (reviews, quarantined int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = s.read.QueryRow(ctx, `SELECT (SELECT count(*) FROM optout_reviews WHERE state = $1), (SELECT count(*) FROM quarantine)`,
		string(contact.ReviewPending)).Scan(&reviews, &quarantined)
	return reviews, quarantined, readError("count reviews", err)
}
