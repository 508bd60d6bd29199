package api

import (
	"context"
	"crypto/subtle"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

const (
	// keyTTL is how long a key is believed without asking again, keyPoll how
	// often keys changed in the store are read. Together they are the ten
	// seconds within which a revoked key is dead everywhere.
	keyTTL  = 5 * time.Second
	keyPoll = 5 * time.Second
	// keyOverlap is how far each poll looks behind the one before, for clocks
	// that differ and transactions that were long.
	keyOverlap = time.Minute
	// keyTimeout bounds one look-up in the mirror and the store together,
	// mirrorTimeout the part of the mirror: a Redis that hangs must leave time
	// for the store.
	keyTimeout    = 3 * time.Second
	mirrorTimeout = 250 * time.Millisecond
	// keyCache bounds the cached keys, keyAskers the look-ups in the store at
	// once, so that a flood of made-up keys leaves connections to others.
	keyCache  = 10_000
	keyAskers = 8
	// The lengths of a credential that are worth looking up.
	minCredential, maxCredential = 8, 512
)

// keyring finds the record of a credential: in its cache, else in the mirror in
// Redis, else in the store. A key that is not there is never remembered, so a
// new key counts from its first request on.
type keyring struct {
	cache *otter.Cache[[32]byte, contact.Key]
	// hashes finds the hash of a key by the key's id; neither ever changes.
	hashes *otter.Cache[uuid.UUID, [32]byte]
	flight singleflight.Group
	askers chan struct{}
	mirror keyMirror
	store  keyStore
	logger *slog.Logger
}

func newKeyring(o *Options) *keyring {
	return &keyring{
		cache: otter.Must(&otter.Options[[32]byte, contact.Key]{
			MaximumSize:      keyCache,
			ExpiryCalculator: otter.ExpiryWriting[[32]byte, contact.Key](keyTTL),
		}),
		hashes: otter.Must(&otter.Options[uuid.UUID, [32]byte]{MaximumSize: keyCache}),
		askers: make(chan struct{}, keyAskers),
		mirror: o.Mirror, store: o.Keys, logger: o.Logger,
	}
}

// authenticate answers whose request this is, or unauthorized. It says
// unauthorized only when somebody who knows was asked.
func (s *Server) authenticate(ctx context.Context, x *exchange) error {
	key, err := s.caller(ctx, x, credential(x.Header))
	if err != nil {
		return err
	}
	if !key.Live(s.now()) {
		return unauthorized("The key has expired or was revoked.")
	}
	d, known := dialect.ByName(key.Dialect)
	if !known {
		return unauthorized("The key is of a dialect that this release does not speak.")
	}
	x.key, x.dialect = &key, d
	x.owe()
	x.definer = &definer{lexicon: s.lexicon, account: key.Account}
	x.definitions = x.definer.named(ctx)
	return nil
}

// authorize checks that the key has one of the scopes.
func authorize(key *contact.Key, anyOf []contact.Scope) error {
	names := make([]string, len(anyOf))
	for i, scope := range anyOf {
		if key.Has(scope) {
			return nil
		}
		names[i] = string(scope)
	}
	return &contact.Error{
		Code:    contact.CodeInsufficientScope,
		Message: "The key needs the scope " + strings.Join(names, " or ") + ".",
	}
}

func unauthorized(message string) error {
	return &contact.Error{Code: contact.CodeUnauthorized, Message: message}
}

// find returns the record of a credential by its hash.
func (k *keyring) find(ctx context.Context, hash [32]byte) (contact.Key, error) {
	if key, ok := k.cache.GetIfPresent(hash); ok {
		return key, nil
	}
	v, err, _ := k.flight.Do(string(hash[:]), func() (any, error) {
		// The look-up serves every request that waits for it, so it does not
		// end with the first of them.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyTimeout)
		defer cancel()
		return k.load(ctx, hash)
	})
	if err != nil {
		return contact.Key{}, err
	}
	key, isKey := v.(contact.Key)
	if !isKey || subtle.ConstantTimeCompare(key.Hash[:], hash[:]) != 1 {
		return contact.Key{}, unauthorized("The key is not known.")
	}
	return key, nil
}

// load asks the mirror, then the store, and refills the mirror. With Redis away
// the store alone answers.
func (k *keyring) load(ctx context.Context, hash [32]byte) (contact.Key, error) {
	key, found, mirrorErr := k.mirrored(ctx, hash)
	if mirrorErr != nil {
		k.logger.DebugContext(ctx, "key mirror not readable", "err", mirrorErr)
	}
	if mirrorErr == nil && found {
		k.cache.Set(hash, key)
		return key, nil
	}
	return k.fromStore(ctx, mirrorErr == nil, func() (contact.Key, error) { return k.store.Key(ctx, hash) })
}

// fromStore asks the store for a key and refills the mirror, if that answers.
func (k *keyring) fromStore(ctx context.Context, fill bool, ask func() (contact.Key, error)) (contact.Key, error) {
	select {
	case k.askers <- struct{}{}:
		defer func() { <-k.askers }()
	case <-ctx.Done():
		return contact.Key{}, storeError(ctx.Err())
	}
	key, err := ask()
	if contact.CodeOf(err) == contact.CodeNotFound {
		return contact.Key{}, unauthorized("The key is not known.")
	}
	if err != nil {
		return contact.Key{}, storeError(err)
	}
	if fill {
		if err := k.mirror.FillKey(ctx, key); err != nil {
			k.logger.WarnContext(ctx, "key mirror not filled", "err", err, "key_id", key.ID)
		}
	}
	k.cache.Set(key.Hash, key)
	return key, nil
}

// mirrored asks the mirror, for a short time.
func (k *keyring) mirrored(ctx context.Context, hash [32]byte) (contact.Key, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, mirrorTimeout)
	defer cancel()
	return k.mirror.Key(ctx, hash)
}

// run re-reads what changed in the store until ctx ends.
func (k *keyring) run(ctx context.Context, now func() time.Time) {
	follow(ctx, keyPoll, now, now().Add(-keyOverlap), k.refresh)
}

// follow looks again and again for what changed in the store since a moment, until
// ctx ends. Failures wait for the next look, which goes back as far as the last
// success, and a little further.
func follow(
	ctx context.Context, every time.Duration, now func() time.Time, since time.Time,
	look func(ctx context.Context, since time.Time) bool,
) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		asked := now()
		if look(ctx, since) {
			since = asked.Add(-keyOverlap)
		}
	}
}

// refresh brings keys changed since a moment to the mirror and drops them from
// the cache.
func (k *keyring) refresh(ctx context.Context, since time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	changed, err := k.store.KeysChangedSince(ctx, since)
	if err != nil {
		k.logger.DebugContext(ctx, "changed keys not readable", "err", err)
		return false
	}
	done := true
	for i := range changed {
		k.cache.Invalidate(changed[i].Hash)
		if err := k.mirror.PutKey(ctx, changed[i]); err != nil {
			k.logger.WarnContext(ctx, "key mirror not written", "err", err, "key_id", changed[i].ID)
			done = false
		}
	}
	return done
}
