package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// previewTimeout bounds one preview of some hundreds of retries.
const previewTimeout = 10 * time.Second

const previewSQL = `SELECT ` + failureColumns + `, f.payload, f.accepted_at, f.discarded_at IS NOT NULL, f.retry_sent, now()
	FROM unnest($1::uuid[], $2::uuid[]) AS k (account_id, id)
	JOIN failed_writes f ON f.account_id = k.account_id AND f.id = k.id
	JOIN writes w ON w.account_id = f.account_id AND w.id = f.id
	ORDER BY ` + originSQL + `, f.id`

// PreviewRetries tells what would become of failed writes if they were retried
// now, one after the other in the order of retries: by the very fold that would
// apply them, against the contacts as they are, in a transaction that only reads.
// What waits in the lanes is not known here, nor what Postgres itself would refuse
// (data_error). Ids that are none of failed writes have no preview.
func (s *Store) PreviewRetries(ctx context.Context, refs []contact.WriteRef, force bool) ([]contact.RetryPreview, error) {
	ctx, cancel := context.WithTimeout(ctx, previewTimeout)
	defer cancel()
	p, err := s.play(ctx, refs, force)
	if err != nil {
		return nil, readError("preview retries", err)
	}
	return p.list, nil
}

// play plays the retries in one transaction that only reads.
func (s *Store) play(ctx context.Context, refs []contact.WriteRef, force bool) (*preview, error) {
	p := &preview{batch: s.newBatch(contact.Lane{}, nil), force: force}
	tx, err := s.read.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := p.read(ctx, tx, refs); err != nil {
		return nil, err
	}
	p.fold()
	return p, nil
}

// preview is one preview under way. Its batch is never written.
type preview struct {
	*batch
	force bool
	list  []contact.RetryPreview
	// places[i] is the place in list of the i-th entry of the batch.
	places []int
}

func (p *preview) read(ctx context.Context, tx pgx.Tx, refs []contact.WriteRef) error {
	if err := p.readFailures(ctx, tx, refs); err != nil || len(p.entries) == 0 {
		return err
	}
	q := &pgx.Batch{}
	p.queueContacts(q, readContactsSQL)
	p.queueTaken(q)
	p.queueDefinitions(q)
	p.queueSuppressed(q)
	if err := tx.SendBatch(ctx, q).Close(); err != nil {
		return fmt.Errorf("read contacts: %w", err)
	}
	var err error
	p.changed, err = changedSince(ctx, tx, p.entries)
	return err
}

// readFailures makes an entry of each failed write.
func (p *preview) readFailures(ctx context.Context, tx pgx.Tx, refs []contact.WriteRef) error {
	accounts, ids := make(idColumn, len(refs)), make(idColumn, len(refs))
	for i, ref := range refs {
		accounts[i], ids[i] = idValue(ref.Account), idValue(ref.ID)
	}
	rows, err := tx.Query(ctx, previewSQL, accounts, ids)
	if err != nil {
		return fmt.Errorf("read failures: %w", err)
	}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var f contact.Failure
		var kind string
		var raw []byte
		var accepted time.Time
		var discarded, sent bool
		err := row.Scan(scanID(&f.Account), scanID(&f.ID), scanID(&f.Contact), &kind, (*string)(&f.Code), &f.Message,
			&f.Origin, &f.FailedAt, &f.Claimed, &raw, &accepted, &discarded, &sent, &p.now)
		if err != nil {
			return struct{}{}, fmt.Errorf("scan failure: %w", err)
		}
		f.Kind, f.Origin, f.FailedAt, p.now = kindOf(kind), f.Origin.UTC(), f.FailedAt.UTC(), p.now.UTC()
		p.add(&f, raw, accepted.UTC(), discarded, sent)
		return struct{}{}, nil
	})
	return err
}

// add takes one failed write up, or tells why it cannot be retried.
func (p *preview) add(f *contact.Failure, raw []byte, accepted time.Time, discarded, sent bool) {
	again := contact.FailedWrite{WriteRef: f.WriteRef, Raw: raw, AcceptedAt: accepted, RetryID: f.ID}
	w, err := again.Repeat(p.force)
	r := contact.RetryPreview{Failure: *f, Write: w}
	switch {
	case discarded:
		r.Refused = "It was discarded."
	case sent:
		r.Refused = "It was retried already."
	case f.Kind == contact.KindConsent:
		r.Refused = "It is an event about an address, which is not repeated."
	case err != nil:
		r.Refused = "It cannot be read."
	default:
		w.AcceptedAt = p.now
		p.entries = append(p.entries, contact.Entry{Write: w})
		p.places = append(p.places, len(p.list))
	}
	p.list = append(p.list, r)
}

// fold folds the entries as the drains would: where the fold cuts, the next one
// begins with what the one before left.
func (p *preview) fold() {
	in := contact.Batch{
		Now: p.now, NotesLimit: p.limits.notes, Contacts: p.contacts, ConsentLock: p.consentLock,
		Taken: p.isTaken, ChangedSince: p.changed, Definitions: p.definitions, Suppressed: p.suppressed,
	}
	for done := 0; done < len(p.entries); {
		out := in.Fold(p.entries[done:])
		for i := range out.Outcomes {
			p.list[p.places[done+i]].Outcome = out.Outcomes[i]
		}
		for _, c := range out.Created {
			p.settle(c.Contact)
		}
		for _, c := range out.Updated {
			p.settle(c.Contact)
		}
		done += out.Consumed
	}
}

// settle takes a contact over as it would be stored.
func (p *preview) settle(c *contact.Contact) {
	p.contacts[c.Ref] = c
	for key, owner := range p.taken {
		if key.account == c.Account && owner == c.ID {
			delete(p.taken, key)
		}
	}
	if c.ArchivedAt != nil {
		return
	}
	for _, f := range []contact.Field{contact.Email, contact.ExternalID} {
		v := c.Text[f]
		switch {
		case v == nil:
		case f == contact.Email:
			p.taken[takenKey{c.Account, f, contact.EmailKey(*v)}] = c.ID
		default:
			p.taken[takenKey{c.Account, f, *v}] = c.ID
		}
	}
}
