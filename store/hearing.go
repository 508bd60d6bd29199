package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

const (
	knownEventsSQL = `SELECT w.account_id, w.dedup, w.id, w.result, w.opts_out, w.undoes, w.applied_at, w.done
		FROM unnest($1::uuid[], $2::bytea[]) AS k (account_id, dedup)
		JOIN webhook_events w ON w.account_id = k.account_id AND w.dedup = k.dedup`

	addressesSQL = `SELECT s.account_id, s.channel, s.address, s.clock, s.events
		FROM unnest($1::uuid[], $2::text[], $3::text[]) AS k (account_id, channel, address)
		JOIN suppressions s ON s.account_id = k.account_id AND s.channel = k.channel AND s.address = k.address`

	// resultDuplicate is what becomes of a report of a known event. Nothing is
	// stored of it.
	resultDuplicate = "duplicate"
)

// hearing is a batch of events and what becomes of each.
type hearing struct {
	*batch
	reports []report
	known   map[eventRef]*report
	// addresses are the suppressions as they are after the events, and changed
	// those that the events changed, in order.
	addresses map[contact.Address]*contact.Suppression
	changed   []*contact.Suppression
}

// eventRef is what two reports of one event have in common.
type eventRef struct {
	account uuid.UUID
	key     contact.EventKey
}

// report is one entry of the batch.
type report struct {
	event *contact.Event // nil: unreadable
	// id is that of the event which counts: another one for a duplicate.
	id      uuid.UUID
	result  string
	effect  contact.Effect
	applied time.Time
	// fresh: this batch stores it. done: its contacts were all looked at. twin:
	// the same entry stands earlier in the batch.
	fresh, done, twin bool
}

func newHearing(b *batch) *hearing {
	return &hearing{
		batch: b, reports: make([]report, len(b.entries)), known: map[eventRef]*report{},
		addresses: map[contact.Address]*contact.Suppression{},
	}
}

// queue asks what is known of the events and of their addresses.
func (h *hearing) queue(q *pgx.Batch) {
	var accounts idColumn
	var keys [][]byte
	var addresses []contact.Address
	asked := map[contact.Address]bool{}
	for i := range h.entries {
		e := h.entries[i].Event
		if e == nil {
			continue
		}
		accounts, keys = append(accounts, idValue(e.Account)), append(keys, e.Dedup[:])
		if a := e.About(); !asked[a] {
			asked[a] = true
			addresses = append(addresses, a)
		}
	}
	q.Queue(knownEventsSQL, accounts, keys).Query(h.readKnown)
	spelled := h.spell(addresses)
	q.Queue(addressesSQL, addressArgs(spelled.all)...).Query(func(rows pgx.Rows) error {
		found, err := spelled.collect(rows)
		if err != nil {
			return dataError("read suppressions", err)
		}
		for a, s := range found {
			h.addresses[a] = &s
		}
		return nil
	})
}

func (h *hearing) readKnown(rows pgx.Rows) error {
	defer rows.Close()
	for rows.Next() {
		var ref eventRef
		var r report
		var key []byte
		var undoes int32
		err := rows.Scan(scanID(&ref.account), &key, scanID(&r.id), &r.result, &r.effect.Out, &undoes, &r.applied, &r.done)
		if err != nil {
			return fmt.Errorf("read known events: %w", err)
		}
		copy(ref.key[:], key)
		r.effect.Undoes, r.applied = contact.Causes(undoes), r.applied.UTC() //nolint:gosec // NumCauses bits
		h.known[ref] = &r
	}
	return wrap("read known events", rows.Err())
}

// hear finds out, entry by entry in order, what becomes of each.
func (h *hearing) hear() {
	touched := map[*contact.Suppression]bool{}
	for i := range h.entries {
		r := &h.reports[i]
		if r.event = h.entries[i].Event; r.event == nil || h.entries[i].Poison != nil {
			r.event = nil
			continue
		}
		ref := eventRef{r.event.Account, r.event.Dedup}
		if first := h.known[ref]; first != nil {
			r.repeat(first, h.now)
			continue
		}
		s := h.address(r.event.About())
		before := s.Clock
		r.id, r.applied, r.fresh = r.event.ID, h.now, true
		r.effect = s.Hear(r.event)
		r.result = r.event.Result(r.effect)
		if before != s.Clock && !touched[s] {
			touched[s] = true
			h.changed = append(h.changed, s)
		}
		h.known[ref] = r
	}
}

// repeat makes the report of an event that is known: the very same entry, whose
// contacts may still have to be looked at, or another report of the event.
func (r *report) repeat(first *report, now time.Time) {
	if first.id != r.event.ID {
		r.id, r.result, r.applied, r.done = first.id, resultDuplicate, now, true
		return
	}
	r.id, r.result, r.applied, r.done = first.id, first.result, first.applied, first.done
	r.twin = first.event != nil
	r.effect = r.event.Effect(first.effect.Out, first.effect.Undoes)
	if !r.twin {
		// A later twin in the batch finds this entry instead.
		first.event = r.event
	}
}

// address returns the suppression of an address, a new one if there is none.
func (h *hearing) address(a contact.Address) *contact.Suppression {
	s := h.addresses[a]
	if s == nil {
		s = &contact.Suppression{Address: a}
		h.addresses[a] = s
	}
	return s
}

// effective lists the reports whose contacts are to be looked at.
func (h *hearing) effective() []*report {
	var list []*report
	for i := range h.reports {
		r := &h.reports[i]
		if r.event != nil && !r.done && !r.twin && !r.effect.None() {
			list = append(list, r)
		}
	}
	return list
}

// unread lists the entries that are no events.
func (h *hearing) unread() []contact.Entry {
	var list []contact.Entry
	for i := range h.reports {
		if h.reports[i].event == nil {
			list = append(list, h.entries[i])
		}
	}
	return list
}

// relock takes the lane again and makes sure that nobody had it meanwhile.
func (h *hearing) relock(ctx context.Context, tx *laneTx) error {
	again := &batch{lane: h.lane, metrics: h.metrics}
	if err := tx.roundTrip(ctx, again, func(*pgx.Batch) {}); err != nil {
		return err
	}
	if again.oldText != h.oldText {
		return contact.ErrFenced
	}
	return nil
}

// applied reports the outcome of every entry.
func (h *hearing) applied(unread *batch) contact.AppliedBatch {
	failed := unread.applied()
	out := contact.AppliedBatch{
		Consumed: len(h.entries), Outcomes: make([]contact.Outcome, 0, len(h.entries)), Replays: failed.Replays,
	}
	for i := range h.reports {
		r := &h.reports[i]
		if r.event == nil {
			out.Outcomes = append(out.Outcomes, failed.Outcomes[0])
			failed.Outcomes = failed.Outcomes[1:]
			continue
		}
		if r.twin || (!r.fresh && r.done && r.result != resultDuplicate) {
			out.Replays++
		}
		out.Outcomes = append(out.Outcomes, r.outcome())
	}
	return out
}

func (r *report) outcome() contact.Outcome {
	o := contact.Outcome{
		WriteID: r.event.ID, Ref: contact.Ref{Account: r.event.Account, ID: r.event.Contact}, Kind: contact.KindConsent,
		State: contact.Unchanged, Changes: []contact.Change{}, SourceEvent: r.id.String(),
		AcceptedAt: r.event.AcceptedAt, AppliedAt: r.applied,
	}
	if r.result == contact.ResultApplied {
		o.State = contact.Applied
	}
	return o
}

// countResults counts what became of the events of a settled batch, each once.
func (o Optouts) countResults(h *hearing) {
	for i := range h.reports {
		r := &h.reports[i]
		if r.event != nil && !r.twin && (r.fresh || r.result == resultDuplicate) {
			o.metrics.event(r.event.Provider, r.result)
		}
	}
}
