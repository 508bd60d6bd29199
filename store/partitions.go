package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// The ledger has a partition for each month, made ahead. Making one and emptying
// one need a partition for themselves for a moment, and whoever comes after a
// waiting lock waits with it: every batch reads the ledger. So a lock is waited
// for and held for a fraction of a second at most, and what did not succeed is
// tried again, at a moment when fewer batches are under way.

const (
	// monthsAhead is how many months of partitions are kept ready after this one.
	monthsAhead = 12

	missingMonthsSQL = `SELECT m::date
		FROM date_trunc('month', now() AT TIME ZONE 'UTC') AS this,
			generate_series(this, this + make_interval(months => $1::int), interval '1 month') AS m
		WHERE to_regclass((writes_bounds(m::date)).part) IS NULL
		ORDER BY m`
)

// patience is how much the write path is made to wait for upkeep.
type patience struct {
	// wait bounds the wait for a lock, hold the statement that waits and then
	// works under it; 0: no bound.
	wait, hold time.Duration
	// tries is how often, and pause how long after each.
	tries int
	pause time.Duration
}

// The two kinds of patience: beside a running system no batch waits for longer
// than hold and a commit, which makes about 200 ms; a migration waits until it
// gets what it needs, since the next step of a deployment needs it too.
//
//nolint:gochecknoglobals // constants of a struct type
var (
	politely    = patience{wait: 50 * time.Millisecond, hold: 150 * time.Millisecond, tries: 20, pause: 250 * time.Millisecond}
	insistently = patience{wait: 2 * time.Second, tries: 10, pause: time.Second}
)

// errBusy says that a lock was not got, or what is done under it not finished,
// in any of the tries.
var errBusy = errors.New("the ledger was in use")

// beginner begins transactions: a pool or a connection.
type beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// makePartitions makes the ledger's partitions that are missing among this
// month's and the coming ones', each in a transaction of its own. Any number of
// processes may do it at once. Rows of these months that are in the default
// partition move with it.
func makePartitions(ctx context.Context, db beginner, p patience) error {
	months, err := missingMonths(ctx, db)
	if err != nil {
		return err
	}
	for _, month := range months {
		err := p.do(ctx, db, func(ctx context.Context, tx pgx.Tx) error {
			var staged bool
			if err := tx.QueryRow(ctx, `SELECT writes_stage($1)`, month).Scan(&staged); err != nil || !staged {
				return wrap("stage", err)
			}
			if err := p.hurry(ctx, tx); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `SELECT writes_attach($1)`, month)
			return wrap("attach", err)
		})
		if err != nil {
			return fmt.Errorf("make partition of %s: %w", month.Format("2006-01"), err)
		}
	}
	return nil
}

// missingMonths lists the months without a partition, the earliest first.
func missingMonths(ctx context.Context, db beginner) (months []time.Time, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, missingMonthsSQL, monthsAhead)
		if err != nil {
			return err
		}
		months, err = pgx.CollectRows(rows, pgx.RowTo[time.Time])
		return err
	})
	return months, wrap("look for missing partitions", err)
}

// do runs a transaction, again when it was too slow for the write path.
func (p patience) do(ctx context.Context, db beginner, once func(context.Context, pgx.Tx) error) error {
	for try := 1; ; try++ {
		err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			// Also while nothing is held yet: a lock on the parent keeps others of
			// these transactions waiting, and them alone.
			if _, err := tx.Exec(ctx, fmt.Sprintf(`SET LOCAL lock_timeout = %d`, p.wait.Milliseconds())); err != nil {
				return wrap("set lock_timeout", err)
			}
			return once(ctx, tx)
		})
		if !tooSlow(err) {
			return err
		}
		if try == p.tries {
			return fmt.Errorf("%w, %d tries: %w", errBusy, try, err)
		}
		timer := time.NewTimer(p.pause + rand.N(p.pause)) //nolint:gosec // jitter is no secret
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// hurry bounds the statements that follow in the transaction.
func (p patience) hurry(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`SET LOCAL statement_timeout = %d`, p.hold.Milliseconds()))
	return wrap("set statement_timeout", err)
}

// tooSlow tells whether a lock or a statement took longer than it may.
func tooSlow(err error) bool {
	state := sqlState(err)
	return state == stateLockTimeout || state == stateCanceled || state == stateDeadlock
}

// PartitionsAhead returns how many months after this one have a partition,
// without a gap; -1 when this month has none itself.
func (s *Store) PartitionsAhead(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	months, err := missingMonths(ctx, s.read)
	if err != nil {
		return 0, readError("read partitions", err)
	}
	if len(months) == 0 {
		return monthsAhead, nil
	}
	now := time.Now().UTC()
	return (months[0].Year()-now.Year())*12 + int(months[0].Month()-now.Month()) - 1, nil
}
