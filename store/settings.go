package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

const (
	// One statement is one snapshot: the revision fits the definitions.
	settingsSQL = `SELECT a.id, a.settings_revision,
			coalesce((SELECT jsonb_agg(jsonb_build_object('name', t.name, 'created_at', t.created_at)
				ORDER BY t.key) FROM tags t WHERE t.account_id = a.id), '[]'),
			coalesce((SELECT jsonb_agg(jsonb_build_object('internal_name', f.internal_name, 'label', f.label,
				'type', f.type, 'created_at', f.created_at) ORDER BY f.internal_name)
				FROM custom_fields f WHERE f.account_id = a.id), '[]')
		FROM accounts a WHERE a.id = ANY($1::uuid[])`

	// The revision is at least the time, so that it grows even after a restore
	// of an older backup: what was mirrored before must look old.
	raiseRevisionSQL = `UPDATE accounts SET settings_changed_at = clock_timestamp(),
			settings_revision = greatest(settings_revision + 1,
				(extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
		WHERE id = $1 RETURNING settings_changed_at`

	insertTagSQL   = `INSERT INTO tags (account_id, key, name, created_at) VALUES ($1, $2, $3, $4)`
	deleteTagSQL   = `DELETE FROM tags WHERE account_id = $1 AND key = $2`
	insertFieldSQL = `INSERT INTO custom_fields (account_id, internal_name, label, type, created_at)
		VALUES ($1, $2, $3, $4, $5)`
	deleteFieldSQL = `DELETE FROM custom_fields WHERE account_id = $1 AND internal_name = $2`

	// Contacts carry the spelling of the definition, perhaps of an earlier one.
	// What is not defined is not said to be in use.
	tagInUseSQL = `SELECT EXISTS (SELECT FROM tags WHERE account_id = $1 AND key = $2)
		AND EXISTS (SELECT FROM contacts c
			WHERE c.account_id = $1 AND c.tags <> '[]' AND EXISTS (
				SELECT FROM jsonb_array_elements_text(c.tags) AS t (name) WHERE lower(t.name) = lower($3)))`
	fieldInUseSQL = `SELECT EXISTS (SELECT FROM custom_fields WHERE account_id = $1 AND internal_name = $2)
		AND EXISTS (SELECT FROM contacts c WHERE c.account_id = $1 AND c.custom_fields ? $3)`

	// inUseTimeout bounds the look through the contacts of an account, for which
	// there is no index: each write would have to keep it up.
	inUseTimeout = 20 * time.Second
)

// dropFix tells an account with too many definitions what to do.
const dropFix = "Delete definitions that are not used any more."

// Settings returns what each of the accounts has defined, in any order; an
// account that does not exist is left out.
func (s *Store) Settings(ctx context.Context, accounts []uuid.UUID) ([]contact.Settings, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	ids := make(idColumn, len(accounts))
	for i, id := range accounts {
		ids[i] = idValue(id)
	}
	rows, err := s.read.Query(ctx, settingsSQL, ids)
	if err != nil {
		return nil, readError("read settings", err)
	}
	all, err := pgx.CollectRows(rows, scanSettings)
	return all, readError("read settings", err)
}

func scanSettings(row pgx.CollectableRow) (contact.Settings, error) {
	var out contact.Settings
	var tags, fields []byte
	if err := row.Scan(scanID(&out.Account), &out.Revision, &tags, &fields); err != nil {
		return out, err
	}
	if err := json.Unmarshal(tags, &out.Tags); err != nil {
		return out, err
	}
	if err := json.Unmarshal(fields, &out.Fields); err != nil {
		return out, err
	}
	for i := range out.Tags {
		out.Tags[i].CreatedAt = out.Tags[i].CreatedAt.UTC()
	}
	for i := range out.Fields {
		out.Fields[i].CreatedAt = out.Fields[i].CreatedAt.UTC()
	}
	return out, nil
}

// SettingsChangedSince returns the revisions of the settings that changed at t,
// by the database's clock, or later; of all that ever did for the zero time.
func (s *Store) SettingsChangedSince(ctx context.Context, t time.Time) (map[uuid.UUID]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx,
		`SELECT id, settings_revision FROM accounts WHERE settings_changed_at >= $1`, t)
	if err != nil {
		return nil, readError("read changed settings", err)
	}
	changed := map[uuid.UUID]int64{}
	var account uuid.UUID
	var revision int64
	_, err = pgx.ForEachRow(rows, []any{scanID(&account), &revision}, func() error {
		changed[account] = revision
		return nil
	})
	return changed, readError("read changed settings", err)
}

// DefineTag defines a tag and returns it with the settings as they are then.
// duplicate: the account has a tag of that name, in whatever case.
func (s *Store) DefineTag(
	ctx context.Context, account uuid.UUID, t contact.Tag,
) (contact.Tag, contact.Settings, error) {
	after, err := s.changeSettings(ctx, account, func(c *settingsChange) error {
		if _, ok := contact.NewDefinitions(c.before).Tag(t.Name); ok {
			return &contact.Error{Code: contact.CodeDuplicate, Message: "the tag is defined already", Fix: "Use it as it is; tags are compared without case."}
		}
		if len(c.before.Tags) >= contact.MaxTagDefinitions {
			return &contact.Error{Code: contact.CodeLimitExceeded, Message: "an account has at most 10000 tags", Fix: dropFix}
		}
		t.CreatedAt = c.at
		_, err := c.tx.Exec(ctx, insertTagSQL, account, contact.TagKey(t.Name), t.Name, c.at)
		return err
	})
	return t, after, err
}

// DefineField defines a custom field and returns it with the settings as they
// are then. duplicate: another custom field has the internal name or the label
// for its internal name or label, in whatever case.
func (s *Store) DefineField(
	ctx context.Context, account uuid.UUID, f contact.CustomField,
) (contact.CustomField, contact.Settings, error) {
	after, err := s.changeSettings(ctx, account, func(c *settingsChange) error {
		known := contact.NewDefinitions(c.before)
		for _, name := range []string{f.InternalName, f.Label} {
			if _, ok := known.Field(name); ok {
				return &contact.Error{
					Code: contact.CodeDuplicate, Message: "a custom field has this internal name or label already",
					Fix: "Use another internal name and label; they are compared without case.",
				}
			}
		}
		if len(c.before.Fields) >= contact.MaxFieldDefinitions {
			return &contact.Error{Code: contact.CodeLimitExceeded, Message: "an account has at most 1000 custom fields", Fix: dropFix}
		}
		f.CreatedAt = c.at
		_, err := c.tx.Exec(ctx, insertFieldSQL, account, f.InternalName, f.Label, string(f.Type), c.at)
		return err
	})
	return f, after, err
}

// DropTag deletes the definition of a tag and returns the settings as they are
// then: not_found when there is none; in_use when a contact has the tag, unless
// it is forced. Contacts keep the tag then. A write that is applied at the same
// moment may still give a contact the tag: no write waits for a settings change.
func (s *Store) DropTag(
	ctx context.Context, account uuid.UUID, name string, force bool,
) (contact.Settings, error) {
	if !storable(&name) {
		return contact.Settings{}, notFound()
	}
	if !force {
		err := s.refuseInUse(ctx, "tag", tagInUseSQL, account, contact.TagKey(name), name)
		if err != nil {
			return contact.Settings{}, err
		}
	}
	return s.changeSettings(ctx, account, func(c *settingsChange) error {
		return c.drop(ctx, deleteTagSQL, account, contact.TagKey(name))
	})
}

// DropField is DropTag for a custom field, by its internal name.
func (s *Store) DropField(
	ctx context.Context, account uuid.UUID, internalName string, force bool,
) (contact.Settings, error) {
	if !storable(&internalName) {
		return contact.Settings{}, notFound()
	}
	if !force {
		err := s.refuseInUse(ctx, "custom field", fieldInUseSQL, account, internalName, internalName)
		if err != nil {
			return contact.Settings{}, err
		}
	}
	return s.changeSettings(ctx, account, func(c *settingsChange) error {
		return c.drop(ctx, deleteFieldSQL, account, internalName)
	})
}

// refuseInUse looks through the contacts of the account, archived ones too:
// they may come back. It runs before the account's row is locked.
func (s *Store) refuseInUse(ctx context.Context, what, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, inUseTimeout)
	defer cancel()
	var used bool
	if err := s.read.QueryRow(ctx, sql, args...).Scan(&used); err != nil {
		return readError("look for uses", err)
	}
	if used {
		return &contact.Error{Code: contact.CodeInUse, Message: "some contact has this " + what}
	}
	return nil
}

// settingsChange is a change of one account's settings under its row's lock.
type settingsChange struct {
	tx     pgx.Tx
	before contact.Settings
	at     time.Time
}

// drop deletes one definition.
func (c *settingsChange) drop(ctx context.Context, sql string, args ...any) error {
	tag, err := c.tx.Exec(ctx, sql, args...)
	if err == nil && tag.RowsAffected() == 0 {
		return notFound()
	}
	return err
}

// changeSettings runs one change and returns the settings after it. Changes of
// one account wait for each other.
func (s *Store) changeSettings(
	ctx context.Context, account uuid.UUID, change func(*settingsChange) error,
) (contact.Settings, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var after contact.Settings
	err := pgx.BeginFunc(ctx, s.read, func(tx pgx.Tx) error {
		c := &settingsChange{tx: tx}
		if err := tx.QueryRow(ctx, raiseRevisionSQL, account).Scan(&c.at); err != nil {
			return err
		}
		c.at = c.at.UTC()
		var err error
		if c.before, err = settingsIn(ctx, tx, account); err != nil {
			return err
		}
		if err := change(c); err != nil {
			return err
		}
		after, err = settingsIn(ctx, tx, account)
		return err
	})
	return after, readError("change settings", err)
}

func settingsIn(ctx context.Context, tx pgx.Tx, account uuid.UUID) (contact.Settings, error) {
	rows, err := tx.Query(ctx, settingsSQL, idColumn{idValue(account)})
	if err != nil {
		return contact.Settings{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanSettings)
}
