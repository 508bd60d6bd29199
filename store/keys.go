package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"patchlane/tasks/contact"
)

// keyRow is the row of an API key.
type keyRow struct {
	bun.BaseModel `bun:"table:api_keys"`

	ID        uuid.UUID  `bun:"id,pk,type:uuid"`
	AccountID uuid.UUID  `bun:"account_id,type:uuid"`
	Hash      []byte     `bun:"hash,type:bytea"`
	Prefix    string     `bun:"prefix"`
	Dialect   string     `bun:"dialect"`
	Scopes    []string   `bun:"scopes,array"`
	PerMinute int        `bun:"per_minute"`
	PerDay    int        `bun:"per_day"`
	ExpiresAt *time.Time `bun:"expires_at"`
	RevokedAt *time.Time `bun:"revoked_at"`
	CreatedAt time.Time  `bun:"created_at,nullzero,default:now()"`
	ChangedAt time.Time  `bun:"changed_at,nullzero,default:now()"`
}

func (r *keyRow) key() contact.Key {
	k := contact.Key{
		ID: r.ID, Account: r.AccountID, Prefix: r.Prefix, Dialect: r.Dialect,
		PerMinute: r.PerMinute, PerDay: r.PerDay,
		ExpiresAt: utc(r.ExpiresAt), RevokedAt: utc(r.RevokedAt), CreatedAt: r.CreatedAt.UTC(),
	}
	copy(k.Hash[:], r.Hash)
	for _, scope := range r.Scopes {
		k.Scopes = append(k.Scopes, contact.Scope(scope))
	}
	return k
}

// CreateKey stores the record of a key. The account must exist.
func (s *Store) CreateKey(ctx context.Context, k contact.Key) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	row := keyRow{
		ID: k.ID, AccountID: k.Account, Hash: k.Hash[:], Prefix: k.Prefix, Dialect: k.Dialect,
		Scopes: make([]string, 0, len(k.Scopes)), PerMinute: k.PerMinute, PerDay: k.PerDay,
		ExpiresAt: k.ExpiresAt, RevokedAt: k.RevokedAt, CreatedAt: k.CreatedAt,
	}
	for _, scope := range k.Scopes {
		row.Scopes = append(row.Scopes, string(scope))
	}
	_, err := s.records.NewInsert().Model(&row).Exec(ctx)
	if sqlState(err) == stateForeignKey {
		return &contact.Error{Code: contact.CodeNotFound, Message: "there is no such account", Err: err}
	}
	return readError("create key", err)
}

// Key looks a key up by the sha-256 of the credential. Revoked and expired
// keys are returned too: whether a key may be used is for Key.Live to say.
func (s *Store) Key(ctx context.Context, hash [32]byte) (contact.Key, error) {
	return s.oneKey(ctx, "hash = ?", hash[:])
}

// KeyByID looks a key up by its id.
func (s *Store) KeyByID(ctx context.Context, id uuid.UUID) (contact.Key, error) {
	return s.oneKey(ctx, "id = ?", id)
}

func (s *Store) oneKey(ctx context.Context, where string, arg any) (contact.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var row keyRow
	if err := s.records.NewSelect().Model(&row).Where(where, arg).Scan(ctx); err != nil {
		return contact.Key{}, readError("read key", err)
	}
	return row.key(), nil
}

// RevokeKey marks a key as revoked. A key that is revoked already keeps its
// first moment.
func (s *Store) RevokeKey(ctx context.Context, id uuid.UUID, at time.Time) (contact.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var row keyRow
	err := s.records.NewUpdate().Model(&row).
		Set("revoked_at = coalesce(revoked_at, ?)", at).Set("changed_at = clock_timestamp()").
		Where("id = ?", id).Returning("?Columns").Scan(ctx)
	if err != nil {
		return contact.Key{}, readError("revoke key", err)
	}
	return row.key(), nil
}

// KeysChangedSince lists the keys created or revoked at t, by the database's
// clock, or later. A caller overlaps its looks by more than its clock may
// differ.
func (s *Store) KeysChangedSince(ctx context.Context, t time.Time) ([]contact.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var rows []keyRow
	err := s.records.NewSelect().Model(&rows).Where("changed_at >= ?", t).
		Order("changed_at").Scan(ctx)
	if err != nil {
		return nil, readError("read changed keys", err)
	}
	keys := make([]contact.Key, len(rows))
	for i := range rows {
		keys[i] = rows[i].key()
	}
	return keys, nil
}

// utc shows a moment in UTC; nil stays nil.
func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
