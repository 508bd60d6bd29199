package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"patchlane/tasks/contact"
)

const (
	cursorReviews    = 'r'
	cursorQuarantine = 'q'

	reviewSelect = `SELECT ` + eventColumnsSQL + `, r.state, r.decided_at, coalesce(r.decided_by, '')
		FROM optout_reviews r JOIN webhook_events w ON w.account_id = r.account_id AND w.id = r.id WHERE `
)

// Reviews returns a page of an account's reviews, the newest first.
func (s *Store) Reviews(ctx context.Context, q contact.ReviewQuery) (contact.ReviewPage, error) {
	var page contact.ReviewPage
	where := newConditions()
	if !q.AllAccounts {
		where.add(`r.account_id = ?`, q.Account)
	}
	switch q.State {
	case "":
	case contact.ReviewPending:
		where.addText(`r.state = 'pending'`) // The name of a partial index.
	case contact.ReviewAccepted, contact.ReviewDismissed:
		where.add(`r.state = ?`, string(q.State))
	default:
		return page, nil
	}
	if q.After != "" {
		var after uuid.UUID
		if err := readCursor(q.After, cursorReviews, &after, nil); err != nil {
			return page, err
		}
		where.add(`r.id < ?`, after)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, reviewSelect+where.text()+` ORDER BY r.id DESC LIMIT `+where.place(q.Limit+1), where.args...)
	if err != nil {
		return page, readError("list reviews", err)
	}
	if page.Reviews, err = pgx.CollectRows(rows, scanReview); err != nil {
		return page, readError("list reviews", err)
	}
	if page.HasMore = len(page.Reviews) > q.Limit; page.HasMore {
		page.Reviews = page.Reviews[:q.Limit]
		page.Next = writeCursor(cursorReviews, page.Reviews[q.Limit-1].ID, 0)
	}
	return page, nil
}

// Review returns one review of an account, or not_found. To accept it, append
// the event that its Accept makes: the review is marked when that is applied.
func (s *Store) Review(ctx context.Context, account, id uuid.UUID) (contact.OptOutReview, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, reviewSelect+`r.account_id = $1 AND r.id = $2`, account, id)
	if err != nil {
		return contact.OptOutReview{}, readError("read review", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanReview)
	return r, readError("read review", err)
}

// DismissReview decides that a report is no opt-out. A review that was decided
// already stays as it is; the caller sees how in the answer.
func (s *Store) DismissReview(ctx context.Context, account, id uuid.UUID, actor string) (contact.OptOutReview, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	_, err := s.read.Exec(ctx, `UPDATE optout_reviews SET state = 'dismissed', decided_at = now(), decided_by = $3
		WHERE account_id = $1 AND id = $2 AND state = 'pending'`, account, id, actor)
	if err != nil {
		return contact.OptOutReview{}, readError("dismiss review", err)
	}
	return s.Review(ctx, account, id)
}

func scanReview(row pgx.CollectableRow) (r contact.OptOutReview, err error) {
	var state string
	r.Event, err = scanEvent(row, &state, &r.DecidedAt, &r.DecidedBy)
	r.State, r.DecidedAt = contact.ReviewState(state), utc(r.DecidedAt)
	return r, err
}

// Quarantined returns a page of what came with a good signature and could not
// be read, the newest first.
func (s *Store) Quarantined(ctx context.Context, q contact.QuarantineQuery) (contact.QuarantinePage, error) {
	var page contact.QuarantinePage
	where := newConditions()
	if !q.AllAccounts {
		where.add(`q.account_id = ?`, q.Account)
	}
	if q.After != "" {
		var after uuid.UUID
		if err := readCursor(q.After, cursorQuarantine, &after, nil); err != nil {
			return page, err
		}
		where.add(`q.id < ?`, after)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, `SELECT `+eventColumnsSQL+`, q.raw
		FROM quarantine q JOIN webhook_events w ON w.account_id = q.account_id AND w.id = q.id
		WHERE `+where.text()+` ORDER BY q.id DESC LIMIT `+where.place(q.Limit+1), where.args...)
	if err != nil {
		return page, readError("list quarantine", err)
	}
	page.Events, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (contact.Event, error) {
		var raw []byte
		e, err := scanEvent(row, &raw)
		e.Evidence = raw
		return e, err
	})
	if err != nil {
		return page, readError("list quarantine", err)
	}
	if page.HasMore = len(page.Events) > q.Limit; page.HasMore {
		page.Events = page.Events[:q.Limit]
		page.Next = writeCursor(cursorQuarantine, page.Events[q.Limit-1].ID, 0)
	}
	return page, nil
}

// nullTime scans a time that may be NULL, which leaves it zero.
type nullTime struct{ to *time.Time }

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (n *nullTime) ScanTimestamptz(v pgtype.Timestamptz) error {
	*n.to = time.Time{}
	if v.Valid {
		*n.to = v.Time.UTC()
	}
	return nil
}
