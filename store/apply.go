package store

import (
	"context"

	"patchlane/tasks/contact"
	"patchlane/tasks/failpoint"
)

// Apply commits the head of a batch: contacts, audit, ledger, failures and the
// lane's offset in ONE transaction, or nothing at all. Entries MUST be of this
// lane and in the order of the stream. How far it got is Consumed: a batch is
// cut where its outcomes could differ from applying the writes one by one.
//
// An address that the batch gives to a contact is looked up among the
// suppressions in the transaction, and once more after its commit, because an
// event of that address may be on its way at the same moment; see recheck.go.
//
// Repeating a batch, whole or in part, is harmless: the ledger drops what it
// knows. A serialization failure, a deadlock and a commit of unknown fate are
// settled in here. The errors that are left:
//
//   - contact.ErrLaneHeld: another transaction has the lane; leave it.
//   - contact.ErrFenced: the offset moved; nothing was committed.
//   - *contact.DataError: some value was refused; nothing was committed, and a
//     smaller batch must find the bad write, which Fail records.
//   - anything else is outside the batch: wait and send it again.
func (s *Store) Apply(ctx context.Context, lane contact.Lane, entries []contact.Entry) (contact.AppliedBatch, error) {
	return s.redo(ctx, "apply lane "+lane.String(), func(ctx context.Context, wait bool) (contact.AppliedBatch, error) {
		b := s.newBatch(lane, entries)
		tx, err := s.beginLane(ctx, lane, wait)
		if err != nil {
			return contact.AppliedBatch{}, err
		}
		defer tx.rollback(ctx)

		if err := tx.lockAndRead(ctx, b); err != nil {
			return contact.AppliedBatch{}, err
		}
		failpoint.Hit("apply.locked")
		alone := failpoint.Begin(lane)
		if err := s.recheckFirst(ctx, tx, b); err != nil {
			return contact.AppliedBatch{}, err
		}
		if err := tx.dropKnown(ctx, b); err != nil {
			return contact.AppliedBatch{}, err
		}
		if err := tx.readChangedSince(ctx, b); err != nil {
			return contact.AppliedBatch{}, err
		}
		if err := b.fold(); err != nil {
			return contact.AppliedBatch{}, err
		}
		failpoint.Hit("apply.folded")
		if err := tx.write(ctx, b); err != nil {
			return contact.AppliedBatch{}, err
		}
		failpoint.Hit("apply.before_commit")
		alone.Ending()
		if err := tx.commit(ctx); err != nil {
			return contact.AppliedBatch{}, err
		}
		alone.Committed()
		failpoint.Hit("apply.after_commit")
		s.alarmStale(ctx, b)
		if err := s.recheckGiven(ctx, lane, b.last(), b.folded.Given); err != nil {
			return contact.AppliedBatch{}, err
		}
		return b.applied(), nil
	})
}
