package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

const (
	// recordColumns is what scanRecord reads of the table under the name w;
	// retry_id and discarded_at of failed_writes follow.
	recordColumns = `w.account_id, w.id, w.contact_id, w.kind, w.state, w.code, w.message, w.version,
		w.actor, w.source, w.accepted_at, w.applied_at, w.retry_of, w.changes, w.skipped, w.source_event`

	recordSelect = `SELECT ` + recordColumns + `, f.retry_id, f.discarded_at FROM `

	// A failed write is found through the table of the failures, however many
	// writes succeeded meanwhile.
	failedJoin = `failed_writes f JOIN writes w ON w.account_id = f.account_id AND w.id = f.id`
	writesJoin = `writes w LEFT JOIN failed_writes f
		ON w.state = 'failed' AND f.account_id = w.account_id AND f.id = w.id`
)

// scanRecord reads a row of the ledger.
func scanRecord(row pgx.CollectableRow) (contact.Record, error) {
	var r contact.Record
	var kind, state, source string
	var code, message, sourceEvent *string
	var retryOf, retriedAs *uuid.UUID
	var discarded *time.Time
	var changes, skipped []byte
	err := row.Scan(scanID(&r.Account), scanID(&r.WriteID), scanID(&r.ID), &kind, &state, &code, &message, &r.Version,
		&r.Actor, &source, &r.AcceptedAt, &r.AppliedAt, &retryOf, &changes, &skipped, &sourceEvent,
		&retriedAs, &discarded)
	if err != nil {
		return r, fmt.Errorf("scan write: %w", err)
	}
	r.Kind, r.State, r.Source = kindOf(kind), contact.State(state), contact.Source(source)
	r.AcceptedAt, r.AppliedAt = r.AcceptedAt.UTC(), r.AppliedAt.UTC()
	if code != nil {
		r.Code = contact.Code(*code)
	}
	if message != nil {
		r.Message = *message
	}
	if sourceEvent != nil {
		r.SourceEvent = *sourceEvent
	}
	if retryOf != nil {
		r.RetryOf = *retryOf
	}
	switch {
	case retriedAs != nil:
		r.State, r.RetriedAs = contact.Retried, *retriedAs
	case discarded != nil:
		r.State = contact.Discarded
	}
	r.Changes = []contact.Change{}
	if changes != nil {
		if err := json.Unmarshal(changes, &r.Changes); err != nil {
			return r, fmt.Errorf("scan changes: %w", err)
		}
	}
	if skipped != nil {
		if err := json.Unmarshal(skipped, &r.Skipped); err != nil {
			return r, fmt.Errorf("scan skipped: %w", err)
		}
	}
	return r, nil
}

// kindOf reads what Kind.String wrote; 0 for what this release does not know.
func kindOf(name string) contact.Kind {
	for k := contact.KindPatch; k <= contact.KindErase; k++ {
		if k.String() == name {
			return k
		}
	}
	return 0
}

// Write returns the ledger's row of a write, or not_found while it has no
// outcome, and for a write of another account.
func (s *Store) Write(ctx context.Context, account, id uuid.UUID) (contact.Record, error) {
	records, err := s.WritesByID(ctx, []contact.WriteRef{{Account: account, ID: id}})
	if err != nil {
		return contact.Record{}, err
	}
	if len(records) == 0 {
		return contact.Record{}, notFound()
	}
	return records[0], nil
}

// WritesByID returns those of the writes that have an outcome, in any order,
// in one round trip.
func (s *Store) WritesByID(ctx context.Context, refs []contact.WriteRef) ([]contact.Record, error) {
	accounts, ids := make(idColumn, len(refs)), make(idColumn, len(refs))
	for i, ref := range refs {
		accounts[i], ids[i] = idValue(ref.Account), idValue(ref.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, recordSelect+`unnest($1::uuid[], $2::uuid[]) AS k (account_id, id)
		JOIN writes w ON w.account_id = k.account_id AND w.id = k.id
		LEFT JOIN failed_writes f ON w.state = 'failed' AND f.account_id = w.account_id AND f.id = w.id`,
		accounts, ids)
	if err != nil {
		return nil, readError("read writes", err)
	}
	records, err := pgx.CollectRows(rows, scanRecord)
	return records, readError("read writes", err)
}

// Writes returns a page of the ledger, newest id first.
func (s *Store) Writes(ctx context.Context, q contact.WriteQuery) (contact.WritePage, error) {
	var page contact.WritePage
	from, where, err := writesQuery(q)
	if err != nil || from == "" {
		return page, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, recordSelect+from+` WHERE `+where.text()+
		` ORDER BY w.id DESC LIMIT `+where.place(q.Limit+1), where.args...)
	if err != nil {
		return page, readError("list writes", err)
	}
	if page.Writes, err = pgx.CollectRows(rows, scanRecord); err != nil {
		return page, readError("list writes", err)
	}
	if page.HasMore = len(page.Writes) > q.Limit; page.HasMore {
		page.Writes = page.Writes[:q.Limit]
		page.Next = writeCursor(cursorWrites, page.Writes[q.Limit-1].WriteID, 0)
	}
	return page, nil
}

// writesQuery picks the tables and the terms; no tables: nothing can match.
func writesQuery(q contact.WriteQuery) (string, *conditions, error) {
	from, where := writesJoin, newConditions()
	if code := string(q.Code); !storable(&code) {
		return "", where, nil
	}
	switch q.State {
	case "":
	case contact.Applied, contact.Unchanged:
		where.add(`w.state = ?`, string(q.State))
	case contact.Failed:
		from = failedJoin
		where.addText(`f.retry_id IS NULL AND f.discarded_at IS NULL`)
	case contact.Retried:
		from = failedJoin
		where.addText(`f.retry_id IS NOT NULL`)
	case contact.Discarded:
		from = failedJoin
		where.addText(`f.discarded_at IS NOT NULL`)
	case contact.Queued:
		fallthrough
	default:
		return "", where, nil
	}
	if q.Code != "" {
		from = failedJoin
		where.add(`f.code = ?`, string(q.Code))
	}
	if !q.AllAccounts {
		where.add(`w.account_id = ?`, q.Account)
	}
	if q.Contact != uuid.Nil {
		where.add(`w.contact_id = ?`, q.Contact)
	}
	if !q.Since.IsZero() {
		where.add(`w.applied_at >= ?`, q.Since)
	}
	if q.After != "" {
		var after uuid.UUID
		if err := readCursor(q.After, cursorWrites, &after, nil); err != nil {
			return "", where, err
		}
		where.add(`w.id < ?`, after)
	}
	return from, where, nil
}
