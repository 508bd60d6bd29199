package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"patchlane/tasks/contact"
)

// signingKeyRow is the row of a key pair that signs access tokens.
type signingKeyRow struct {
	bun.BaseModel `bun:"table:signing_keys"`

	Generation int       `bun:"generation,pk"`
	Private    []byte    `bun:"private,type:bytea"`
	Public     []byte    `bun:"public,type:bytea"`
	CreatedAt  time.Time `bun:"created_at,nullzero,default:now()"`
}

// SigningKeys lists the key pairs, the newest first.
func (s *Store) SigningKeys(ctx context.Context) ([]contact.SigningKey, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var rows []signingKeyRow
	if err := s.records.NewSelect().Model(&rows).Order("generation DESC").Scan(ctx); err != nil {
		return nil, readError("read signing keys", err)
	}
	keys := make([]contact.SigningKey, len(rows))
	for i, r := range rows {
		keys[i] = contact.SigningKey{
			Generation: r.Generation, Private: r.Private, Public: r.Public, CreatedAt: r.CreatedAt.UTC(),
		}
	}
	return keys, nil
}

// AddSigningKey adds a key pair, unless there is one of its generation: when
// several processes make one at once, that of the first stands.
func (s *Store) AddSigningKey(ctx context.Context, k contact.SigningKey) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	row := signingKeyRow{Generation: k.Generation, Private: k.Private, Public: k.Public}
	_, err := s.records.NewInsert().Model(&row).On("CONFLICT (generation) DO NOTHING").Exec(ctx)
	return readError("add signing key", err)
}

// DropSigningKeys removes the key pairs older than a generation.
func (s *Store) DropSigningKeys(ctx context.Context, before int) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	_, err := s.records.NewDelete().Model((*signingKeyRow)(nil)).Where("generation < ?", before).Exec(ctx)
	return readError("drop signing keys", err)
}
