package store

import (
	"context"
	"crypto/rand"
	"sync/atomic"

	"patchlane/tasks/contact"
)

// An address that was erased is stored as a keyed hash: contact.ErasedKey. Who
// looks for an address looks for both spellings, and what is found under the
// hash stays under it.

// erasedSecret is the name of the key of these hashes, which the installation
// makes once and keeps in the database.
const erasedSecret = "erased_addresses"

// hashKey holds that key once it was read.
type hashKey struct{ secret atomic.Pointer[[]byte] }

// loadHashKey reads the key, once in the life of a process.
func (s *Store) loadHashKey(ctx context.Context) ([]byte, error) {
	if known := s.hashKey.secret.Load(); known != nil {
		return *known, nil
	}
	offered := make([]byte, 32)
	_, _ = rand.Read(offered) // It never fails: the runtime ends the process first.
	secret, err := s.Secret(ctx, erasedSecret, offered)
	if err != nil {
		return nil, err
	}
	s.hashKey.secret.Store(&secret)
	return secret, nil
}

// spellings are addresses as they may be stored.
type spellings struct {
	all []contact.Address
	// plain is the address of a hash.
	plain map[contact.Address]contact.Address
}

// spell adds the hash of each address. The key MUST have been loaded.
func (s *Store) spell(addresses []contact.Address) spellings {
	p := spellings{
		all:   make([]contact.Address, 0, 2*len(addresses)),
		plain: make(map[contact.Address]contact.Address, len(addresses)),
	}
	secret := *s.hashKey.secret.Load()
	for _, a := range addresses {
		hashed := a
		hashed.Key = a.ErasedKey(secret)
		p.all = append(p.all, a)
		if hashed != a {
			p.all = append(p.all, hashed)
			p.plain[hashed] = a
		}
	}
	return p
}

// add puts what was found among the suppressions by address.
func (p spellings) add(found map[contact.Address]contact.Suppression, s contact.Suppression) {
	if plain, hashed := p.plain[s.Address]; hashed {
		s.StoredAs, s.Address = s.Key, plain
	}
	if other, twice := found[s.Address]; twice {
		if s.StoredAs == "" {
			s.StoredAs = other.StoredAs
		}
		s.Merge(&other)
	}
	found[s.Address] = s
}
