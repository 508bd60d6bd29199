package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// Contact returns a contact of an account, archived or not, or not_found.
func (s *Store) Contact(ctx context.Context, ref contact.Ref) (contact.Contact, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	row := s.read.QueryRow(ctx, `SELECT `+contactColumns+`
		FROM contacts c WHERE c.account_id = $1 AND c.id = $2`, ref.Account, ref.ID)
	c, err := scanContact(row)
	if err != nil {
		return contact.Contact{}, readError("read contact", err)
	}
	return c, nil
}

// ContactAsOf returns the contact as it was right after it got a version. A
// version that it has not, or not yet, is not_found.
func (s *Store) ContactAsOf(ctx context.Context, ref contact.Ref, version int64) (contact.Contact, error) {
	c, err := s.Contact(ctx, ref)
	if err != nil {
		return contact.Contact{}, err
	}
	if version < 1 || version > c.Version {
		return contact.Contact{}, notFound()
	}
	if version == c.Version {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	// The upper bound leaves out what was applied after the contact was read.
	// Nothing changes a row of the ledger, so both queries see one history. The
	// oldest of these rows is the version itself, whose time is wanted.
	rows, err := s.read.Query(ctx, `SELECT `+recordColumns+`, NULL::uuid, NULL::timestamptz
		FROM writes w
		WHERE w.account_id = $1 AND w.contact_id = $2 AND w.version >= $3 AND w.version <= $4
			AND w.state = 'applied'
		ORDER BY w.version DESC`, ref.Account, ref.ID, version, c.Version)
	if err != nil {
		return contact.Contact{}, readError("read later writes", err)
	}
	later, err := pgx.CollectRows(rows, scanRecord)
	if err != nil {
		return contact.Contact{}, readError("read later writes", err)
	}
	if n := len(later); n > 0 && later[n-1].Version == version {
		c.UpdatedAt, later = later[n-1].AppliedAt, later[:n-1]
	}
	contact.Rewind(&c, later)
	return c, nil
}

// Contacts returns a page of an account's contacts in the order of their ids.
func (s *Store) Contacts(ctx context.Context, q contact.ContactQuery) (contact.ContactPage, error) {
	var page contact.ContactPage
	if !storable(q.Email, q.Phone, q.ExternalID) {
		return page, nil
	}
	where := newConditions()
	where.add(`c.account_id = ?`, q.Account)
	// Together with one look-up this names the partial indexes to Postgres.
	active := `c.archived_at IS NULL`
	if q.IncludeArchived {
		active = `true`
	}
	if q.Email != nil {
		where.addEither(q.IncludeArchived, `c.email_key = ?`, contact.EmailKey(*q.Email))
	}
	if q.ExternalID != nil {
		where.addEither(q.IncludeArchived, `c.external_id = ?`, *q.ExternalID)
	}
	if q.Phone != nil {
		where.add(`c.phone_key = ? AND c.phone = ?`, phoneKey(*q.Phone), *q.Phone)
	}
	where.addText(active)
	backwards, err := addContactCursor(where, q.After)
	if err != nil {
		return page, err
	}
	order := ` ORDER BY c.id LIMIT `
	if backwards {
		order = ` ORDER BY c.id DESC LIMIT `
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, `SELECT `+contactColumns+` FROM contacts c WHERE `+where.text()+
		order+where.place(q.Limit+1), where.args...)
	if err != nil {
		return page, readError("list contacts", err)
	}
	if page.Contacts, err = pgx.CollectRows(rows, rowToContact); err != nil {
		return page, readError("list contacts", err)
	}
	more := len(page.Contacts) > q.Limit
	page.Contacts = page.Contacts[:min(len(page.Contacts), q.Limit)]
	if backwards {
		slices.Reverse(page.Contacts)
	}
	addNeighbours(&page, more || backwards, (backwards && more) || (!backwards && q.After != ""))
	return page, nil
}

// addNeighbours names the pages on either side of one that has rows.
func addNeighbours(page *contact.ContactPage, after, before bool) {
	n := len(page.Contacts)
	if n == 0 {
		return
	}
	if page.HasMore = after; after {
		page.Next = writeCursor(cursorContacts, page.Contacts[n-1].ID, 0)
	}
	if before {
		page.Prev = writeCursor(cursorBefore, page.Contacts[0].ID, 0)
	}
}

// addContactCursor continues a list where a page ended, or before where it
// began.
func addContactCursor(where *conditions, cursor string) (backwards bool, err error) {
	if cursor == "" {
		return false, nil
	}
	var id uuid.UUID
	if readCursor(cursor, cursorBefore, &id, nil) == nil {
		where.add(`c.id < ?`, id)
		return true, nil
	}
	if err := readCursor(cursor, cursorContacts, &id, nil); err != nil {
		return false, err
	}
	where.add(`c.id > ?`, id)
	return false, nil
}

// Existence tells for each of the refs, in their order, whether the contact is
// there. It is one round trip to the primary.
func (s *Store) Existence(ctx context.Context, refs []contact.Ref) ([]contact.Existence, error) {
	accounts, ids := make(idColumn, len(refs)), make(idColumn, len(refs))
	for i, ref := range refs {
		accounts[i], ids[i] = idValue(ref.Account), idValue(ref.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, `SELECT k.n, c.archived_at IS NOT NULL
		FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS k (account_id, id, n)
		JOIN contacts c ON c.account_id = k.account_id AND c.id = k.id`, accounts, ids)
	if err != nil {
		return nil, readError("look for contacts", err)
	}
	out := make([]contact.Existence, len(refs))
	var n int64
	var archived bool
	_, err = pgx.ForEachRow(rows, []any{&n, &archived}, func() error {
		if n < 1 || n > int64(len(out)) {
			return fmt.Errorf("row %d of %d", n, len(out))
		}
		out[n-1] = contact.Active
		if archived {
			out[n-1] = contact.Archived
		}
		return nil
	})
	if err != nil {
		return nil, readError("look for contacts", err)
	}
	return out, nil
}
