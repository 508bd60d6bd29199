package store

import (
	"context"
	"time"

	"patchlane/tasks/contact"
)

// What retention emptied, the ledger cannot recognise any more. An entry that
// stands at or below the committed offset was applied when the offset passed it;
// if its id is older than the ledger, it is an old entry that came back, with a
// Redis that was restored from an old file, and it is dropped with an alarm
// instead of being applied a second time. An id that is young enough is looked
// for in the ledger, which decides; and so does an entry above the offset, which
// waited longer than the ledger reaches back and was never applied.

const keptFromSQL = `SELECT writes_kept_from FROM meta`

// dropKnown leaves the entries that were never applied.
func (t *laneTx) dropKnown(ctx context.Context, b *batch) error {
	if err := t.findStale(ctx, b); err != nil {
		return err
	}
	b.dropKnown()
	return nil
}

// findStale marks the entries that the ledger may have forgotten. What it read
// of the ledger before holds: a partition that was read cannot be emptied before
// this transaction ends, and the moment is committed before anything goes.
func (t *laneTx) findStale(ctx context.Context, b *batch) error {
	if !fenced || !b.mayBeStale() {
		return nil
	}
	ctx, cancel := withDeadline(ctx, stepRead, stepTimeout)
	defer cancel()
	var from *time.Time
	if err := t.tx.QueryRow(ctx, keptFromSQL).Scan(&from); err != nil {
		return stepError(ctx, "read how far the ledger reaches back", err)
	}
	if from == nil {
		return nil
	}
	for i := range b.entries {
		if e := &b.entries[i]; b.unknownBelow(e) && contact.TimeOfWrite(e.ID).Before(*from) {
			b.forget(e)
		}
	}
	return nil
}

// mayBeStale tells whether an entry that the offset has passed is not in the
// ledger, which is rare.
func (b *batch) mayBeStale() bool {
	for i := range b.entries {
		if b.unknownBelow(&b.entries[i]) {
			return true
		}
	}
	return false
}

// unknownBelow tells whether the offset has passed an entry that the ledger does
// not know. Events are known by a table of their own.
func (b *batch) unknownBelow(e *contact.Entry) bool {
	_, known := b.known[contact.WriteRef{Account: e.Account, ID: e.ID}]
	return !known && e.Event == nil && e.Compare(b.old) <= 0
}

// forget makes an entry known, with an outcome that says nothing but that
// nothing was done now. Its time is the acceptance, so that nobody takes it for
// an outcome of this batch.
func (b *batch) forget(e *contact.Entry) {
	b.stale = append(b.stale, e.ID)
	o := contact.Outcome{
		WriteID: e.ID, Ref: e.Ref(), Kind: e.Kind, State: contact.Unchanged, Changes: []contact.Change{},
		AcceptedAt: e.AcceptedAt, AppliedAt: e.AcceptedAt,
	}
	b.known[contact.WriteRef{Account: e.Account, ID: e.ID}] = contact.Record{Outcome: o, Source: e.Source, Actor: e.Actor}
}

// alarmStale reports what was dropped, after the commit.
func (s *Store) alarmStale(ctx context.Context, b *batch) {
	if len(b.stale) == 0 {
		return
	}
	s.metrics.stale.Add(float64(len(b.stale)))
	s.logger.ErrorContext(ctx, "entries older than the ledger came back and were dropped: redis was restored from an old file",
		"lane", b.lane.String(), "entries", len(b.stale), "first", b.stale[0].String())
}
