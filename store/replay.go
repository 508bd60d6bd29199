package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

const (
	// originSQL is when a failed write was accepted first; an index has it.
	originSQL = `coalesce(f.origin_at, f.accepted_at)`

	// openSQL is the condition of the index on what is open.
	openSQL = `f.discarded_at IS NULL AND NOT f.retry_sent`

	failureColumns = `f.account_id, f.id, f.contact_id, w.kind, f.code, coalesce(w.message, ''), ` +
		originSQL + `, f.failed_at, f.retry_id IS NOT NULL`

	claimRetriesSQL = `WITH free AS (
			SELECT f.account_id, f.id, k.new_id
			FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS k (account_id, id, new_id)
			JOIN failed_writes f ON f.account_id = k.account_id AND f.id = k.id
			WHERE f.retry_id IS NULL AND f.discarded_at IS NULL
			ORDER BY f.account_id, f.id
			FOR UPDATE OF f
		)
		UPDATE failed_writes f SET retry_id = free.new_id, retry_at = clock_timestamp()
		FROM free WHERE f.account_id = free.account_id AND f.id = free.id AND f.retry_id IS NULL
		RETURNING f.account_id, f.id, f.payload, f.accepted_at, f.retry_id`

	discardManySQL = `WITH free AS (
			SELECT f.account_id, f.id
			FROM unnest($1::uuid[], $2::uuid[]) AS k (account_id, id)
			JOIN failed_writes f ON f.account_id = k.account_id AND f.id = k.id
			WHERE f.retry_id IS NULL AND f.discarded_at IS NULL
			ORDER BY f.account_id, f.id
			FOR UPDATE OF f
		)
		UPDATE failed_writes f SET discarded_at = now()
		FROM free WHERE f.account_id = free.account_id AND f.id = free.id`

	retriesSentSQL = `UPDATE failed_writes f SET retry_sent = true
		FROM unnest($1::uuid[], $2::uuid[]) AS k (account_id, id)
		WHERE f.account_id = k.account_id AND f.id = k.id AND f.retry_id IS NOT NULL`
)

// Failures returns the next open failures in the order of retries. Those that a
// retry has claimed and not sent are among them.
func (s *Store) Failures(ctx context.Context, q contact.FailureQuery) ([]contact.Failure, error) {
	where := failureConditions(q)
	if where == nil {
		return nil, nil
	}
	if q.After != nil {
		where.add(`(`+originSQL+`, f.id) > (?, ?)`, q.After.Origin, q.After.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, `SELECT `+failureColumns+` FROM `+failedJoin+` WHERE `+where.text()+
		` ORDER BY `+originSQL+`, f.id LIMIT `+where.place(q.Limit), where.args...)
	if err != nil {
		return nil, readError("list failures", err)
	}
	list, err := pgx.CollectRows(rows, scanFailure)
	return list, readError("list failures", err)
}

// FailureCounts counts the open failures by their code, the most frequent first.
func (s *Store) FailureCounts(ctx context.Context, q contact.FailureQuery) ([]contact.FailureCount, error) {
	where := failureConditions(q)
	if where == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, `SELECT f.code, count(*), min(`+originSQL+`), max(`+originSQL+`)
		FROM failed_writes f WHERE `+where.text()+` GROUP BY f.code ORDER BY 2 DESC, 1`, where.args...)
	if err != nil {
		return nil, readError("count failures", err)
	}
	counts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c contact.FailureCount, err error) {
		err = row.Scan((*string)(&c.Code), &c.Count, &c.Oldest, &c.Newest)
		c.Oldest, c.Newest = c.Oldest.UTC(), c.Newest.UTC()
		return c, err
	})
	return counts, readError("count failures", err)
}

// failureConditions are the terms of a query; nil: nothing can match.
func failureConditions(q contact.FailureQuery) *conditions {
	if code := string(q.Code); !storable(&code) {
		return nil
	}
	where := newConditions()
	where.addText(openSQL)
	if !q.AllAccounts {
		where.add(`f.account_id = ?`, q.Account)
	}
	if q.Contact != uuid.Nil {
		where.add(`f.contact_id = ?`, q.Contact)
	}
	if q.IDs != nil {
		ids := make(idColumn, len(q.IDs))
		for i, id := range q.IDs {
			ids[i] = idValue(id)
		}
		where.add(`f.id = ANY (?::uuid[])`, ids)
	}
	if q.Code != "" {
		where.add(`f.code = ?`, string(q.Code))
	}
	if !q.Since.IsZero() {
		where.add(`f.failed_at >= ?`, q.Since)
	}
	if !q.Until.IsZero() {
		where.add(`f.failed_at < ?`, q.Until)
	}
	return where
}

func scanFailure(row pgx.CollectableRow) (f contact.Failure, err error) {
	var kind string
	err = row.Scan(scanID(&f.Account), scanID(&f.ID), scanID(&f.Contact), &kind, (*string)(&f.Code), &f.Message,
		&f.Origin, &f.FailedAt, &f.Claimed)
	if err != nil {
		return f, fmt.Errorf("scan failure: %w", err)
	}
	f.Kind, f.Origin, f.FailedAt = kindOf(kind), f.Origin.UTC(), f.FailedAt.UTC()
	return f, nil
}

// ClaimRetries is ClaimRetry for many writes in one statement. It returns those
// that nobody had claimed or discarded before, in the order of the claims; the
// others are left as they are.
func (s *Store) ClaimRetries(ctx context.Context, claims []contact.RetryClaim) ([]contact.FailedWrite, error) {
	accounts, ids, newIDs := make(idColumn, len(claims)), make(idColumn, len(claims)), make(idColumn, len(claims))
	for i, c := range claims {
		accounts[i], ids[i], newIDs[i] = idValue(c.Account), idValue(c.ID), idValue(c.NewID)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, claimRetriesSQL, accounts, ids, newIDs)
	if err != nil {
		return nil, readError("claim retries", err)
	}
	claimed := make(map[contact.WriteRef]contact.FailedWrite, len(claims))
	var f contact.FailedWrite
	_, err = pgx.ForEachRow(rows, []any{
		scanID(&f.Account), scanID(&f.ID), &f.Raw, &f.AcceptedAt, scanID(&f.RetryID),
	}, func() error {
		f.AcceptedAt = f.AcceptedAt.UTC()
		claimed[f.WriteRef] = f
		f.Raw = nil
		return nil
	})
	if err != nil {
		return nil, readError("claim retries", err)
	}
	list := make([]contact.FailedWrite, 0, len(claimed))
	for _, c := range claims {
		if f, ok := claimed[c.WriteRef]; ok {
			list = append(list, f)
		}
	}
	return list, nil
}

// DiscardMany gives failed writes up, and returns how many: those that a retry has
// claimed are left, and those that were discarded before are not counted.
func (s *Store) DiscardMany(ctx context.Context, failed []contact.WriteRef) (int, error) {
	accounts, ids := make(idColumn, len(failed)), make(idColumn, len(failed))
	for i, ref := range failed {
		accounts[i], ids[i] = idValue(ref.Account), idValue(ref.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	tag, err := s.read.Exec(ctx, discardManySQL, accounts, ids)
	return int(tag.RowsAffected()), readError("discard writes", err)
}

// RetriesSent notes that the writes that repeat failed ones were appended. A
// retry without this note is open: the next replay looks at it again.
func (s *Store) RetriesSent(ctx context.Context, failed []contact.WriteRef) error {
	accounts, ids := make(idColumn, len(failed)), make(idColumn, len(failed))
	for i, ref := range failed {
		accounts[i], ids[i] = idValue(ref.Account), idValue(ref.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	_, err := s.read.Exec(ctx, retriesSentSQL, accounts, ids)
	return readError("note sent retries", err)
}
