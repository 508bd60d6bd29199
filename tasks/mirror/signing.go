package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

const signingKey = "mirror:signing"

// PutSigningKeys stores the public halves of the keys that sign access tokens.
// The private ones are not in Redis: who reads it could sign tokens for every
// API key.
func (m *Mirror) PutSigningKeys(ctx context.Context, keys []contact.SigningKey) error {
	b, err := json.Marshal(keys)
	if err != nil {
		return fmt.Errorf("mirror signing keys: %w", err)
	}
	if err := m.rdb.Set(ctx, signingKey, b, 0).Err(); err != nil {
		return fmt.Errorf("mirror signing keys: %w", err)
	}
	return nil
}

// SigningKeys returns the public halves; none: the mirror does not know them.
func (m *Mirror) SigningKeys(ctx context.Context) ([]contact.SigningKey, error) {
	b, err := m.rdb.Get(ctx, signingKey).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	var keys []contact.SigningKey
	if err := json.Unmarshal(b, &keys); err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	return keys, nil
}
