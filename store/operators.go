package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

const cursorOperators = 'o'

// LogOperator notes what an operator did. The store gives it its id and its time.
func (s *Store) LogOperator(ctx context.Context, a contact.OperatorAction) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("log operator: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	_, err = s.read.Exec(ctx, `INSERT INTO operator_log (id, operator, via, action, account_id, target, detail, problem)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		id, tidyText(a.Operator), tidyText(a.Via), tidyText(a.Action), idOrNull(a.Account),
		tidyText(a.Target), tidyText(a.Detail), tidyText(a.Problem))
	return readError("log operator", err)
}

// OperatorLog returns a page of what operators did, the newest first, and the
// cursor of the next page; empty: there is none.
func (s *Store) OperatorLog(ctx context.Context, limit int, after string) ([]contact.OperatorAction, string, error) {
	where := newConditions()
	if after != "" {
		var place uuid.UUID
		if err := readCursor(after, cursorOperators, &place, nil); err != nil {
			return nil, "", err
		}
		where.add(`id < ?`, place)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, `SELECT id, at, operator, via, action, account_id, target, detail, problem
		FROM operator_log WHERE `+where.text()+` ORDER BY id DESC LIMIT `+where.place(limit+1), where.args...)
	if err != nil {
		return nil, "", readError("read operators' log", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a contact.OperatorAction, err error) {
		var account *uuid.UUID
		err = row.Scan(scanID(&a.ID), &a.At, &a.Operator, &a.Via, &a.Action, &account, &a.Target, &a.Detail, &a.Problem)
		if account != nil {
			a.Account = *account
		}
		a.At = a.At.UTC()
		return a, err
	})
	if err != nil {
		return nil, "", readError("read operators' log", err)
	}
	if len(list) <= limit {
		return list, "", nil
	}
	return list[:limit], writeCursor(cursorOperators, list[limit-1].ID, 0), nil
}
