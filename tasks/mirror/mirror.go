// Package mirror keeps in Redis what the accept path must know while Postgres is
// away: key records, what accounts have defined, and the numbers of lanes. Postgres stays the truth; the
// mirror is written through and refilled from it.
//
// A record of a key is found by the sha-256 of the credential. Neither the
// credential nor anything that it could be made from is in Redis.
package mirror

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

const lanesKey = "mirror:lanes"

// entryVersionKey holds the version in which entries are written.
const entryVersionKey = "mirror:entry_version"

// keyKey names the record of a credential.
func keyKey(hash [32]byte) string { return "mirror:key:" + hex.EncodeToString(hash[:]) }

// A record starts with one of these, so that the script need not read JSON.
const (
	live    = "L"
	revoked = "R"
)

// putSource stores the record of a key. A revocation stays: a record read before
// it and stored after it must not bring the key back to life.
//
// KEYS[1] -> record of the key
// ARGV[1] -> the record, which starts with L (live) or R (revoked)
//
// Returns 1 when it was stored, 0 when the stored one is a revocation and this
// one is not.
const putSource = `
if string.sub(ARGV[1], 1, 1) == 'L' then
	local stored = redis.call('GET', KEYS[1])
	if stored and string.sub(stored, 1, 1) == 'R' then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
`

// keyIDKey names the hash of the credential of a key. It never changes.
func keyIDKey(id uuid.UUID) string { return "mirror:keyid:" + id.String() }

// Mirror is the copy in Redis. It is safe for concurrent use; the client belongs
// to the caller.
type Mirror struct {
	rdb         redis.UniversalClient
	put         *redis.Script
	putSettings *redis.Script
}

// New returns the mirror kept by rdb.
func New(rdb redis.UniversalClient) *Mirror {
	return &Mirror{
		rdb: rdb, put: redis.NewScript(putSource), putSettings: redis.NewScript(putSettingsSource),
	}
}

// PutKey stores the record of a key. A stored revocation stays.
func (m *Mirror) PutKey(ctx context.Context, k contact.Key) error {
	record, err := encode(k)
	if err != nil {
		return err
	}
	if err := m.put.Run(ctx, m.rdb, []string{keyKey(k.Hash)}, record).Err(); err != nil {
		return fmt.Errorf("mirror key %s: %w", k.ID, err)
	}
	return m.putKeyID(ctx, k)
}

// putKeyID makes a key findable by its id, after its record is there.
func (m *Mirror) putKeyID(ctx context.Context, k contact.Key) error {
	if err := m.rdb.Set(ctx, keyIDKey(k.ID), k.Hash[:], 0).Err(); err != nil {
		return fmt.Errorf("mirror id of key %s: %w", k.ID, err)
	}
	return nil
}

// KeyHash returns the sha-256 of the credential of a key. False means that the
// mirror does not know the id; Postgres may.
func (m *Mirror) KeyHash(ctx context.Context, id uuid.UUID) (hash [32]byte, found bool, err error) {
	b, err := m.rdb.Get(ctx, keyIDKey(id)).Bytes()
	if errors.Is(err, redis.Nil) {
		return hash, false, nil
	}
	if err != nil {
		return hash, false, fmt.Errorf("look up key id: %w", err)
	}
	return hash, copy(hash[:], b) == len(hash), nil
}

// FillKey stores the record of a key unless there is one: what was read from
// Postgres on a miss may be older than what was written through meanwhile.
func (m *Mirror) FillKey(ctx context.Context, k contact.Key) error {
	record, err := encode(k)
	if err != nil {
		return err
	}
	if err := m.rdb.SetNX(ctx, keyKey(k.Hash), record, 0).Err(); err != nil {
		return fmt.Errorf("fill key %s: %w", k.ID, err)
	}
	return m.putKeyID(ctx, k)
}

// Key returns the record of a credential by its sha-256, revoked and expired
// ones too. False means that the mirror does not know it; Postgres may.
func (m *Mirror) Key(ctx context.Context, hash [32]byte) (contact.Key, bool, error) {
	record, err := m.rdb.Get(ctx, keyKey(hash)).Bytes()
	if errors.Is(err, redis.Nil) {
		return contact.Key{}, false, nil
	}
	if err != nil {
		return contact.Key{}, false, fmt.Errorf("look up key: %w", err)
	}
	k, readable := decode(record)
	if !readable || k.Hash != hash {
		return contact.Key{}, false, nil // Postgres knows
	}
	return k, true, nil
}

func decode(record []byte) (k contact.Key, readable bool) {
	if len(record) == 0 {
		return contact.Key{}, false
	}
	err := json.Unmarshal(record[1:], &k)
	return k, err == nil
}

func encode(k contact.Key) (string, error) {
	b, err := json.Marshal(k)
	if err != nil {
		return "", fmt.Errorf("encode key %s: %w", k.ID, err)
	}
	if k.RevokedAt != nil {
		return revoked + string(b), nil
	}
	return live + string(b), nil
}

// PutEntryVersion stores the version in which entries are written.
func (m *Mirror) PutEntryVersion(ctx context.Context, version int) error {
	if err := m.rdb.Set(ctx, entryVersionKey, version, 0).Err(); err != nil {
		return fmt.Errorf("mirror entry version: %w", err)
	}
	return nil
}

// EntryVersion returns the version in which entries are written; 0 when the
// mirror does not know it.
func (m *Mirror) EntryVersion(ctx context.Context) (int, error) {
	version, err := m.rdb.Get(ctx, entryVersionKey).Int()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read entry version: %w", err)
	}
	return version, nil
}

// PutLanes stores the numbers of lanes that the database was migrated with.
func (m *Mirror) PutLanes(ctx context.Context, c contact.LaneCounts) error {
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("mirror lane counts: %w", err)
	}
	if err := m.rdb.Set(ctx, lanesKey, b, 0).Err(); err != nil {
		return fmt.Errorf("mirror lane counts: %w", err)
	}
	return nil
}

// Lanes returns the numbers of lanes; false when the mirror does not know them.
func (m *Mirror) Lanes(ctx context.Context) (contact.LaneCounts, bool, error) {
	b, err := m.rdb.Get(ctx, lanesKey).Bytes()
	if errors.Is(err, redis.Nil) {
		return contact.LaneCounts{}, false, nil
	}
	if err != nil {
		return contact.LaneCounts{}, false, fmt.Errorf("read lane counts: %w", err)
	}
	var c contact.LaneCounts
	if err := json.Unmarshal(b, &c); err != nil {
		return contact.LaneCounts{}, false, fmt.Errorf("read lane counts: %w", err)
	}
	return c, c.Contact > 0, nil
}
