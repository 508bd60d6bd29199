package api

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// lawBook is the world as the store of settings, lawCopy as the mirror of them.
type (
	lawBook struct{ *world }
	lawCopy struct{ *world }
)

func (w lawBook) Settings(_ context.Context, accounts []uuid.UUID) ([]contact.Settings, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settingReads++
	var all []contact.Settings
	for _, account := range accounts {
		if s, found := w.settings[account]; found {
			all = append(all, s)
		}
	}
	return all, w.storeDown
}

func (w lawBook) SettingsChangedSince(context.Context, time.Time) (map[uuid.UUID]int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := map[uuid.UUID]int64{}
	for account, s := range w.settings {
		changed[account] = s.Revision
	}
	return changed, w.storeDown
}

// change replaces the settings of an account.
func (w lawBook) change(
	account uuid.UUID, edit func(s *contact.Settings) error,
) (contact.Settings, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.storeDown != nil {
		return contact.Settings{}, w.storeDown
	}
	s := w.settings[account]
	s.Account, s.Tags, s.Fields = account, slices.Clone(s.Tags), slices.Clone(s.Fields)
	if err := edit(&s); err != nil {
		return contact.Settings{}, err
	}
	s.Revision++
	w.settings[account] = s
	return s, nil
}

func (w lawBook) DefineTag(
	_ context.Context, account uuid.UUID, t contact.Tag,
) (contact.Tag, contact.Settings, error) {
	t.CreatedAt = time.Now().UTC()
	after, err := w.change(account, func(s *contact.Settings) error {
		if _, twice := contact.NewDefinitions(*s).Tag(t.Name); twice {
			return &contact.Error{Code: contact.CodeDuplicate, Message: "There."}
		}
		s.Tags = append(s.Tags, t)
		return nil
	})
	return t, after, err
}

func (w lawBook) DefineField(
	_ context.Context, account uuid.UUID, f contact.CustomField,
) (contact.CustomField, contact.Settings, error) {
	f.CreatedAt = time.Now().UTC()
	after, err := w.change(account, func(s *contact.Settings) error {
		if _, twice := contact.NewDefinitions(*s).Field(f.Label); twice {
			return &contact.Error{Code: contact.CodeDuplicate, Message: "There."}
		}
		s.Fields = append(s.Fields, f)
		return nil
	})
	return f, after, err
}

func (w lawBook) DropTag(_ context.Context, account uuid.UUID, name string, force bool) (contact.Settings, error) {
	return w.change(account, func(s *contact.Settings) error {
		for ref, c := range w.contacts {
			if ref.Account == account && slices.Contains(c.Tags, name) && !force {
				return &contact.Error{Code: contact.CodeInUse, Message: "Used."}
			}
		}
		before := len(s.Tags)
		s.Tags = slices.DeleteFunc(s.Tags, func(t contact.Tag) bool {
			return contact.TagKey(t.Name) == contact.TagKey(name)
		})
		if len(s.Tags) == before {
			return missing()
		}
		return nil
	})
}

func (w lawBook) DropField(_ context.Context, account uuid.UUID, name string, _ bool) (contact.Settings, error) {
	return w.change(account, func(s *contact.Settings) error {
		before := len(s.Fields)
		s.Fields = slices.DeleteFunc(s.Fields, func(f contact.CustomField) bool { return f.InternalName == name })
		if len(s.Fields) == before {
			return missing()
		}
		return nil
	})
}

func (w lawCopy) Settings(
	_ context.Context, have map[uuid.UUID]int64,
) (map[uuid.UUID]*contact.Settings, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mirrorReads++
	found := map[uuid.UUID]*contact.Settings{}
	for account, revision := range have {
		if s, there := w.settingsCopy[account]; there {
			found[account] = nil
			if s.Revision != revision {
				found[account] = &s
			}
		}
	}
	return found, w.mirrorErr
}

func (w lawCopy) PutSettings(_ context.Context, s contact.Settings) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	stored, found := w.settingsCopy[s.Account]
	if err := cmp.Or(w.mirrorErr, w.mirrorPutErr); err != nil {
		return err
	}
	if !found || stored.Revision < s.Revision {
		w.settingsCopy[s.Account] = s
	}
	return nil
}

// definitions are what the worker of the world reads in its transaction.
func (w *world) definitions() map[uuid.UUID]*contact.Definitions {
	all := map[uuid.UUID]*contact.Definitions{}
	for account, s := range w.settings {
		all[account] = contact.NewDefinitions(s)
	}
	return all
}
