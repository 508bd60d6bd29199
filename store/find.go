package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// reachContacts is how many contacts one transaction changes at most: some
// hundredths of a second, so that a number shared by very many does not hold
// their rows for long.
const reachContacts = 500

// findContactsSQL finds who may be concerned by the n-th event: who has its
// address, archived ones too, who had it lately, and whom it names. Each half
// of the e-mail look-up names one of the partial indexes.
const findContactsSQL = `SELECT k.n, c.account_id, c.id
		FROM unnest($1::integer[], $2::uuid[], $3::text[], $4::text[]) AS k (n, account_id, channel, address)
		JOIN contacts c ON c.account_id = k.account_id AND c.email_key = k.address
		WHERE k.channel = 'email' AND c.archived_at IS NULL
	UNION SELECT k.n, c.account_id, c.id
		FROM unnest($1::integer[], $2::uuid[], $3::text[], $4::text[]) AS k (n, account_id, channel, address)
		JOIN contacts c ON c.account_id = k.account_id AND c.email_key = k.address
		WHERE k.channel = 'email' AND c.archived_at IS NOT NULL
	UNION SELECT k.n, c.account_id, c.id
		FROM unnest($1::integer[], $2::uuid[], $3::text[], $4::text[]) AS k (n, account_id, channel, address)
		JOIN contacts c ON c.account_id = k.account_id AND c.phone_key = k.address
		WHERE k.channel = 'sms'
	UNION SELECT k.n, l.account_id, l.contact_id
		FROM unnest($1::integer[], $2::uuid[], $3::text[], $4::text[]) AS k (n, account_id, channel, address)
		JOIN left_addresses l ON l.account_id = k.account_id AND l.channel = k.channel AND l.address = k.address
	UNION SELECT k.n, c.account_id, c.id
		FROM unnest($1::integer[], $2::uuid[], $5::uuid[]) AS k (n, account_id, contact_id)
		JOIN contacts c ON c.account_id = k.account_id AND c.id = k.contact_id
	ORDER BY 3, 2, 1`

// find lists the touches of the batch in chunks of so many contacts, in the
// order in which contacts are locked. There is always one chunk, if an empty
// one.
func (o Optouts) find(ctx context.Context, h *hearing) ([][]contact.Touch, error) {
	reports := h.effective()
	if len(reports) == 0 {
		return [][]contact.Touch{nil}, nil
	}
	defer func(since time.Time) {
		o.metrics.step.WithLabelValues(stepFind).Observe(time.Since(since).Seconds())
	}(time.Now())
	ctx, cancel := withDeadline(ctx, stepFind, stepTimeout)
	defer cancel()
	rows, err := o.events.Query(ctx, findContactsSQL, findArgs(reports)...)
	if err != nil {
		return nil, stepError(ctx, stepFind, err)
	}
	var chunk []contact.Touch
	chunks := make([][]contact.Touch, 0, 1)
	var n int32
	var ref, last contact.Ref
	contacts := 0
	_, err = pgx.ForEachRow(rows, []any{&n, scanID(&ref.Account), scanID(&ref.ID)}, func() error {
		if ref != last {
			contacts, last = contacts+1, ref
		}
		if contacts > reachContacts {
			chunks, chunk, contacts = append(chunks, chunk), nil, 1
		}
		chunk = append(chunk, contact.Touch{Contact: ref, Event: reports[n].event, Effect: reports[n].effect})
		return nil
	})
	if err != nil {
		return nil, stepError(ctx, stepFind, dataError("find contacts", err))
	}
	return append(chunks, chunk), nil
}

// findArgs are the columns of findContactsSQL.
func findArgs(reports []*report) []any {
	at, contacts := make([]int32, len(reports)), make(idColumn, len(reports))
	addresses := make([]contact.Address, len(reports))
	for i, r := range reports {
		at[i] = int32(i)
		addresses[i], contacts[i] = r.event.About(), idOrNull(r.event.Contact)
	}
	return append(append([]any{at}, addressArgs(addresses)...), contacts)
}
