package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// updateConsentSQL writes clocks and their projection, and nothing else of a
// contact.
const updateConsentSQL = `UPDATE contacts c SET
		email_consent = d.email_consent::bigint[], sms_consent = d.sms_consent::bigint[],
		email_unsubscribed = d.email_out, email_unsubscribed_reason = d.email_reason,
		email_unsubscribed_at = d.email_at,
		sms_unsubscribed = d.sms_out, sms_unsubscribed_reason = d.sms_reason,
		sms_unsubscribed_at = d.sms_at, version = d.version, updated_at = d.updated_at
	FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::timestamptz[],
		$8::boolean[], $9::text[], $10::timestamptz[], $11::bigint[], $12::timestamptz[])
	AS d (account_id, id, email_consent, sms_consent, email_out, email_reason, email_at,
		sms_out, sms_reason, sms_at, version, updated_at)
	WHERE c.account_id = d.account_id AND c.id = d.id`

// project applies touches to their contacts, which it locks in the order of
// their ids, and writes clocks and audit. It returns how many contacts changed
// visibly. Only what is locked is believed: a contact may have left the address
// since it was found, and which addresses it left is read under the lock.
func (t *laneTx) project(ctx context.Context, touches []contact.Touch) (int, error) {
	p := contact.Projection{Contacts: map[contact.Ref]*contact.Contact{}, Left: map[contact.Ref][]contact.Left{}}
	if err := t.lockTouched(ctx, &p, touches); err != nil {
		return 0, err
	}
	done := p.Project(touches)
	var list []statement
	if n := len(done.Updated); n > 0 {
		list = append(list, statement{
			op: "update consent", sql: updateConsentSQL, args: consentArgs(done.Updated), rows: n, short: errLostRow,
		})
	}
	if len(done.Rows) > 0 {
		list = append(list, statement{op: "insert audit", sql: insertWritesSQL, args: auditArgs(done.Rows, p.Now)})
	}
	if counts := eventCounts(done.Rows); len(counts.ids) > 0 {
		list = append(list, statement{op: "count contacts", sql: countContactsSQL, args: counts.args()})
	}
	if len(list) == 0 {
		return 0, nil
	}
	return len(done.Rows), t.run(ctx, list)
}

// lockTouched locks the contacts and then reads, with a newer snapshot, what
// they left.
func (t *laneTx) lockTouched(ctx context.Context, p *contact.Projection, touches []contact.Touch) error {
	ctx, cancel := withDeadline(ctx, stepRead, stepTimeout)
	defer cancel()
	defer t.observe(stepRead, time.Now())
	seen := map[contact.Ref]bool{}
	var accounts, ids, of idColumn
	var addresses []contact.Address
	for i := range touches {
		ref := touches[i].Contact
		if !seen[ref] {
			seen[ref] = true
			accounts, ids = append(accounts, idValue(ref.Account)), append(ids, idValue(ref.ID))
		}
		if e := touches[i].Event; e != nil && touches[i].Effect.Out {
			addresses, of = append(addresses, e.About()), append(of, idValue(ref.ID))
		}
	}
	q := &pgx.Batch{}
	q.Queue(`SELECT now()`).QueryRow(func(row pgx.Row) error { return row.Scan(&p.Now) })
	q.Queue(lockContactsSQL, accounts, ids).Query(func(rows pgx.Rows) error {
		defer rows.Close()
		for rows.Next() {
			var lock bool
			c, err := scanContact(rows, &lock)
			if err != nil {
				return fmt.Errorf("lock contacts: %w", err)
			}
			p.Contacts[c.Ref] = &c
		}
		return wrap("lock contacts", rows.Err())
	})
	if len(addresses) > 0 {
		q.Queue(leftSQL, append(addressArgs(addresses), of)...).Query(func(rows pgx.Rows) error {
			left, err := pgx.CollectRows(rows, scanLeft)
			for _, l := range left {
				p.Left[l.Contact] = append(p.Left[l.Contact], l)
			}
			return wrap("read left addresses", err)
		})
	}
	if err := t.tx.SendBatch(ctx, q).Close(); err != nil {
		return stepError(ctx, stepRead, err)
	}
	return nil
}

// consentArgs are the columns of updateConsentSQL.
func consentArgs(list []contact.FoldedContact) []any {
	n := len(list)
	accounts, ids := make(idColumn, n), make(idColumn, n)
	email, sms := newConsentColumns(n), newConsentColumns(n)
	versions, updated := make([]int64, n), make([]time.Time, n)
	for i, c := range list {
		accounts[i], ids[i] = idValue(c.Account), idValue(c.ID)
		email.set(i, c.EmailConsent)
		sms.set(i, c.SMSConsent)
		versions[i], updated[i] = c.Version, c.UpdatedAt
	}
	return []any{
		accounts, ids, email.clocks, sms.clocks, email.out, email.reasons, email.at,
		sms.out, sms.reasons, sms.at, versions, updated,
	}
}

// auditArgs are the columns of the ledger for rows that are no client's writes.
func auditArgs(rows []contact.Record, now time.Time) []any {
	b := batch{now: now, work: make([]contact.Entry, len(rows))}
	for i := range rows {
		b.folded.Outcomes = append(b.folded.Outcomes, rows[i].Outcome)
		b.work[i].Actor, b.work[i].Source = rows[i].Actor, rows[i].Source
		b.work[i].AcceptedAt = rows[i].AcceptedAt
	}
	return b.writeArgs()
}

// countContactsSQL counts the contacts that events changed.
const countContactsSQL = `UPDATE webhook_events w SET contacts = w.contacts + d.n
	FROM unnest($1::uuid[], $2::uuid[], $3::integer[]) AS d (account_id, id, n)
	WHERE w.account_id = d.account_id AND w.id = d.id`

// counts are contacts by the event that changed them.
type counts struct {
	accounts, ids idColumn
	n             []int32
}

func (c *counts) args() []any { return []any{c.accounts, c.ids, c.n} }

func eventCounts(rows []contact.Record) counts {
	var c counts
	at := map[string]int{}
	for i := range rows {
		id, err := uuid.Parse(rows[i].SourceEvent)
		if err != nil || rows[i].Source == contact.SourceRecheck {
			continue // Rechecks run beside the lane of the event and lock no row of it.
		}
		key := rows[i].Account.String() + rows[i].SourceEvent
		if _, known := at[key]; !known {
			at[key] = len(c.n)
			c.accounts, c.ids = append(c.accounts, idValue(rows[i].Account)), append(c.ids, idValue(id))
			c.n = append(c.n, 0)
		}
		c.n[at[key]]++
	}
	return c
}
