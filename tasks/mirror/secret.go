package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// secretKey names a secret of the installation.
func secretKey(name string) string { return "mirror:secret:" + name }

// PutSecret stores a secret of the installation.
func (m *Mirror) PutSecret(ctx context.Context, name string, secret []byte) error {
	if err := m.rdb.Set(ctx, secretKey(name), secret, 0).Err(); err != nil {
		return fmt.Errorf("mirror secret %s: %w", name, err)
	}
	return nil
}

// Secret returns a secret of the installation. False means that the mirror does
// not know it; Postgres may.
func (m *Mirror) Secret(ctx context.Context, name string) ([]byte, bool, error) {
	secret, err := m.rdb.Get(ctx, secretKey(name)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("look up secret %s: %w", name, err)
	}
	return secret, len(secret) > 0, nil
}
