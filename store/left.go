package store

import (
	"time"

	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

const (
	// insertLeftSQL also drops twice as many rows that were kept long enough,
	// without waiting for another batch that does the same.
	insertLeftSQL = `WITH old AS (
			SELECT ctid FROM left_addresses WHERE kept_since < now() - interval '7 days'
			ORDER BY kept_since LIMIT 2 * cardinality($1::uuid[]) FOR UPDATE SKIP LOCKED),
		gone AS (DELETE FROM left_addresses l USING old WHERE l.ctid = old.ctid)
		INSERT INTO left_addresses (account_id, channel, address, contact_id, left_at, given)
		SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::timestamptz[], $6::bigint[])
		ON CONFLICT DO NOTHING`

	leftSQL = `SELECT l.account_id, l.channel, l.address, l.contact_id, l.left_at, l.given
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[]) AS k (account_id, channel, address, contact_id)
		JOIN left_addresses l ON l.account_id = k.account_id AND l.channel = k.channel
			AND l.address = k.address AND l.contact_id = k.contact_id`
)

// leftArgs are the columns of the addresses that contacts left.
func leftArgs(left []contact.Left) []any {
	n := len(left)
	addresses, ids := make([]contact.Address, n), make(idColumn, n)
	at, given := make([]time.Time, n), make([]int64, n)
	for i := range left {
		addresses[i], ids[i] = left[i].Address, idValue(left[i].Contact.ID)
		at[i], given[i] = time.UnixMicro(left[i].At), left[i].Given
	}
	return append(addressArgs(addresses), ids, at, given)
}

// scanLeft reads the columns of leftSQL.
func scanLeft(row pgx.CollectableRow) (contact.Left, error) {
	var l contact.Left
	var channel string
	var at time.Time
	err := row.Scan(scanID(&l.Account), &channel, &l.Key, scanID(&l.Contact.ID), &at, &l.Given)
	l.Channel, _ = contact.ParseChannel(channel)
	l.Contact.Account, l.At = l.Account, at.UnixMicro()
	return l, err
}
