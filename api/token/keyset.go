package token

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/MicahParks/jwkset"
)

// keyset is what a process knows of our own keys. It never changes.
type keyset struct {
	// signer is nil when no private half is known.
	signer *Key
	byID   map[string]*Key
	// shown is the document at /.well-known/jwks.json.
	shown []byte
}

// newKeyset makes a set of keys, of which signer, if there is one, signs.
func newKeyset(signer *Key, keys []*Key) (*keyset, error) {
	set := &keyset{signer: signer, byID: make(map[string]*Key, len(keys))}
	doc := jwkset.JWKSMarshal{Keys: make([]jwkset.JWKMarshal, 0, len(keys))}
	for _, k := range keys {
		if set.byID[k.id] != nil {
			return nil, fmt.Errorf("signing key %s is there twice", k.id)
		}
		set.byID[k.id] = k
		doc.Keys = append(doc.Keys, k.shown)
	}
	var err error
	if set.shown, err = json.Marshal(doc); err != nil {
		return nil, fmt.Errorf("encode key set: %w", err)
	}
	set.shown = append(set.shown, '\n')
	return set, nil
}

// key returns a key by its id; nil: it is not in the set.
func (s *keyset) key(id string) *Key {
	if s == nil {
		return nil
	}
	return s.byID[id]
}

// fixedKeyset is the set of configured keys: the first signs, all check.
func fixedKeyset(keys []*Key) (*keyset, error) {
	if !keys[0].Signs() {
		return nil, errors.New("the first signing key has no private half")
	}
	return newKeyset(keys[0], keys)
}
