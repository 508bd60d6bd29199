package store

import (
	"context"

	"patchlane/tasks/contact"
)

// Secret returns the secret of a name, which is the first that was ever offered
// for it: every process offers a new one and uses what it is given.
func (s *Store) Secret(ctx context.Context, name string, offered []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var secret []byte
	// DO UPDATE returns the row that stands; DO NOTHING would return none.
	err := s.read.QueryRow(ctx, `INSERT INTO secrets (name, secret) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING secret`, name, offered).Scan(&secret)
	if err != nil {
		return nil, readError("read secret", err)
	}
	if len(secret) == 0 {
		return nil, &contact.Error{Code: contact.CodeStoreUnavailable, Message: "The secret is empty."}
	}
	return secret, nil
}
