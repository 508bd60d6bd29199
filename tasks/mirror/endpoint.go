package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

// endpointKey names the record of a webhook endpoint.
func endpointKey(id uuid.UUID) string { return "mirror:endpoint:" + id.String() }

// tokenKey names a one-time token of a provider; scope keeps the tokens of
// different endpoints apart.
func tokenKey(scope, token string) string {
	sum := sha256.Sum256([]byte(scope + "\x00" + token))
	return "mirror:token:" + hex.EncodeToString(sum[:16])
}

// PutEndpoint stores the record of a webhook endpoint. Like a revocation a
// deletion stays: a record read before it must not bring the endpoint back.
func (m *Mirror) PutEndpoint(ctx context.Context, e contact.Endpoint) error {
	record, err := encodeEndpoint(e)
	if err != nil {
		return err
	}
	if err := m.put.Run(ctx, m.rdb, []string{endpointKey(e.ID)}, record).Err(); err != nil {
		return fmt.Errorf("mirror endpoint %s: %w", e.ID, err)
	}
	return nil
}

// FillEndpoint stores the record of an endpoint unless there is one.
func (m *Mirror) FillEndpoint(ctx context.Context, e contact.Endpoint) error {
	record, err := encodeEndpoint(e)
	if err != nil {
		return err
	}
	if err := m.rdb.SetNX(ctx, endpointKey(e.ID), record, 0).Err(); err != nil {
		return fmt.Errorf("fill endpoint %s: %w", e.ID, err)
	}
	return nil
}

// Endpoint returns the record of a webhook endpoint, deleted ones too. False
// means that the mirror does not know it; Postgres may.
func (m *Mirror) Endpoint(ctx context.Context, id uuid.UUID) (contact.Endpoint, bool, error) {
	record, err := m.rdb.Get(ctx, endpointKey(id)).Bytes()
	if errors.Is(err, redis.Nil) {
		return contact.Endpoint{}, false, nil
	}
	if err != nil {
		return contact.Endpoint{}, false, fmt.Errorf("look up endpoint: %w", err)
	}
	e, readable := decodeEndpoint(record)
	if !readable || e.ID != id {
		return contact.Endpoint{}, false, nil // Postgres knows
	}
	return e, true, nil
}

func decodeEndpoint(record []byte) (e contact.Endpoint, readable bool) {
	if len(record) == 0 {
		return contact.Endpoint{}, false
	}
	err := json.Unmarshal(record[1:], &e)
	return e, err == nil
}

func encodeEndpoint(e contact.Endpoint) (string, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("encode endpoint %s: %w", e.ID, err)
	}
	if e.DeletedAt != nil {
		return revoked + string(b), nil
	}
	return live + string(b), nil
}

// ConsumeToken keeps a signed one-time token that does not cover the body,
// together with the hash of the body, for a time. It returns false when the
// token was kept with another hash: that request is a forgery. The same hash is
// a repetition by the provider, which may be what makes its event durable.
func (m *Mirror) ConsumeToken(
	ctx context.Context, scope, token string, body [32]byte, ttl time.Duration,
) (bool, error) {
	key, hash := tokenKey(scope, token), hex.EncodeToString(body[:])
	for range 3 { // the key may expire between the two commands
		fresh, err := m.rdb.SetNX(ctx, key, hash, ttl).Result()
		if err != nil {
			return false, fmt.Errorf("consume token: %w", err)
		}
		if fresh {
			return true, nil
		}
		kept, err := m.rdb.Get(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("consume token: %w", err)
		}
		return kept == hash, nil
	}
	return false, errors.New("consume token: key vanished thrice")
}
