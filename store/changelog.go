package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

const logSelect = `SELECT l.id, l.contact_id, l.field, l.op, l.old_value, l.new_value, l.write_id, l.n,
	l.version, l.actor, l.source, coalesce(l.source_event, ''), l.accepted_at, l.changed_at
	FROM crm_field_change_log l WHERE `

// logRow is a row of the log and its number within its write.
type logRow struct {
	contact.LogRow
	n int64
}

// ChangeLog returns a page of an account's change log: the highest version
// first within one contact, else the newest write id first. The fields of one
// write keep their order.
func (s *Store) ChangeLog(ctx context.Context, q contact.LogQuery) (contact.LogPage, error) {
	var page contact.LogPage
	if !storable(&q.Field) {
		return page, nil
	}
	where, order, err := logQuery(q)
	if err != nil {
		return page, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, logSelect+where.text()+order+where.place(q.Limit+1), where.args...)
	if err != nil {
		return page, readError("read change log", err)
	}
	list, err := pgx.CollectRows(rows, scanLogRow)
	if err != nil {
		return page, readError("read change log", err)
	}
	if page.HasMore = len(list) > q.Limit; page.HasMore {
		list = list[:q.Limit]
		page.Next = logCursor(q, list[q.Limit-1])
	}
	page.Rows = make([]contact.LogRow, len(list))
	for i := range list {
		page.Rows[i] = list[i].LogRow
	}
	return page, nil
}

// logQuery makes the terms and the order of a page.
func logQuery(q contact.LogQuery) (*conditions, string, error) {
	where := newConditions()
	where.add(`l.account_id = ?`, q.Account)
	order := ` ORDER BY l.write_id DESC, l.n LIMIT `
	if q.Contact != uuid.Nil {
		where.add(`l.contact_id = ?`, q.Contact)
		order = ` ORDER BY l.version DESC, l.n LIMIT `
	}
	if q.WriteID != uuid.Nil {
		where.add(`l.write_id = ?`, q.WriteID)
	}
	if q.Field != "" {
		where.add(`l.field = ?`, q.Field)
	}
	if !q.From.IsZero() {
		where.add(`l.changed_at >= ?`, q.From)
	}
	if !q.To.IsZero() {
		// A write is applied after its id was minted, so newer ids need not be
		// looked at; a day allows for the clock that minted them.
		where.add(`l.changed_at < ?`, q.To)
		where.add(`l.write_id < ?`, floorID(q.To.Add(24*time.Hour)))
	}
	return where, order, afterLog(where, q)
}

// afterLog adds where the page before ended.
func afterLog(where *conditions, q contact.LogQuery) error {
	if q.After == "" {
		return nil
	}
	var place uuid.UUID
	var n int64
	if q.Contact == uuid.Nil {
		if err := readCursor(q.After, cursorLogByID, &place, &n); err != nil {
			return err
		}
		where.add(`l.write_id <= ? AND (l.write_id < ? OR l.n > ?)`, place, place, n)
		return nil
	}
	if err := readCursor(q.After, cursorLogByVer, &place, &n); err != nil {
		return err
	}
	version := versionOf(place)
	where.add(`l.version <= ? AND (l.version < ? OR l.n > ?)`, version, version, n)
	return nil
}

// logCursor names the last row of a page.
func logCursor(q contact.LogQuery, last logRow) string {
	if q.Contact == uuid.Nil {
		return writeCursor(cursorLogByID, last.WriteID, last.n)
	}
	return writeCursor(cursorLogByVer, versionID(last.Version), last.n)
}

func scanLogRow(row pgx.CollectableRow) (logRow, error) {
	var l logRow
	var op string
	err := row.Scan(&l.ID, scanID(&l.Contact), &l.Field, &op, &l.Old, &l.New, scanID(&l.WriteID), &l.n,
		&l.Version, &l.Actor, &l.Source, &l.SourceEvent, &l.AcceptedAt, &l.ChangedAt)
	if err != nil {
		return l, fmt.Errorf("scan log row: %w", err)
	}
	l.Op = contact.Op(op)
	l.AcceptedAt, l.ChangedAt = l.AcceptedAt.UTC(), l.ChangedAt.UTC()
	return l, nil
}
