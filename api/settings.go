package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"time"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

// changeTimeout bounds one change of settings. Deleting a definition looks
// through the contacts of the account.
const changeTimeout = 25 * time.Second

// settingsEditor changes what accounts have defined. Every method returns the
// settings after the change.
type settingsEditor interface {
	// DefineTag adds a tag, or says duplicate.
	DefineTag(ctx context.Context, account uuid.UUID, t contact.Tag) (contact.Tag, contact.Settings, error)
	// DefineField adds a custom field, or says duplicate.
	DefineField(ctx context.Context, account uuid.UUID, f contact.CustomField) (contact.CustomField, contact.Settings, error)
	// DropTag deletes a tag; in_use when a contact has it, unless it is forced.
	DropTag(ctx context.Context, account uuid.UUID, name string, force bool) (contact.Settings, error)
	// DropField deletes a custom field by its internal name.
	DropField(ctx context.Context, account uuid.UUID, internalName string, force bool) (contact.Settings, error)
}

// createTag defines a tag.
func (s *Server) createTag(ctx context.Context, x *exchange) error {
	return definition[contact.Tag]{
		decode: dialect.DecodeTag, define: s.opt.SettingsEditor.DefineTag, encode: dialect.EncodeTag,
		path: func(t *contact.Tag) string { return "/v1/tags/" + url.PathEscape(t.Name) },
	}.create(ctx, s, x)
}

// createField defines a custom field.
func (s *Server) createField(ctx context.Context, x *exchange) error {
	return definition[contact.CustomField]{
		decode: dialect.DecodeField, define: s.opt.SettingsEditor.DefineField, encode: dialect.EncodeField,
		path: func(f *contact.CustomField) string { return "/v1/custom-fields/" + url.PathEscape(f.InternalName) },
	}.create(ctx, s, x)
}

// definition is a kind of what an account can define.
type definition[T any] struct {
	decode func(body []byte) (T, []contact.FieldError, error)
	define func(ctx context.Context, account uuid.UUID, what T) (T, contact.Settings, error)
	encode func(*T) ([]byte, error)
	path   func(*T) string
}

// create defines what the body says and shows it as it was defined.
func (d definition[T]) create(ctx context.Context, s *Server, x *exchange) error {
	raw, err := x.readBody(maxBody)
	if err != nil {
		return err
	}
	what, problems, err := d.decode(raw)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return invalid(problems)
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	what, after, err := d.define(ctx, x.account(), what)
	if err != nil {
		return storeError(err)
	}
	s.publish(ctx, after)
	body, err := d.encode(&what)
	if err != nil {
		return err
	}
	x.w.Header().Set("Location", d.path(&what))
	x.reply(http.StatusCreated, body)
	return nil
}

// deleteTag deletes the definition of a tag.
func (s *Server) deleteTag(ctx context.Context, x *exchange) error {
	return s.drop(ctx, x, s.opt.SettingsEditor.DropTag)
}

// deleteField deletes the definition of a custom field.
func (s *Server) deleteField(ctx context.Context, x *exchange) error {
	return s.drop(ctx, x, s.opt.SettingsEditor.DropField)
}

// drop deletes the definition that the path names.
func (s *Server) drop(
	ctx context.Context, x *exchange,
	change func(ctx context.Context, account uuid.UUID, name string, force bool) (contact.Settings, error),
) error {
	q := x.readQuery("force")
	force := q.flag("force")
	if err := q.err(); err != nil {
		return err
	}
	if err := x.noMembers(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	after, err := change(ctx, x.account(), x.PathValue("name"), force)
	if err != nil {
		return storeError(err)
	}
	s.publish(ctx, after)
	x.reply(http.StatusNoContent, nil)
	return nil
}

// publish makes a change count from the next request on, in every process.
// Where the mirror cannot be written the poll does it later; until then a
// process asks the store for a name that is new, and the worker refuses one
// that is gone.
func (s *Server) publish(ctx context.Context, after contact.Settings) {
	s.lexicon.learn(after)
	s.lexicon.put(ctx, after)
}

// listTags lists the tags of the account by name.
func (s *Server) listTags(ctx context.Context, x *exchange) error {
	all, q, err := s.readSettings(ctx, x)
	if err != nil {
		return err
	}
	rows, next, err := pageOf(q, all.Tags, func(t contact.Tag) string { return contact.TagKey(t.Name) })
	if err != nil {
		return err
	}
	body, err := dialect.EncodeTags(rows, q.limit(), next)
	if err != nil {
		return err
	}
	x.reply(http.StatusOK, body)
	return nil
}

// listFields lists the custom fields of the account by internal name.
func (s *Server) listFields(ctx context.Context, x *exchange) error {
	all, q, err := s.readSettings(ctx, x)
	if err != nil {
		return err
	}
	rows, next, err := pageOf(q, all.Fields, func(f contact.CustomField) string { return f.InternalName })
	if err != nil {
		return err
	}
	body, err := dialect.EncodeFields(rows, q.limit(), next)
	if err != nil {
		return err
	}
	x.reply(http.StatusOK, body)
	return nil
}

// readSettings reads what the account has defined, from the store.
func (s *Server) readSettings(ctx context.Context, x *exchange) (contact.Settings, *query, error) {
	q := x.readQuery("limit", "cursor")
	q.limit()
	if err := q.err(); err != nil {
		return contact.Settings{}, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	all, err := s.opt.Settings.Settings(ctx, []uuid.UUID{x.account()})
	if err != nil {
		return contact.Settings{}, nil, storeError(err)
	}
	if len(all) == 0 {
		return contact.Settings{}, q, nil
	}
	return all[0], q, nil
}

// pageOf cuts the page that a query asks for out of a whole list. The cursor is
// the key of the last row, so that a page begins behind it even if that row is
// gone.
func pageOf[T any](q *query, all []T, key func(T) string) (rows []T, next string, err error) {
	all = slices.Clone(all)
	sort.Slice(all, func(i, j int) bool { return key(all[i]) < key(all[j]) })
	if c := q.text("cursor"); c != "" {
		after, err := base64.RawURLEncoding.Strict().DecodeString(c)
		if err != nil {
			return nil, "", invalid([]contact.FieldError{{
				Field: "cursor", Code: contact.ProblemInvalidFormat, Message: "The value is not a cursor of this list.",
			}})
		}
		all = all[sort.Search(len(all), func(i int) bool { return key(all[i]) > string(after) }):]
	}
	limit := q.limit()
	if len(all) <= limit {
		return all, "", nil
	}
	return all[:limit], base64.RawURLEncoding.EncodeToString([]byte(key(all[limit-1]))), nil
}
