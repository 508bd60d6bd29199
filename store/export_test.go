package store

import (
	"context"

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
