package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// An erasure comes through the contact's lane: Apply takes the contact away and
// leaves its id in erased_contacts, all in the transaction of its batch. From
// then on no write brings a value of it back, and what remains elsewhere is taken
// out by FinishErasures, which may die at any place and be repeated.

const (
	erasedSQL = `SELECT e.account_id, e.id FROM unnest($1::uuid[], $2::uuid[]) AS k (account_id, id)
		JOIN erased_contacts e ON e.account_id = k.account_id AND e.id = k.id`

	eraseSQL = `WITH gone AS (DELETE FROM contacts WHERE account_id = $1 AND id = $2),
		l AS (DELETE FROM left_addresses WHERE account_id = $1 AND contact_id = $2 RETURNING channel, address)
		INSERT INTO erased_contacts (account_id, id, write_id, version, erased_at, addresses)
		VALUES ($1, $2, $3, $4, $5, $6::jsonb
			|| coalesce((SELECT jsonb_agg(jsonb_build_array(l.channel, l.address)) FROM l), '[]'))`

	discardSQL = `UPDATE failed_writes f SET discarded_at = $3
		FROM unnest($1::uuid[], $2::uuid[]) AS d (account_id, id)
		WHERE f.account_id = d.account_id AND f.id = d.id`
)

// queueErased asks which contacts of the entries were erased.
func (b *batch) queueErased(q *pgx.Batch) {
	seen := make(map[contact.Ref]bool, len(b.entries))
	accounts, ids := make(idColumn, 0, len(b.entries)), make(idColumn, 0, len(b.entries))
	for i := range b.entries {
		if ref := b.entries[i].Ref(); !seen[ref] {
			seen[ref] = true
			accounts, ids = append(accounts, idValue(ref.Account)), append(ids, idValue(ref.ID))
		}
	}
	q.Queue(erasedSQL, accounts, ids).Query(func(rows pgx.Rows) error {
		var ref contact.Ref
		_, err := pgx.ForEachRow(rows, []any{scanID(&ref.Account), scanID(&ref.ID)}, func() error {
			if b.erased == nil {
				b.erased = map[contact.Ref]bool{}
			}
			b.erased[ref] = true
			return nil
		})
		return wrap("look for erased contacts", err)
	})
}

// eraseStatement takes the contact away.
func eraseStatement(e *contact.Erased, now time.Time) statement {
	return statement{op: "erase contact", sql: eraseSQL, args: []any{
		e.Account, e.ID, e.WriteID, e.Version, now, *addressesJSON(e.Addresses),
	}}
}

// addressesJSON is what erased_contacts.addresses keeps.
func addressesJSON(list []contact.Address) *string {
	pairs := make([][2]string, len(list))
	for i, a := range list {
		pairs[i] = [2]string{a.Channel.String(), a.Key}
	}
	return jsonText(pairs)
}

// parseAddresses reads what addressesJSON wrote, each address once.
func parseAddresses(account uuid.UUID, b []byte) ([]contact.Address, error) {
	var pairs [][2]string
	if err := json.Unmarshal(b, &pairs); err != nil {
		return nil, fmt.Errorf("read erased addresses: %w", err)
	}
	var list []contact.Address
	seen := map[contact.Address]bool{}
	for _, p := range pairs {
		ch, known := contact.ParseChannel(p[0])
		a := contact.Address{Account: account, Channel: ch, Key: p[1]}
		if known && a.Key != "" && !seen[a] {
			seen[a] = true
			list = append(list, a)
		}
	}
	return list, nil
}

// discardErased gives up the failures of writes to erased contacts, whose
// payloads are not kept: there is nothing that a retry could do.
func (b *batch) discardErased() []statement {
	var accounts, ids idColumn
	for i := range b.folded.Outcomes {
		o, e := &b.folded.Outcomes[i], &b.work[i]
		if o.State == contact.Failed && b.erased[e.Ref()] {
			accounts, ids = append(accounts, idValue(o.Account)), append(ids, idValue(o.WriteID))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return []statement{{op: "discard writes to erased contacts", sql: discardSQL, args: []any{accounts, ids, b.now}}}
}

// Erasure returns what became of the erasure of a contact, or not_found when it
// was not erased.
func (s *Store) Erasure(ctx context.Context, ref contact.Ref) (contact.Erasure, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	e := contact.Erasure{Ref: ref}
	err := s.read.QueryRow(ctx, `SELECT write_id, erased_at, done_at FROM erased_contacts
		WHERE account_id = $1 AND id = $2`, ref.Account, ref.ID).Scan(scanID(&e.WriteID), &e.ErasedAt, &e.DoneAt)
	e.ErasedAt, e.DoneAt = e.ErasedAt.UTC(), utc(e.DoneAt)
	return e, readError("read erasure", err)
}

// Known tells whether anything is known of a contact: itself, or writes to it.
func (s *Store) Known(ctx context.Context, ref contact.Ref) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var known bool
	err := s.read.QueryRow(ctx, `SELECT EXISTS (SELECT FROM contacts WHERE account_id = $1 AND id = $2)
		OR EXISTS (SELECT FROM writes WHERE account_id = $1 AND contact_id = $2)`, ref.Account, ref.ID).Scan(&known)
	return known, readError("look for contact", err)
}
