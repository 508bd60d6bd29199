package token

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// Identity is what a good token says.
type Identity struct {
	// Key is the API key that a token of ours was given for; its record decides.
	// uuid.Nil: the token is of another issuer, and says everything itself.
	Key uuid.UUID
	// Subject is a name for whom another issuer gave the token to, the same for
	// every token of one subject.
	Subject uuid.UUID
	Account uuid.UUID
	Scopes  []contact.Scope
	// Dialect is what the subject of another issuer speaks.
	Dialect string
}

// ErrNoAccount is a token that is good but names no account.
var ErrNoAccount = errors.New("token names no account")

// errors of a token that clients are told about, by what the library says.
func refusal(err error) error {
	message := "The access token is not valid."
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		message = "The access token has expired."
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		message = "The access token is not valid yet."
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		message = "The access token is for another audience."
	}
	return &contact.Error{Code: contact.CodeUnauthorized, Message: message, Err: err}
}

func unavailable(message string, err error) error {
	return &contact.Error{Code: contact.CodeStoreUnavailable, Message: message, Err: err}
}

// Looks tells whether a credential has the form of a token: three parts. No API
// key has a dot.
func Looks(credential string) bool { return strings.Count(credential, ".") == 2 }

// Verify checks a token. Its errors are a *contact.Error that says unauthorized
// or, when nobody who knows could be asked, store_unavailable; or ErrNoAccount.
func (s *Service) Verify(ctx context.Context, raw string) (Identity, error) {
	// The decoder of base64 skips line ends, so that one token had many forms.
	if len(raw) > maxToken || !Looks(raw) || strings.ContainsAny(raw, "\r\n") {
		return Identity{}, refusal(nil)
	}
	name, err := s.issuerOf(raw)
	if err != nil {
		return Identity{}, refusal(err)
	}
	if name == s.name {
		return s.verifyOwn(ctx, raw)
	}
	if trusted := s.issuers[name]; trusted != nil {
		return trusted.verify(ctx, raw)
	}
	return Identity{}, refusal(nil)
}

// issuerOf reads who a token says it is of, before anything is believed.
func (s *Service) issuerOf(raw string) (string, error) {
	var c jwt.RegisteredClaims
	if _, _, err := s.parser.ParseUnverified(raw, &c); err != nil {
		return "", err
	}
	return c.Issuer, nil
}

// verifyOwn checks a token of ours.
func (s *Service) verifyOwn(ctx context.Context, raw string) (Identity, error) {
	var c claims
	_, err := s.parser.ParseWithClaims(raw, &c, func(t *jwt.Token) (any, error) {
		kid, err := keyID(t)
		if err != nil {
			return nil, err
		}
		if t.Header["typ"] != ownType {
			return nil, errors.New("token is of another type")
		}
		key, err := s.own.key(ctx, kid)
		if err != nil {
			return nil, err
		}
		// The key says how it is used, not the token.
		if key == nil || key.method.Alg() != t.Method.Alg() {
			return nil, errKid
		}
		return key.public, nil
	})
	if err != nil {
		return Identity{}, told(err)
	}
	id := Identity{Scopes: ParseScopes(c.Scope)}
	if id.Key, err = uuid.Parse(c.Subject); err != nil {
		return Identity{}, refusal(fmt.Errorf("read subject: %w", err))
	}
	if id.Account, err = uuid.Parse(c.Account); err != nil || id.Account == uuid.Nil {
		return Identity{}, ErrNoAccount
	}
	return id, nil
}

// told keeps what a look-up of keys said and takes the rest as a bad token.
func told(err error) error {
	if e, known := errors.AsType[*contact.Error](err); known {
		return e
	}
	return refusal(err)
}

var errKid = errors.New("token names no known key")

// keyID reads the id of the key that signed a token. Extensions that a checker
// must understand are refused: none is understood.
func keyID(t *jwt.Token) (string, error) {
	if _, critical := t.Header["crit"]; critical {
		return "", errors.New("token has critical extensions")
	}
	kid, named := t.Header["kid"].(string)
	if !named || kid == "" || len(kid) > 256 {
		return "", errKid
	}
	return kid, nil
}

// ParseScopes reads the scopes that are known here out of a list with blanks.
func ParseScopes(list string) []contact.Scope {
	var found []contact.Scope
	for name := range strings.FieldsSeq(list) {
		found = addScope(found, contact.Scope(name))
	}
	return found
}
