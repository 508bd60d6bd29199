package api

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

const (
	// settingsTimeout bounds one look-up of settings in the store.
	settingsTimeout = 2 * time.Second
	// settingsCache bounds the accounts whose definitions are kept, settingsBatch
	// those in one round trip.
	settingsCache = 1000
	settingsBatch = 200
	// settingsPoll is how often settings changed in the store are brought to the
	// mirror, for a change whose own write to the mirror failed.
	settingsPoll = 5 * time.Second
)

// settingsReader is the truth about what accounts have defined.
type settingsReader interface {
	// Settings reads those of the accounts that exist, in any order.
	Settings(ctx context.Context, accounts []uuid.UUID) ([]contact.Settings, error)
	// SettingsChangedSince returns the revisions of the settings that changed
	// since a moment.
	SettingsChangedSince(ctx context.Context, t time.Time) (map[uuid.UUID]int64, error)
}

// settingsMirror is the copy of the settings in Redis, which accepting needs
// alone.
type settingsMirror interface {
	// Settings returns the settings whose revision is not the given one: nil for
	// those whose revision it is, nothing for those that the mirror has not.
	Settings(ctx context.Context, have map[uuid.UUID]int64) (map[uuid.UUID]*contact.Settings, error)
	// PutSettings stores settings unless the mirror has the same or newer ones.
	PutSettings(ctx context.Context, s contact.Settings) error
}

// lexicon knows what accounts have defined. It asks the mirror at every look-up
// whether its copy is of the newest revision, so that a definition that was made
// or deleted counts from the next request on, whichever process made it. A name
// that is not there is never remembered and never believed to be undefined on
// the mirror's word: the store is asked, and while it cannot be, nobody knows.
//
// Look-ups of many requests share a round trip. One that begins while another is
// under way goes into the next, so that its answer is no older than itself.
type lexicon struct {
	copies *otter.Cache[uuid.UUID, *contact.Definitions]
	fast   gatherer[uuid.UUID, *contact.Definitions]
	sure   gatherer[uuid.UUID, *contact.Definitions]
	mirror settingsMirror
	store  settingsReader
	logger *slog.Logger
}

func newLexicon(o *Options) *lexicon {
	l := &lexicon{
		copies: otter.Must(&otter.Options[uuid.UUID, *contact.Definitions]{MaximumSize: settingsCache}),
		mirror: o.SettingsMirror, store: o.Settings, logger: o.Logger,
	}
	l.fast = gatherer[uuid.UUID, *contact.Definitions]{
		load: l.fromMirror, timeout: mirrorTimeout, most: settingsBatch,
	}
	l.sure = gatherer[uuid.UUID, *contact.Definitions]{
		load: l.fromStore, timeout: settingsTimeout, most: settingsBatch,
	}
	return l
}

// fromMirror answers for the accounts that the mirror knows.
func (l *lexicon) fromMirror(
	ctx context.Context, accounts []uuid.UUID,
) (map[uuid.UUID]*contact.Definitions, error) {
	known := make(map[uuid.UUID]*contact.Definitions, len(accounts))
	have := make(map[uuid.UUID]int64, len(accounts))
	for _, account := range accounts {
		have[account] = -1
		if d, ok := l.copies.GetIfPresent(account); ok {
			known[account], have[account] = d, d.Revision()
		}
	}
	found, err := l.mirror.Settings(ctx, have)
	if err != nil {
		return nil, err
	}
	for _, account := range accounts {
		switch s, there := found[account]; {
		case !there:
			delete(known, account)
		case s != nil && s.Revision > have[account]:
			// An older one is of a mirror that missed a change.
			known[account] = l.learn(*s)
		}
	}
	return known, nil
}

// fromStore answers for every account and brings what it learns to the mirror.
func (l *lexicon) fromStore(
	ctx context.Context, accounts []uuid.UUID,
) (map[uuid.UUID]*contact.Definitions, error) {
	all, err := l.store.Settings(ctx, accounts)
	if err != nil {
		return nil, storeError(err)
	}
	known := make(map[uuid.UUID]*contact.Definitions, len(accounts))
	for _, account := range accounts {
		known[account] = contact.NewDefinitions(contact.Settings{Account: account})
	}
	for i := range all {
		known[all[i].Account] = l.learn(all[i])
		l.put(ctx, all[i])
	}
	return known, nil
}

// learn remembers settings.
func (l *lexicon) learn(s contact.Settings) *contact.Definitions {
	d := contact.NewDefinitions(s)
	l.copies.Set(s.Account, d)
	return d
}

// put writes settings through to the mirror. A failure costs nobody a
// definition: who misses it there asks the store.
func (l *lexicon) put(ctx context.Context, s contact.Settings) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mirrorTimeout)
	defer cancel()
	if err := l.mirror.PutSettings(ctx, s); err != nil {
		l.logger.WarnContext(ctx, "settings mirror not written", "err", err, "account_id", s.Account)
	}
}

// find returns definitions of an account that are enough for the caller, or
// those of the store, which is then sure.
func (l *lexicon) find(
	ctx context.Context, account uuid.UUID, enough func(*contact.Definitions) bool,
) (d *contact.Definitions, sure bool, err error) {
	d, err = l.fast.get(ctx, account)
	if err == nil && d != nil && enough(d) {
		return d, false, nil
	}
	if err != nil && !gone(ctx) {
		l.logger.DebugContext(ctx, "settings mirror not readable", "err", err)
	}
	d, err = l.sure.get(ctx, account)
	if err != nil {
		return nil, false, &contact.Error{
			Code:    contact.CodeStoreUnavailable,
			Message: "What the account has defined cannot be looked up at the moment; nothing was accepted.",
			Fix:     "Send the request again after the pause, or without tags and custom fields.",
			Err:     err,
		}
	}
	return d, true, nil
}

// run brings settings that changed in the store to the mirror until ctx ends:
// first all of them, then what changed since the look before.
func (l *lexicon) run(ctx context.Context, now func() time.Time) {
	var since time.Time
	asked := now()
	if l.refresh(ctx, since) {
		since = asked.Add(-keyOverlap)
	}
	follow(ctx, settingsPoll, now, since, l.refresh)
}

// refresh brings the settings changed since a moment to the mirror.
func (l *lexicon) refresh(ctx context.Context, since time.Time) bool {
	ask, cancel := context.WithTimeout(ctx, settingsTimeout)
	defer cancel()
	changed, err := l.store.SettingsChangedSince(ask, since)
	for accounts := range slices.Chunk(slices.Collect(maps.Keys(changed)), settingsBatch) {
		if err == nil {
			err = l.compare(ctx, accounts, changed)
		}
	}
	if err != nil {
		l.logger.DebugContext(ctx, "changed settings not mirrored", "err", err)
	}
	return err == nil
}

// compare reads what the mirror has in another revision, or not at all.
func (l *lexicon) compare(ctx context.Context, accounts []uuid.UUID, revisions map[uuid.UUID]int64) error {
	ctx, cancel := context.WithTimeout(ctx, settingsTimeout)
	defer cancel()
	have := make(map[uuid.UUID]int64, len(accounts))
	for _, account := range accounts {
		have[account] = revisions[account]
	}
	found, err := l.mirror.Settings(ctx, have)
	if err != nil {
		return err
	}
	other := slices.DeleteFunc(accounts, func(account uuid.UUID) bool {
		s, there := found[account]
		return there && s == nil
	})
	if len(other) == 0 {
		return nil
	}
	_, err = l.fromStore(ctx, other)
	return err
}

// definer looks definitions up for one request: the mirror is asked at most
// once, and so is the store. A request that names none asks nobody. It is safe
// for concurrent use, for the rows of a batch.
type definer struct {
	mu      sync.Mutex
	lexicon *lexicon
	account uuid.UUID
	found   *contact.Definitions
	sure    bool
}

func (d *definer) get(
	ctx context.Context, enough func(*contact.Definitions) bool,
) (*contact.Definitions, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found != nil && (d.sure || enough(d.found)) {
		return d.found, nil
	}
	found, sure, err := d.lexicon.find(ctx, d.account, enough)
	if err != nil {
		return nil, err
	}
	d.found, d.sure = found, sure
	return found, nil
}

// named is get as a dialect sees it.
func (d *definer) named(ctx context.Context) dialect.Definitions {
	return func(fields ...string) (*contact.Definitions, error) {
		return d.get(ctx, func(known *contact.Definitions) bool {
			for _, name := range fields {
				if _, ok := known.Field(name); !ok {
					return false
				}
			}
			return true
		})
	}
}

// define checks the names in a body that was just decoded. nil definitions: it
// names nothing that has to be defined.
func (d *definer) define(
	ctx context.Context, p *contact.Patch,
) (*contact.Definitions, []contact.FieldError, error) {
	if !p.UsesDefinitions() {
		return nil, nil, nil
	}
	known, err := d.get(ctx, func(k *contact.Definitions) bool { return k.Knows(p) })
	if err != nil {
		return nil, nil, err
	}
	return known, known.Check(p), nil
}
