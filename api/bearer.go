package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/api/token"
	"patchlane/tasks/contact"
)

// credential reads the bearer token; empty: there is none, or more than one.
func credential(h http.Header) string {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// caller finds the record of whoever sent a credential: an API key, or an access
// token that stands for one.
func (s *Server) caller(ctx context.Context, x *exchange, bearer string) (contact.Key, error) {
	switch {
	case token.Looks(bearer):
		return s.bearer(ctx, x, bearer)
	case len(bearer) < minCredential || len(bearer) > maxCredential:
		return contact.Key{}, unauthorized("A bearer credential is needed.")
	default:
		return s.keys.find(ctx, sha256.Sum256([]byte(bearer)))
	}
}

// bearer finds the record that an access token stands for.
func (s *Server) bearer(ctx context.Context, x *exchange, raw string) (contact.Key, error) {
	id, err := s.opt.Tokens.Verify(ctx, raw)
	if errors.Is(err, token.ErrNoAccount) {
		x.dialect = dialect.ForToken(x.URL.Path)
		return contact.Key{}, unauthorized("Unauthorized: missing account context")
	}
	if err != nil {
		return contact.Key{}, err
	}
	if id.Key == uuid.Nil {
		return contact.Key{
			ID: id.Subject, Account: id.Account, Dialect: id.Dialect, Scopes: id.Scopes,
		}, nil
	}
	key, err := s.keys.findID(ctx, id.Key)
	if err != nil {
		return contact.Key{}, err
	}
	if key.Account != id.Account {
		return contact.Key{}, unauthorized("The access token is not valid.")
	}
	// What the key has lost since, its tokens have lost too. The record is
	// shared, so its scopes are copied.
	key.Scopes = slices.DeleteFunc(slices.Clone(key.Scopes), func(s contact.Scope) bool {
		return !slices.Contains(id.Scopes, s)
	})
	return key, nil
}

// findID returns the record of a key by its id.
func (k *keyring) findID(ctx context.Context, id uuid.UUID) (contact.Key, error) {
	hash, known := k.hashes.GetIfPresent(id)
	if !known {
		v, err, _ := k.flight.Do(string(id[:]), func() (any, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyTimeout)
			defer cancel()
			return k.loadHash(ctx, id)
		})
		if err != nil {
			return contact.Key{}, err
		}
		hash, _ = v.([32]byte)
	}
	key, err := k.find(ctx, hash)
	if err == nil && key.ID != id {
		return contact.Key{}, unauthorized("The key is not known.")
	}
	return key, err
}

// loadHash asks the mirror, then the store, for the hash that an id belongs to.
func (k *keyring) loadHash(ctx context.Context, id uuid.UUID) ([32]byte, error) {
	hash, found, mirrorErr := k.mirroredHash(ctx, id)
	if mirrorErr != nil {
		k.logger.DebugContext(ctx, "key mirror not readable", "err", mirrorErr)
	}
	if mirrorErr == nil && found {
		k.hashes.Set(id, hash)
		return hash, nil
	}
	key, err := k.fromStore(ctx, mirrorErr == nil, func() (contact.Key, error) { return k.store.KeyByID(ctx, id) })
	if err != nil {
		return hash, err
	}
	k.hashes.Set(id, key.Hash)
	return key.Hash, nil
}

// mirroredHash asks the mirror, for a short time.
func (k *keyring) mirroredHash(ctx context.Context, id uuid.UUID) ([32]byte, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, mirrorTimeout)
	defer cancel()
	return k.mirror.KeyHash(ctx, id)
}
