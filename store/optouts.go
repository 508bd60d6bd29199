package store

import (
	"context"
	"errors"

	"patchlane/tasks/contact"
	"patchlane/tasks/failpoint"
)

// Optouts applies the entries of address lanes. It has the methods by which a
// drain applies writes, with the same promises.
type Optouts struct{ *Store }

// Optouts returns the side of the store that address lanes are drained into.
func (s *Store) Optouts() Optouts { return Optouts{s} }

// Apply commits a batch of events: which of them are new and what they mean
// for their addresses; then what they do to every contact that has, or lately
// had, such an address; with the last of these the lane's offset.
//
// These are transactions of their own, because a write that gives a contact an
// address looks for a suppression and an event looks for contacts: the event
// commits its suppression first, so whatever the order of the two, one sees the
// other. What an event does is fixed by the first transaction, and doing it to
// a contact again changes nothing, so a drain may die between any two of them.
// Repeating a batch is harmless; the errors are those of Store.Apply.
func (o Optouts) Apply(
	ctx context.Context, lane contact.Lane, entries []contact.Entry,
) (contact.AppliedBatch, error) {
	h, err := o.hear(ctx, lane, entries)
	if err != nil {
		return contact.AppliedBatch{}, err
	}
	failpoint.Hit("optouts.heard")
	chunks, err := o.find(ctx, h)
	if err != nil {
		return contact.AppliedBatch{}, err
	}
	last := len(chunks) - 1
	for _, touches := range chunks[:last] {
		if err := o.reach(ctx, h, touches); err != nil {
			return contact.AppliedBatch{}, err
		}
		failpoint.Hit("optouts.reached")
	}
	applied, err := o.settle(ctx, h, chunks[last])
	if err == nil {
		failpoint.Hit("optouts.settled")
		o.countResults(h)
	}
	return applied, err
}

// hear is the first transaction: the events that are new, and the suppressions
// as they are after them.
func (o Optouts) hear(ctx context.Context, lane contact.Lane, entries []contact.Entry) (h *hearing, err error) {
	_, err = o.redo(ctx, "hear events of lane "+lane.String(),
		func(ctx context.Context, wait bool) (none contact.AppliedBatch, err error) {
			h = newHearing(o.newBatch(lane, entries))
			tx, err := o.beginLane(ctx, lane, wait)
			if err != nil {
				return none, err
			}
			defer tx.rollback(ctx)
			if err := tx.roundTrip(ctx, h.batch, h.queue); err != nil {
				return none, err
			}
			h.hear()
			list := h.statements()
			if len(list) == 0 {
				return none, nil
			}
			if err := tx.run(ctx, list); err != nil {
				return none, err
			}
			failpoint.Hit("optouts.before_heard")
			return none, tx.commit(ctx)
		})
	return h, err
}

// reach applies the events to some of very many contacts.
func (o Optouts) reach(ctx context.Context, h *hearing, touches []contact.Touch) error {
	_, err := o.redo(ctx, "reach contacts from lane "+h.lane.String(),
		func(ctx context.Context, wait bool) (none contact.AppliedBatch, err error) {
			tx, err := o.beginLane(ctx, h.lane, wait)
			if err != nil {
				return none, err
			}
			defer tx.rollback(ctx)
			if err := h.relock(ctx, tx); err != nil {
				return none, err
			}
			if _, err := tx.project(ctx, touches); err != nil {
				return none, err
			}
			return none, tx.commit(ctx)
		})
	return err
}

// settle is the last transaction: the rest of the contacts, the entries that
// nobody can read, and the lane's offset.
func (o Optouts) settle(
	ctx context.Context, h *hearing, touches []contact.Touch,
) (contact.AppliedBatch, error) {
	return o.redo(ctx, "apply lane "+h.lane.String(),
		func(ctx context.Context, wait bool) (none contact.AppliedBatch, err error) {
			tx, err := o.beginLane(ctx, h.lane, wait)
			if err != nil {
				return none, err
			}
			defer tx.rollback(ctx)
			unread := o.newBatch(h.lane, h.unread())
			if err := tx.roundTrip(ctx, unread, unread.queueLedger); err != nil {
				return none, err
			}
			unread.dropKnown()
			unread.failAll(&contact.DataError{Code: contact.CodeUnreadable, Err: errNoEvent})
			if unread.oldText != h.oldText {
				return h.moved(unread, wait)
			}
			if len(touches) > 0 {
				if _, err := tx.project(ctx, touches); err != nil {
					return none, err
				}
			}
			if err := tx.run(ctx, h.settlement(unread)); err != nil {
				return none, err
			}
			failpoint.Hit("optouts.before_settled")
			if err := tx.commit(ctx); err != nil {
				return none, err
			}
			return h.applied(unread), nil
		})
}

// moved tells what it means that the offset is not where the batch began: of a
// commit whose answer was lost, that it took place; else another drain has the
// lane.
func (h *hearing) moved(unread *batch, wait bool) (contact.AppliedBatch, error) {
	if wait && unread.old == h.last() {
		return h.applied(unread), nil
	}
	return contact.AppliedBatch{}, contact.ErrFenced
}

// errNoEvent is why an entry of an address lane is a failure.
var errNoEvent = errors.New("the entry is no event")
