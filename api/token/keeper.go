package token

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"patchlane/tasks/contact"
)

const (
	// keyPoll is how often stored signing keys are read again.
	keyPoll = 5 * time.Second
	// keySettle is how old a key is before it signs: every process knows it by
	// then. The first key of all signs at once.
	keySettle = 30 * time.Second
	// keyTimeout bounds one look at the store and the mirror together.
	keyTimeout = 2 * time.Second
	// keyRest is how long nobody asks for an unknown key after the last look, so
	// that made-up tokens cause no load.
	keyRest = time.Second
)

// keyStore is the truth about signing keys.
type keyStore interface {
	// SigningKeys lists the keys with their private halves.
	SigningKeys(ctx context.Context) ([]contact.SigningKey, error)
	// AddSigningKey adds a key, unless there is one of its generation.
	AddSigningKey(ctx context.Context, k contact.SigningKey) error
}

// keyMirror is the copy of the public halves in Redis.
type keyMirror interface {
	// SigningKeys lists the keys; empty: the mirror does not know.
	SigningKeys(ctx context.Context) ([]contact.SigningKey, error)
	// PutSigningKeys replaces the copy. It MUST NOT store a private half.
	PutSigningKeys(ctx context.Context, keys []contact.SigningKey) error
}

// keeper knows our own keys: fixed ones, or those of the store.
type keeper struct {
	known  atomic.Pointer[keyset]
	looked atomic.Int64 // when the store was last asked, in nanoseconds
	fixed  bool
	flight singleflight.Group
	store  keyStore
	mirror keyMirror
	logger *slog.Logger
	now    func() time.Time
}

// keys returns the known keys, and asks for them if there are none yet.
func (k *keeper) keys(ctx context.Context) (*keyset, error) {
	if set := k.known.Load(); set != nil {
		return set, nil
	}
	err := k.look(ctx)
	if set := k.known.Load(); set != nil {
		return set, nil
	}
	return nil, unavailable("The keys of access tokens cannot be read at the moment.", err)
}

// key returns a key by its id; nil: it is none of ours.
func (k *keeper) key(ctx context.Context, id string) (*Key, error) {
	set, err := k.keys(ctx)
	if err != nil || set.byID[id] != nil || k.fixed {
		return set.key(id), err
	}
	if k.now().UnixNano()-k.looked.Load() < int64(keyRest) {
		return nil, nil //nolint:nilnil // Nobody has such a key.
	}
	err = k.look(ctx)
	if found := k.known.Load().key(id); found != nil {
		return found, nil
	}
	if err != nil {
		return nil, unavailable("The keys of access tokens cannot be read at the moment.", err)
	}
	return nil, nil //nolint:nilnil // Nobody has such a key.
}

// look reads the keys once for everybody who asks meanwhile.
func (k *keeper) look(ctx context.Context) error {
	_, err, _ := k.flight.Do("", func() (any, error) {
		// The look serves every request that waits for it, so it does not end
		// with the first of them.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyTimeout)
		defer cancel()
		k.looked.Store(k.now().UnixNano())
		return nil, k.refresh(ctx)
	})
	return err
}

// run keeps the keys fresh until ctx ends.
func (k *keeper) run(ctx context.Context) {
	if k.fixed {
		return
	}
	ticker := time.NewTicker(keyPoll)
	defer ticker.Stop()
	for {
		if err := k.look(ctx); err != nil && ctx.Err() == nil {
			k.logger.DebugContext(ctx, "signing keys not readable", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// refresh reads the keys of the store, makes the first one, and brings the public
// halves to the mirror. While the store is away a process that knows no key takes
// those of the mirror, which check and do not sign.
func (k *keeper) refresh(ctx context.Context) error {
	records, err := k.stored(ctx)
	if err != nil {
		if k.known.Load() != nil {
			return err
		}
		copied, mirrorErr := k.mirror.SigningKeys(ctx)
		if mirrorErr != nil || len(copied) == 0 {
			return errors.Join(err, mirrorErr)
		}
		return errors.Join(err, k.adopt(copied))
	}
	if err := k.adopt(records); err != nil {
		return err
	}
	return k.copyOut(ctx, records)
}

// stored lists the keys of the store, and makes the first one. When several
// processes do so at once, that of the first stands.
func (k *keeper) stored(ctx context.Context) ([]contact.SigningKey, error) {
	records, err := k.store.SigningKeys(ctx)
	if err != nil || len(records) > 0 {
		return records, err
	}
	first, err := NewSigningKey(1)
	if err != nil {
		return nil, err
	}
	if err := k.store.AddSigningKey(ctx, first); err != nil {
		return nil, err
	}
	if records, err = k.store.SigningKeys(ctx); err == nil && len(records) == 0 {
		err = errors.New("the first signing key was not stored")
	}
	return records, err
}

// copyOut writes the mirror if it says anything else.
func (k *keeper) copyOut(ctx context.Context, records []contact.SigningKey) error {
	copied, err := k.mirror.SigningKeys(ctx)
	same := err == nil && slices.EqualFunc(copied, records, func(a, b contact.SigningKey) bool {
		return a.Generation == b.Generation && bytes.Equal(a.Public, b.Public)
	})
	if err != nil || same {
		return err
	}
	return k.mirror.PutSigningKeys(ctx, records)
}

// adopt makes records the known keys. The newest that every process knows signs.
func (k *keeper) adopt(records []contact.SigningKey) error {
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b contact.SigningKey) int { return cmp.Compare(b.Generation, a.Generation) })
	keys := make([]*Key, len(records))
	var signer *Key
	for i, r := range records {
		key, err := fromRecord(r)
		if err != nil {
			return fmt.Errorf("read signing key %d: %w", r.Generation, err)
		}
		keys[i] = key
		settled := i == len(records)-1 || k.now().Sub(r.CreatedAt) >= keySettle
		if signer == nil && settled && key.Signs() {
			signer = key
		}
	}
	set, err := newKeyset(signer, keys)
	if err != nil {
		return err
	}
	k.known.Store(set)
	return nil
}
