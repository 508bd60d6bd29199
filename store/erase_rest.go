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

const (
	// erasePage is how many rows of the ledger one transaction rewrites.
	erasePage = 500
	// eraseTimeout bounds each step. The scans of events read an account's rows.
	eraseTimeout = 2 * time.Minute

	// The addresses that the contact had, as the audit log knows them.
	pastAddressesSQL = `SELECT DISTINCT c.change ->> 'field', v.value #>> '{}'
		FROM writes w CROSS JOIN LATERAL jsonb_array_elements(w.changes) AS c (change)
		CROSS JOIN LATERAL (VALUES (c.change -> 'old'), (c.change -> 'new')) AS v (value)
		WHERE w.account_id = $1 AND w.contact_id = $2 AND c.change ->> 'field' IN ('email', 'phone')
			AND jsonb_typeof(v.value) = 'string'`

	scannedSQL = `UPDATE erased_contacts SET scanned = true, addresses = $3::jsonb
		WHERE account_id = $1 AND id = $2 AND NOT scanned`

	// Whether somebody else has the address: then it is not this contact's alone.
	addressSharedSQL = `SELECT EXISTS (SELECT FROM contacts WHERE account_id = $1 AND $2 = 'email' AND email_key = $3)
		OR EXISTS (SELECT FROM contacts WHERE account_id = $1 AND $2 = 'sms' AND phone_key = $3)`

	redactEventsSQL = `UPDATE webhook_events w SET address = $4, evidence = NULL
		WHERE w.account_id = $1 AND w.channel = $2 AND w.address = $3 AND w.done
			AND NOT EXISTS (SELECT FROM optout_reviews r
				WHERE r.account_id = w.account_id AND r.id = w.id AND r.state = 'pending')`

	// What could not be read may hold the address in any spelling; whole elements go.
	redactQuarantineSQL = `DELETE FROM quarantine q
		WHERE q.account_id = $1 AND position(convert_to($2, 'UTF8') IN q.raw) > 0`

	redactFailedSQL = `UPDATE failed_writes f SET payload = '', discarded_at = coalesce(f.discarded_at, now())
		FROM writes w WHERE w.account_id = $1 AND w.contact_id = $2 AND w.state = 'failed'
			AND f.account_id = w.account_id AND f.id = w.id AND f.payload <> ''`

	// A page of the ledger by version and id: $3, $4 is where the one before ended.
	redactWritesSQL = `WITH page AS (
			SELECT w.account_id, w.id, w.version FROM writes w
			WHERE w.contact_id = $2 AND w.account_id = $1 AND w.kind <> 'erase' AND (w.version, w.id) > ($3, $4)
			ORDER BY w.version, w.id LIMIT $5),
		redacted AS (UPDATE writes w SET changes = writes_redact(w.changes), message = NULL, idempotency_key = NULL,
				skipped = CASE WHEN w.skipped::text LIKE '%metadata.%' THEN NULL ELSE w.skipped END
			FROM page p WHERE w.account_id = p.account_id AND w.id = p.id)
		SELECT p.version, p.id, (SELECT count(*) FROM page) FROM page p ORDER BY 1 DESC, 2 DESC LIMIT 1`
)

// FinishErasures takes what is known of erased contacts out of the audit log, the
// failed writes and the records of opt-outs, for every erasure that is not done.
// Any number of processes may do it at once.
func (s *Store) FinishErasures(ctx context.Context) error {
	rows, err := s.read.Query(ctx, `SELECT account_id, id, scanned, addresses FROM erased_contacts
		WHERE done_at IS NULL ORDER BY erased_at LIMIT 1000`)
	if err != nil {
		return readError("list erasures", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p pendingErasure, err error) {
		return p, row.Scan(scanID(&p.ref.Account), scanID(&p.ref.ID), &p.scanned, &p.addresses)
	})
	if err != nil {
		return readError("list erasures", err)
	}
	var problems []error
	for i := range list {
		if err := s.finishErasure(ctx, &list[i]); err != nil {
			problems = append(problems, fmt.Errorf("erase contact %s: %w", list[i].ref.ID, err))
		}
	}
	return errors.Join(problems...)
}

// pendingErasure is a contact of which values are left.
type pendingErasure struct {
	ref       contact.Ref
	scanned   bool
	addresses []byte
}

// finishErasure does the steps in an order in which each may be repeated: the
// addresses are gathered before the audit log that knows them is redacted.
func (s *Store) finishErasure(ctx context.Context, p *pendingErasure) error {
	ctx, cancel := withDeadline(ctx, "finish erasure", eraseTimeout)
	defer cancel()
	addresses, err := s.scanAddresses(ctx, p)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if err := s.eraseAddress(ctx, a); err != nil {
			return err
		}
	}
	if _, err := s.read.Exec(ctx, redactFailedSQL, p.ref.Account, p.ref.ID); err != nil {
		return fmt.Errorf("empty failed writes: %w", err)
	}
	if err := s.redactWrites(ctx, p.ref); err != nil {
		return err
	}
	_, err = s.read.Exec(ctx, `UPDATE erased_contacts SET done_at = now(), addresses = '[]'
		WHERE account_id = $1 AND id = $2 AND done_at IS NULL`, p.ref.Account, p.ref.ID)
	return wrap("mark as done", err)
}

// scanAddresses returns the addresses that the contact has and had, and keeps
// them until the end.
func (s *Store) scanAddresses(ctx context.Context, p *pendingErasure) ([]contact.Address, error) {
	list, err := parseAddresses(p.ref.Account, p.addresses)
	if err != nil || p.scanned {
		return list, err
	}
	rows, err := s.read.Query(ctx, pastAddressesSQL, p.ref.Account, p.ref.ID)
	if err != nil {
		return nil, fmt.Errorf("look for past addresses: %w", err)
	}
	var field, value string
	_, err = pgx.ForEachRow(rows, []any{&field, &value}, func() error {
		a := contact.Address{Account: p.ref.Account, Channel: contact.EmailChannel, Key: contact.EmailKey(value)}
		if field == contact.Phone.String() {
			a.Channel, a.Key = contact.SMSChannel, phoneKey(value)
		}
		list = append(list, a)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for past addresses: %w", err)
	}
	text := *addressesJSON(list)
	if _, err := s.read.Exec(ctx, scannedSQL, p.ref.Account, p.ref.ID, text); err != nil {
		return nil, fmt.Errorf("keep past addresses: %w", err)
	}
	return parseAddresses(p.ref.Account, []byte(text))
}

// eraseAddress puts a keyed hash in the place of an address that no contact has
// any more, so that its opt-outs go on counting.
func (s *Store) eraseAddress(ctx context.Context, a contact.Address) error {
	secret, err := s.loadHashKey(ctx)
	if err != nil {
		return err
	}
	var shared bool
	err = s.read.QueryRow(ctx, addressSharedSQL, a.Account, a.Channel.String(), a.Key).Scan(&shared)
	if err != nil || shared {
		return wrap("look for the address", err)
	}
	if err := s.hashSuppression(ctx, a); err != nil {
		return err
	}
	if _, err := s.read.Exec(ctx, redactEventsSQL, a.Account, a.Channel.String(), a.Key, a.ErasedKey(secret)); err != nil {
		return fmt.Errorf("redact events: %w", err)
	}
	_, err = s.read.Exec(ctx, redactQuarantineSQL, a.Account, a.Key)
	return wrap("redact quarantine", err)
}

// hashSuppression stores a suppression under the hash of its address, in the
// lane of the address: no event is being heard meanwhile.
func (s *Store) hashSuppression(ctx context.Context, a contact.Address) error {
	counts, err := s.Lanes(ctx)
	if err != nil {
		return err
	}
	lane := contact.AddressLaneOf(a, counts.Address)
	_, err = s.redo(ctx, "erase address in lane "+lane.String(),
		func(ctx context.Context, _ bool) (none contact.AppliedBatch, err error) {
			tx, err := s.beginLane(ctx, lane, true)
			if err != nil {
				return none, err
			}
			defer tx.rollback(ctx)
			spelled := s.spell([]contact.Address{a})
			found := map[contact.Address]contact.Suppression{}
			b := &batch{lane: lane, metrics: s.metrics}
			err = tx.roundTrip(ctx, b, func(q *pgx.Batch) {
				q.Queue(addressesSQL, addressArgs(spelled.all)...).Query(func(rows pgx.Rows) (err error) {
					found, err = spelled.collect(rows)
					return err
				})
			})
			if err != nil {
				return none, err
			}
			sup, known := found[a]
			if !known {
				return none, nil
			}
			sup.StoredAs = a.ErasedKey(*s.hashKey.secret.Load())
			err = tx.run(ctx, []statement{
				{op: "store hash", sql: upsertSuppressionsSQL, args: suppressionArgs([]*contact.Suppression{&sup}, b.now)},
				{op: "drop address", sql: `DELETE FROM suppressions WHERE account_id = $1 AND channel = $2 AND address = $3`, args: []any{
					a.Account, a.Channel.String(), a.Key,
				}},
			})
			if err != nil {
				return none, err
			}
			return none, tx.commit(ctx)
		})
	return err
}

// redactWrites takes the values out of the ledger, page by page. No row moves
// between partitions meanwhile, where an update would miss it.
func (s *Store) redactWrites(ctx context.Context, ref contact.Ref) error {
	var version int64 = -1
	var id uuid.UUID
	for {
		var seen int
		last, lastID := version, id
		err := politely.do(ctx, s.read, func(ctx context.Context, tx pgx.Tx) error {
			seen = 0
			if _, err := tx.Exec(ctx, `LOCK TABLE writes IN SHARE UPDATE EXCLUSIVE MODE`); err != nil {
				return wrap("lock ledger", err)
			}
			err := tx.QueryRow(ctx, redactWritesSQL, ref.Account, ref.ID, last, lastID, erasePage).
				Scan(&version, scanID(&id), &seen)
			if noRows(err) {
				return nil
			}
			return wrap("redact", err)
		})
		if err != nil || seen < erasePage {
			return wrap("redact the ledger", err)
		}
	}
}
