package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

// settingsKey names the hash with the settings of an account: rev, the revision,
// and doc, the settings as JSON.
func settingsKey(account uuid.UUID) string { return "mirror:settings:" + account.String() }

// putSettingsSource stores settings unless newer ones are there: a reader of
// Postgres may come later than the writer who overtook it.
//
// KEYS[1] -> settings of the account
// ARGV[1] -> revision
// ARGV[2] -> the settings
//
// Returns 1 when they were stored, 0 when those there are as new or newer.
const putSettingsSource = `
local stored = redis.call('HGET', KEYS[1], 'rev')
if stored and tonumber(stored) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'rev', ARGV[1], 'doc', ARGV[2])
return 1
`

// PutSettings stores the settings of an account unless the mirror has the same
// revision or a newer one.
func (m *Mirror) PutSettings(ctx context.Context, s contact.Settings) error {
	doc, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode settings of %s: %w", s.Account, err)
	}
	err = m.putSettings.Run(ctx, m.rdb, []string{settingsKey(s.Account)}, s.Revision, doc).Err()
	if err != nil {
		return fmt.Errorf("mirror settings of %s: %w", s.Account, err)
	}
	return nil
}

// Settings returns the settings of accounts whose revision is another than the
// given one, which is that of the caller's copy. An account whose copy is up to
// date has nil in the answer; one that the mirror does not know is not in it,
// and Postgres may know.
func (m *Mirror) Settings(
	ctx context.Context, have map[uuid.UUID]int64,
) (map[uuid.UUID]*contact.Settings, error) {
	revisions := make(map[uuid.UUID]*redis.StringCmd, len(have))
	_, err := m.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for account := range have {
			revisions[account] = p.HGet(ctx, settingsKey(account), "rev")
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read revisions of settings: %w", err)
	}
	found := make(map[uuid.UUID]*contact.Settings, len(have))
	var other []uuid.UUID
	for account, cmd := range revisions {
		switch revision, err := cmd.Int64(); {
		case err != nil: // not there, or nothing of ours
		case revision == have[account]:
			found[account] = nil
		default:
			other = append(other, account)
		}
	}
	if len(other) == 0 {
		return found, nil
	}
	return found, m.documents(ctx, other, found)
}

// documents reads whole settings. What cannot be read counts as not there.
func (m *Mirror) documents(
	ctx context.Context, accounts []uuid.UUID, into map[uuid.UUID]*contact.Settings,
) error {
	docs := make([]*redis.SliceCmd, len(accounts))
	_, err := m.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, account := range accounts {
			docs[i] = p.HMGet(ctx, settingsKey(account), "rev", "doc")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	for i, account := range accounts {
		if s, readable := decodeSettings(docs[i].Val()); readable && s.Account == account {
			into[account] = s
		}
	}
	return nil
}

func decodeSettings(values []any) (*contact.Settings, bool) {
	if len(values) != 2 {
		return nil, false
	}
	rev, _ := values[0].(string)
	doc, _ := values[1].(string)
	var s contact.Settings
	if json.Unmarshal([]byte(doc), &s) != nil {
		return nil, false
	}
	return &s, strconv.FormatInt(s.Revision, 10) == rev
}
