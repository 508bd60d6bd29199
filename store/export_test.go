package store

import (
	"context"
	"time"

	"patchlane/tasks/contact"
)

// WriteAndRollBack runs every step of an Apply but the commit.
func WriteAndRollBack(ctx context.Context, s *Store, lane contact.Lane, entries []contact.Entry) error {
	return s.stepsUntilWrite(ctx, lane, entries, func(*batch) {})
}

// ApplyOverStaleOffset is an Apply whose lane moved after it was read.
func ApplyOverStaleOffset(ctx context.Context, s *Store, lane contact.Lane, entries []contact.Entry) error {
	return s.stepsUntilWrite(ctx, lane, entries, func(b *batch) { b.oldText = "1-1" })
}

func (s *Store) stepsUntilWrite(
	ctx context.Context, lane contact.Lane, entries []contact.Entry, change func(*batch),
) error {
	b := s.newBatch(lane, entries)
	tx, err := s.beginLane(ctx, lane, false)
	if err != nil {
		return err
	}
	defer tx.rollback(ctx)
	if err := tx.lockAndRead(ctx, b); err != nil {
		return err
	}
	change(b)
	b.dropKnown()
	if err := b.fold(); err != nil {
		return err
	}
	return tx.write(ctx, b)
}

// HearOnly is the first transaction of a batch of events, and then the death of
// the process.
func HearOnly(ctx context.Context, s *Store, lane contact.Lane, entries []contact.Entry) error {
	_, err := s.Optouts().hear(ctx, lane, entries)
	return err
}

// ApplyAndDie is an Apply whose process dies right after the commit.
func ApplyAndDie(ctx context.Context, s *Store, lane contact.Lane, entries []contact.Entry) error {
	b := s.newBatch(lane, entries)
	tx, err := s.beginLane(ctx, lane, false)
	if err != nil {
		return err
	}
	defer tx.rollback(ctx)
	if err := tx.lockAndRead(ctx, b); err != nil {
		return err
	}
	if err := s.recheckFirst(ctx, tx, b); err != nil {
		return err
	}
	b.dropKnown()
	if err := b.fold(); err != nil {
		return err
	}
	if err := tx.write(ctx, b); err != nil {
		return err
	}
	return tx.commit(ctx)
}

// Rechecked is what a step says that only made the look which was owed.
var Rechecked = errRechecked.Error()

// Hasty makes a Keeper give up soon.
func Hasty(k *Keeper) *Keeper {
	k.patience.tries, k.patience.pause = 3, 10*time.Millisecond
	return k
}

// ErrBusy is what a Keeper says that found the ledger in use.
var ErrBusy = errBusy
