package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// What changed a contact after a failed write of it was accepted. The change of a
// retry counts at the moment at which the write that it repeats was accepted: of
// two failed writes that are retried one after the other, neither is newer than
// the other for having been retried later.
//
// The bounds on the id let Postgres leave older partitions alone; they allow for
// a client's clock that is a day behind.
const changedSinceSQL = `SELECT DISTINCT k.n, c.change ->> 'field'
	FROM unnest($1::integer[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::uuid[])
		AS k (n, account_id, contact_id, since, floor)
	JOIN writes w ON w.contact_id = k.contact_id AND w.account_id = k.account_id AND w.id >= k.floor
	LEFT JOIN failed_writes f ON f.account_id = w.account_id AND f.id = w.retry_of
	CROSS JOIN LATERAL jsonb_array_elements(w.changes) AS c (change)
	WHERE w.id >= $6 AND coalesce(f.origin_at, f.accepted_at, w.accepted_at) > k.since
	UNION
	-- The ledger does not reach back that far and the contact changed since: it may
	-- have been any field.
	SELECT k.n, '*'
	FROM unnest($1::integer[], $2::uuid[], $3::uuid[], $4::timestamptz[]) AS k (n, account_id, contact_id, since)
	JOIN meta m ON m.writes_kept_from > k.since
	JOIN contacts c ON c.account_id = k.account_id AND c.id = k.contact_id AND c.updated_at > k.since`

// clockSlack is how far the clock that minted an id may be behind that of Redis.
const clockSlack = 24 * time.Hour

// readChangedSince asks what was changed since the failed writes were accepted
// that entries of the batch repeat without force.
func (t *laneTx) readChangedSince(ctx context.Context, b *batch) error {
	ctx, cancel := withDeadline(ctx, stepRead, stepTimeout)
	defer cancel()
	changed, err := changedSince(ctx, t.tx, b.work)
	if err != nil {
		return stepError(ctx, "read changes since", err)
	}
	b.changed = changed
	return nil
}

// querier is a connection, a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// changedSince returns, by the id of the retry, the fields that were changed
// since; nil when no entry is a retry without force.
func changedSince(ctx context.Context, q querier, entries []contact.Entry) (map[uuid.UUID]map[string]bool, error) {
	var at []int32
	var accounts, contacts, floors idColumn
	var since []time.Time
	lowest := uuid.Max
	changed := map[uuid.UUID]map[string]bool{}
	for i := range entries {
		w := &entries[i].Write
		if w.RetryOf == uuid.Nil || w.Force {
			continue
		}
		from := held(w.RetryAcceptedAt)
		floor := floorID(from.Add(-clockSlack))
		if floor.String() < lowest.String() {
			lowest = floor
		}
		at, since, floors = append(at, int32(i)), append(since, from), append(floors, idValue(floor))
		accounts, contacts = append(accounts, idValue(w.Account)), append(contacts, idValue(w.Contact))
		changed[w.ID] = map[string]bool{}
	}
	if len(at) == 0 {
		return nil, nil
	}
	rows, err := q.Query(ctx, changedSinceSQL, at, accounts, contacts, since, floors, lowest)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	var n int32
	var field string
	_, err = pgx.ForEachRow(rows, []any{&n, &field}, func() error {
		changed[entries[n].ID][field] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	return changed, nil
}

// originOf is when the write was accepted that an entry is or, through any
// number of retries, repeats.
func originOf(w *contact.Write) time.Time {
	if w.RetryAcceptedAt.IsZero() {
		return w.AcceptedAt
	}
	return held(w.RetryAcceptedAt)
}

// held keeps a moment out of a stream within what Postgres holds.
func held(t time.Time) time.Time {
	switch y := t.Year(); {
	case y < 1:
		return time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	case y > 9999:
		return time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	default:
		return t
	}
}
