package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Retention says how long data is kept; zero: for ever. Contacts, suppressions
// and failed writes that nobody settled are kept whatever it says.
type Retention struct {
	// Writes is the life of the ledger and audit log, at least MinRetain. Whole
	// months go, so rows live for up to a month longer.
	Writes time.Duration
	// Events is the life of events: what providers and clients reported about
	// addresses, quarantine and decided reviews. An event that a suppression
	// cites stays with it.
	Events time.Duration
}

// MinRetain is the shortest Retention: a replay, a retry and a client that asks
// for an outcome find the ledger long before.
const MinRetain = 7 * 24 * time.Hour

const (
	// pageRows is what one transaction of a clean-up looks at: some
	// hundredths of a second, in which only the rows that go are locked.
	pageRows = 2000
	// keptFailures is how many failed writes are put back into a partition while
	// it is held; with more of them its rows are deleted page by page.
	keptFailures = 1000

	raiseKeptSQL = `UPDATE meta SET writes_kept_from = $1 WHERE writes_kept_from IS NULL OR writes_kept_from < $1`

	// Partitions below a bound that have a row besides open failures.
	fullPartitionsSQL = `SELECT to_date(substr(c.relname, 8), 'YYYY_MM') FROM pg_inherits i
		JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'writes'::regclass AND c.relname ~ '^writes_\d{4}_\d{2}$'
			AND to_date(substr(c.relname, 8), 'YYYY_MM') < $1 ORDER BY 1`
	fullPartitionSQL = `SELECT EXISTS (SELECT FROM writes w
		WHERE w.id >= (writes_bounds($1)).lo AND w.id < (writes_bounds($1)).hi AND NOT (w.state = 'failed' AND EXISTS (
			SELECT FROM failed_writes f WHERE f.account_id = w.account_id AND f.id = w.id AND writes_open(f))))`

	// Failures that somebody settled before the bound, with their rows in the
	// ledger. Done before, so that writes_empty finds few.
	settledSQL = `WITH gone AS (
			SELECT g.account_id, g.id FROM failed_writes g
			WHERE g.id < $1 AND NOT writes_open(g) AND (g.discarded_at IS NOT NULL OR g.retry_id < $1)
			LIMIT $2 FOR UPDATE SKIP LOCKED),
		rows AS (DELETE FROM writes w USING gone WHERE w.account_id = gone.account_id AND w.id = gone.id AND w.id < $1)
		DELETE FROM failed_writes f USING gone WHERE f.account_id = gone.account_id AND f.id = gone.id`

	// A page of what is older than the bound, wherever it stands: $2, $3 is where
	// the page before ended.
	thinSQL = `WITH page AS (
			SELECT w.account_id, w.id FROM writes w WHERE w.id < $1 AND (w.account_id, w.id) > ($2, $3)
			ORDER BY w.account_id, w.id LIMIT $4),
		gone AS (DELETE FROM writes w USING page p WHERE w.account_id = p.account_id AND w.id = p.id AND w.id < $1
			AND NOT (w.state = 'failed' AND EXISTS (SELECT FROM failed_writes f
				WHERE f.account_id = w.account_id AND f.id = w.id AND writes_open(f)))
			RETURNING 1)
		SELECT p.account_id, p.id, (SELECT count(*) FROM gone), (SELECT count(*) FROM page)
		FROM page p ORDER BY 1 DESC, 2 DESC LIMIT 1`

	// The oldest done events of each account that nothing cites any more.
	oldEventsSQL = `WITH old AS (
			SELECT e.account_id, e.id FROM accounts a CROSS JOIN LATERAL (
				SELECT w.account_id, w.id FROM webhook_events w
				WHERE w.account_id = a.id AND w.id < $1 AND w.done
					AND NOT EXISTS (SELECT FROM suppressions s WHERE s.account_id = w.account_id
						AND s.channel = w.channel AND s.address = w.address AND w.id = ANY (s.events))
					AND NOT EXISTS (SELECT FROM optout_reviews r
						WHERE r.account_id = w.account_id AND r.id = w.id AND r.state = 'pending')
				ORDER BY w.id LIMIT $2) e LIMIT $2),
		reviews AS (DELETE FROM optout_reviews r USING old WHERE r.account_id = old.account_id AND r.id = old.id),
		unread AS (DELETE FROM quarantine q USING old WHERE q.account_id = old.account_id AND q.id = old.id)
		DELETE FROM webhook_events w USING old WHERE w.account_id = old.account_id AND w.id = old.id`

	oldLeftSQL = `DELETE FROM left_addresses l USING (
			SELECT ctid FROM left_addresses WHERE kept_since < now() - interval '7 days'
			ORDER BY kept_since LIMIT $1 FOR UPDATE SKIP LOCKED) old
		WHERE l.ctid = old.ctid`
)

// bound is the moment before which whole months are older than a life.
func (r Retention) bound(now time.Time) time.Time {
	at := now.UTC().Add(-r.Writes)
	return time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// trimWrites ends the ledger at a bound. The bound is committed first: from then
// on Apply takes an older entry that it does not find for one that was applied.
func (k *Keeper) trimWrites(ctx context.Context) error {
	from := k.retain.bound(time.Now())
	floor := idValue(floorID(from))
	if _, err := k.db.Exec(ctx, raiseKeptSQL, from); err != nil {
		return fmt.Errorf("raise the bound of the ledger: %w", err)
	}
	if err := k.pages(ctx, "failed_writes", settledSQL, floor, pageRows); err != nil {
		return err
	}
	rows, err := k.db.Query(ctx, fullPartitionsSQL, from)
	if err != nil {
		return fmt.Errorf("list old partitions: %w", err)
	}
	months, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return fmt.Errorf("list old partitions: %w", err)
	}
	for _, month := range months {
		if err := k.emptyMonth(ctx, month); err != nil {
			return err
		}
	}
	return k.thin(ctx, from)
}

// emptyMonth empties a partition as a whole, unless there is nothing to gain by
// it or so many failed writes wait in it that it has to be thinned out instead.
func (k *Keeper) emptyMonth(ctx context.Context, month time.Time) error {
	var full bool
	if err := k.db.QueryRow(ctx, fullPartitionSQL, month).Scan(&full); err != nil || !full {
		return wrap("look into partition", err)
	}
	var kept int
	err := k.patience.do(ctx, k.db, func(ctx context.Context, tx pgx.Tx) error {
		if err := k.patience.hurry(ctx, tx); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT writes_empty($1, $2)`, month, keptFailures).Scan(&kept); err != nil {
			return err
		}
		if kept < 0 {
			return errTooMany
		}
		return nil
	})
	name := month.Format("2006-01")
	switch {
	case kept < 0:
		k.logger.InfoContext(ctx, "partition is thinned out instead of emptied: many failed writes wait in it", "month", name)
		return nil
	case err != nil:
		return fmt.Errorf("empty partition of %s: %w", name, err)
	}
	k.metrics.emptied.Inc()
	k.logger.InfoContext(ctx, "partition emptied", "month", name, "failed_writes_kept", kept)
	return nil
}

// thin deletes page by page what is older than the bound and no failed write
// that waits: in the default partition, and where a partition was not emptied.
func (k *Keeper) thin(ctx context.Context, from time.Time) error {
	floor := idValue(floorID(from))
	var account, id uuid.UUID
	for {
		var gone, seen int64
		err := k.db.QueryRow(ctx, thinSQL, floor, idValue(account), idValue(id), pageRows).
			Scan(scanID(&account), scanID(&id), &gone, &seen)
		if noRows(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("thin out the ledger: %w", err)
		}
		k.metrics.deleted.WithLabelValues("writes").Add(float64(gone))
		if seen < pageRows {
			return nil
		}
		if !k.breathe(ctx) {
			return context.Cause(ctx)
		}
	}
}

// trimEvents deletes events that are older than their life.
func (k *Keeper) trimEvents(ctx context.Context) error {
	floor := idValue(floorID(time.Now().Add(-k.retain.Events)))
	return k.pages(ctx, "webhook_events", oldEventsSQL, floor, pageRows)
}

// trimLeft deletes the addresses that contacts left a week ago. Apply deletes
// some with each that it adds; this is for installations in which few change.
func (k *Keeper) trimLeft(ctx context.Context) error {
	return k.pages(ctx, "left_addresses", oldLeftSQL, pageRows)
}

// pages repeats a statement that deletes a page until it finds less than one.
func (k *Keeper) pages(ctx context.Context, table, sql string, args ...any) error {
	for {
		tag, err := k.db.Exec(ctx, sql, args...)
		if err != nil {
			return fmt.Errorf("delete old rows of %s: %w", table, err)
		}
		k.metrics.deleted.WithLabelValues(table).Add(float64(tag.RowsAffected()))
		if tag.RowsAffected() < pageRows {
			return nil
		}
		if !k.breathe(ctx) {
			return context.Cause(ctx)
		}
	}
}

// breathe leaves the disk to others between two pages; false: ctx ended.
func (k *Keeper) breathe(ctx context.Context) bool {
	timer := time.NewTimer(50 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
