package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// The statements under the lane's lock. Each sees what was committed before
// the lock was got, because READ COMMITTED takes a snapshot a statement.
const (
	lockLaneSQL   = `SELECT offsets, now(), recheck FROM lanes WHERE lane = $1`
	lockNoWaitSQL = lockLaneSQL + ` FOR UPDATE NOWAIT`
	lockWaitSQL   = lockLaneSQL + ` FOR UPDATE`

	ledgerSQL = `SELECT ` + recordColumns + `, NULL::uuid, NULL::timestamptz
		FROM unnest($1::uuid[], $2::uuid[]) AS k (account_id, id)
		JOIN writes w ON w.account_id = k.account_id AND w.id = k.id`

	readContactsSQL = `SELECT ` + contactColumns + `, coalesce(a.consent_lock, false)
		FROM unnest($1::uuid[], $2::uuid[]) AS k (account_id, id)
		JOIN contacts c ON c.account_id = k.account_id AND c.id = k.id
		LEFT JOIN accounts a ON a.id = c.account_id`
	lockContactsSQL = readContactsSQL + `
		ORDER BY c.id, c.account_id
		FOR UPDATE OF c`

	// Who has the values that the batch wants: those in its bodies ($1 to $4),
	// and those that contacts to be restored ($5, $6) come back with.
	takenSQL = `SELECT c.account_id, c.id, 'email', c.email_key
		FROM unnest($1::uuid[], $2::text[]) AS k (account_id, v)
		JOIN contacts c ON c.account_id = k.account_id AND c.email_key = k.v
		WHERE c.archived_at IS NULL
	UNION ALL
		SELECT c.account_id, c.id, 'external_id', c.external_id
		FROM unnest($3::uuid[], $4::text[]) AS k (account_id, v)
		JOIN contacts c ON c.account_id = k.account_id AND c.external_id = k.v
		WHERE c.archived_at IS NULL
	UNION ALL
		SELECT c.account_id, c.id, 'email', c.email_key
		FROM unnest($5::uuid[], $6::uuid[]) AS k (account_id, id)
		JOIN contacts r ON r.account_id = k.account_id AND r.id = k.id
		JOIN contacts c ON c.account_id = r.account_id AND c.email_key = r.email_key AND c.id <> r.id
		WHERE c.archived_at IS NULL
	UNION ALL
		SELECT c.account_id, c.id, 'external_id', c.external_id
		FROM unnest($5::uuid[], $6::uuid[]) AS k (account_id, id)
		JOIN contacts r ON r.account_id = k.account_id AND r.id = k.id
		JOIN contacts c ON c.account_id = r.account_id AND c.external_id = r.external_id AND c.id <> r.id
		WHERE c.archived_at IS NULL`
)

// lockAndRead is one round trip: the lane's row, what the ledger knows of the
// entries, the contacts in the order of their ids, who has the values that
// must be unique, and the definitions that the entries name. Only the first can lose the lane; nothing after it runs then.
func (t *laneTx) lockAndRead(ctx context.Context, b *batch) error {
	return t.roundTrip(ctx, b, func(q *pgx.Batch) {
		b.queueLedger(q)
		b.queueContacts(q, lockContactsSQL)
		b.queueTaken(q)
		b.queueDefinitions(q)
		b.queueSuppressed(q)
	})
}

// lockAndLookUp is lockAndRead for a failure, which needs no contact.
func (t *laneTx) lockAndLookUp(ctx context.Context, b *batch) error {
	return t.roundTrip(ctx, b, b.queueLedger)
}

// roundTrip locks the lane and runs what queue adds, in one exchange.
func (t *laneTx) roundTrip(ctx context.Context, b *batch, queue func(*pgx.Batch)) error {
	ctx, cancel := withDeadline(ctx, stepRead, stepTimeout)
	defer cancel()
	start := time.Now()
	locked := start
	q := &pgx.Batch{}
	q.Queue(laneSQL(t.wait), b.lane.String()).QueryRow(func(row pgx.Row) error {
		err := b.scanLane(row, t.wait)
		locked = time.Now()
		t.metrics.step.WithLabelValues(stepLock).Observe(locked.Sub(start).Seconds())
		return err
	})
	queue(q)
	if err := t.tx.SendBatch(ctx, q).Close(); err != nil {
		return stepError(ctx, stepRead, err)
	}
	t.observe(stepRead, locked)
	return nil
}

func laneSQL(wait bool) string {
	switch {
	case !fenced:
		return lockLaneSQL
	case wait:
		return lockWaitSQL
	default:
		return lockNoWaitSQL
	}
}

// scanLane reads the lane's row. Its clock is that of Postgres, so that the
// moments of one batch do not depend on which worker applied it.
func (b *batch) scanLane(row pgx.Row, wait bool) error {
	err := row.Scan(&b.oldText, &b.now, &b.recheck)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("lock lane: the database has no lane %s: it was migrated with fewer", b.lane)
	case sqlState(err) == stateLockTimeout && !wait:
		return fmt.Errorf("lock lane: %w", contact.ErrLaneHeld)
	case err != nil:
		return fmt.Errorf("lock lane: %w", err)
	}
	b.now = b.now.UTC()
	b.old, err = contact.ParseOffset(b.oldText)
	return err
}

func (b *batch) queueLedger(q *pgx.Batch) {
	if !fenced {
		return
	}
	accounts, ids := make(idColumn, len(b.entries)), make(idColumn, len(b.entries))
	for i := range b.entries {
		accounts[i], ids[i] = idValue(b.entries[i].Account), idValue(b.entries[i].ID)
	}
	q.Queue(ledgerSQL, accounts, ids).Query(func(rows pgx.Rows) error {
		records, err := pgx.CollectRows(rows, scanRecord)
		if err != nil {
			return fmt.Errorf("look into the ledger: %w", err)
		}
		for _, r := range records {
			b.known[contact.WriteRef{Account: r.Account, ID: r.WriteID}] = r
		}
		return nil
	})
	b.queueErased(q)
}

func (b *batch) queueContacts(q *pgx.Batch, sql string) {
	refs := make(map[contact.Ref]struct{}, len(b.entries))
	accounts, ids := make(idColumn, 0, len(b.entries)), make(idColumn, 0, len(b.entries))
	for i := range b.entries {
		ref := b.entries[i].Ref()
		if _, twice := refs[ref]; twice || ref.Account == uuid.Nil {
			continue
		}
		refs[ref] = struct{}{}
		accounts, ids = append(accounts, idValue(ref.Account)), append(ids, idValue(ref.ID))
	}
	q.Queue(sql, accounts, ids).Query(func(rows pgx.Rows) error {
		defer rows.Close()
		for rows.Next() {
			var lock bool
			c, err := scanContact(rows, &lock)
			if err != nil {
				return fmt.Errorf("lock contacts: %w", err)
			}
			b.contacts[c.Ref] = &c
			b.consentLock[c.Account] = lock
		}
		return wrap("lock contacts", rows.Err())
	})
}

// queueTaken asks only when an entry wants a value that must be unique.
func (b *batch) queueTaken(q *pgx.Batch) {
	var emailOf, externalOf, restoreOf, restored idColumn
	var emails, externals []string
	for i := range b.entries {
		e := &b.entries[i]
		if v, _ := e.Patch.Text(contact.Email); v != nil {
			emailOf, emails = append(emailOf, idValue(e.Account)), append(emails, contact.EmailKey(*v))
		}
		if v, _ := e.Patch.Text(contact.ExternalID); v != nil {
			externalOf, externals = append(externalOf, idValue(e.Account)), append(externals, *v)
		}
		if e.Kind == contact.KindRestore {
			restoreOf = append(restoreOf, idValue(e.Account))
			restored = append(restored, idValue(e.Contact))
		}
	}
	if len(emails)+len(externals)+len(restored) == 0 {
		return
	}
	q.Queue(takenSQL, emailOf, emails, externalOf, externals, restoreOf, restored).Query(
		func(rows pgx.Rows) error {
			var account, id uuid.UUID
			var field, key string
			_, err := pgx.ForEachRow(rows, []any{scanID(&account), scanID(&id), &field, &key}, func() error {
				f := contact.Email
				if field == "external_id" {
					f = contact.ExternalID
				}
				b.taken[takenKey{account, f, key}] = id
				return nil
			})
			if err != nil {
				// This statement carries values of a body, as that for definitions does.
				return dataError("look for taken values", err)
			}
			return nil
		})
}

// wrap puts the operation before an error; nil stays nil.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", op, err)
}
