package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"patchlane/tasks/contact"
)

// retryClaim is how long a claimed retry is taken to be under way in another
// call. After it, a retry whose write the ledger does not have is taken to be
// unfinished, and may be appended again under the same id.
const retryClaim = 3 * time.Second

// failedRow is the part of a failure that a retry reads and changes.
type failedRow struct {
	bun.BaseModel `bun:"table:failed_writes,alias:f"`

	AccountID   uuid.UUID  `bun:"account_id,type:uuid"`
	ID          uuid.UUID  `bun:"id,type:uuid"`
	Payload     []byte     `bun:"payload,type:bytea"`
	AcceptedAt  time.Time  `bun:"accepted_at"`
	RetryID     *uuid.UUID `bun:"retry_id,type:uuid"`
	DiscardedAt *time.Time `bun:"discarded_at"`
}

// ClaimRetry fixes the id of the write that repeats a failed one, before it is
// appended: of any number of calls one id is fixed for ever. The caller
// appends with RetryID, which is newID, or the id of an earlier call that died
// between its claim and its append; the ledger drops a twin.
//
// Errors: not_found; not_failed for a write with another outcome or one that
// was discarded; already_retried when the repeating write has an outcome, and
// when another call is at it right now.
func (s *Store) ClaimRetry(ctx context.Context, account, id, newID uuid.UUID) (contact.FailedWrite, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var row failedRow
	// One statement decides: it claims a free row, renews a claim that ran out
	// without a trace in the ledger, and takes its own claim again.
	err := s.records.NewUpdate().Model(&row).
		Set("retry_id = coalesce(f.retry_id, ?)", newID).Set("retry_at = clock_timestamp()").
		Where("f.account_id = ? AND f.id = ? AND f.discarded_at IS NULL", account, id).
		Where(`f.retry_id IS NULL OR f.retry_id = ? OR (
			f.retry_at < clock_timestamp() - make_interval(secs => ?) AND NOT EXISTS (
				SELECT FROM writes w WHERE w.account_id = f.account_id AND w.id = f.retry_id))`,
			newID, retryClaim.Seconds()).
		Returning("f.account_id, f.id, f.payload, f.accepted_at, f.retry_id, f.discarded_at").
		Scan(ctx)
	if noRows(err) {
		return contact.FailedWrite{}, s.whyNotFailed(ctx, account, id)
	}
	if err != nil {
		return contact.FailedWrite{}, readError("claim retry", err)
	}
	return contact.FailedWrite{
		WriteRef:   contact.WriteRef{Account: row.AccountID, ID: row.ID},
		Raw:        row.Payload,
		AcceptedAt: row.AcceptedAt.UTC(),
		RetryID:    *row.RetryID,
	}, nil
}

// Discard gives a failed write up. It succeeds only while no retry has claimed
// the write; discarding it twice is harmless.
func (s *Store) Discard(ctx context.Context, account, id uuid.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	res, err := s.records.NewUpdate().Model((*failedRow)(nil)).
		Set("discarded_at = coalesce(f.discarded_at, now())").
		Where("f.account_id = ? AND f.id = ? AND f.retry_id IS NULL", account, id).
		Exec(ctx)
	if err != nil {
		return readError("discard write", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return s.whyNotFailed(ctx, account, id)
	}
	return nil
}

// AccountOfFailed finds the account of a failed write, for operators, who know
// the id of the write alone.
func (s *Store) AccountOfFailed(ctx context.Context, id uuid.UUID) (uuid.UUID, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var row failedRow
	err := s.records.NewSelect().Model(&row).Column("account_id").Where("f.id = ?", id).
		Limit(1).Scan(ctx)
	return row.AccountID, readError("find failed write", err)
}

// whyNotFailed tells why a write cannot be retried or discarded.
func (s *Store) whyNotFailed(ctx context.Context, account, id uuid.UUID) error {
	record, err := s.Write(ctx, account, id)
	if err != nil {
		return err
	}
	switch record.State {
	case contact.Retried:
		return &contact.Error{
			Code:    contact.CodeAlreadyRetried,
			Message: "the write was retried as " + record.RetriedAs.String(),
			Fix:     "Look at the write in retried_as.",
		}
	case contact.Discarded:
		return &contact.Error{
			Code: contact.CodeNotFailed, Message: "the write was discarded",
			Fix: "Send the change as a new write.",
		}
	case contact.Failed:
		// It was claimed and not claimed within one call: let the caller repeat.
		return readError("claim write", errClaimRace)
	default:
		return &contact.Error{
			Code: contact.CodeNotFailed, Message: "the write did not fail",
			Fix: "Only a failed write can be retried or discarded.",
		}
	}
}
