package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

const (
	// life is how long a token of ours is good.
	life = 15 * time.Minute
	// leeway is what the clocks of two machines may differ by.
	leeway = 10 * time.Second
	// maxToken is the size of the largest token that is looked at.
	maxToken = 8 << 10
)

// Config is what a Service needs. Name, Logger and either Keys or Store and
// Mirror are required.
type Config struct {
	// Name is iss and aud of our own tokens. Every process of an installation
	// has the same.
	Name string
	// Keys sign and check our own tokens: the first signs, all check. Empty: the
	// store's.
	Keys []*Key
	// Store and Mirror keep the signing keys when there are no Keys.
	Store  keyStore
	Mirror keyMirror
	// Issuers are those whose tokens are believed beside our own.
	Issuers []Issuer
	Logger  *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Service makes and checks tokens. Its goroutines are those of Run.
type Service struct {
	name    string
	own     *keeper
	parser  *jwt.Parser
	issuers map[string]*issuer
	now     func() time.Time
}

// New makes a service. It reports every problem at once.
func New(c Config) (*Service, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Service{
		name: c.Name, issuers: make(map[string]*issuer, len(c.Issuers)), now: c.Now,
		own:    &keeper{store: c.Store, mirror: c.Mirror, logger: c.Logger, now: c.Now},
		parser: newParser(c.Name, c.Name, []string{"EdDSA", "ES256"}, c.Now),
	}
	var problems []error
	if c.Name == "" || c.Logger == nil {
		problems = append(problems, errors.New("name and logger are needed"))
	}
	if len(c.Keys) > 0 {
		set, err := fixedKeyset(c.Keys)
		problems = append(problems, err)
		s.own.fixed = true
		s.own.known.Store(set)
	} else if c.Store == nil || c.Mirror == nil {
		problems = append(problems, errors.New("either keys or store and mirror are needed"))
	}
	for i := range c.Issuers {
		trusted, err := newIssuer(c.Issuers[i], c.Logger, c.Now)
		if err != nil {
			problems = append(problems, fmt.Errorf("issuer %q: %w", c.Issuers[i].Name, err))
			continue
		}
		if s.issuers[trusted.Name] != nil || trusted.Name == c.Name {
			problems = append(problems, fmt.Errorf("issuer %q is there twice", trusted.Name))
		}
		s.issuers[trusted.Name] = trusted
	}
	return s, errors.Join(problems...)
}

// newParser makes a parser for the tokens of one issuer.
func newParser(iss, aud string, methods []string, now func() time.Time) *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods(methods), jwt.WithIssuer(iss), jwt.WithAudience(aud), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(now), jwt.WithStrictDecoding(),
	)
}

// Run keeps the keys fresh until ctx ends.
func (s *Service) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { s.own.run(ctx) })
	for _, trusted := range s.issuers {
		all.Go(func() { trusted.keys.run(ctx) })
	}
	all.Wait()
}

// JWKS is the document of the public halves of our own keys.
func (s *Service) JWKS(ctx context.Context) ([]byte, error) {
	set, err := s.own.keys(ctx)
	if err != nil {
		return nil, err
	}
	return set.shown, nil
}

// claims are those of our own tokens, in the form of RFC 9068.
type claims struct {
	jwt.RegisteredClaims

	ClientID string `json:"client_id"`
	Account  string `json:"account"`
	Scope    string `json:"scope"`
}

// ownType is the typ of our own tokens.
const ownType = "at+jwt"

// Issued is a new token.
type Issued struct {
	Token   string
	Expires time.Duration
}

// Issue makes a token that names an API key and grants some of its scopes. It
// does not outlive the key.
func (s *Service) Issue(ctx context.Context, key *contact.Key, scopes []contact.Scope) (Issued, error) {
	set, err := s.own.keys(ctx)
	if err != nil {
		return Issued{}, err
	}
	if set.signer == nil {
		return Issued{}, unavailable("The key that signs access tokens cannot be read at the moment.", nil)
	}
	now := s.now().Truncate(time.Second)
	end := now.Add(life)
	if key.ExpiresAt != nil && key.ExpiresAt.Before(end) {
		end = key.ExpiresAt.Truncate(time.Second)
	}
	t := jwt.NewWithClaims(set.signer.method, &claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: s.name, Audience: jwt.ClaimStrings{s.name}, Subject: key.ID.String(), ID: uuid.NewString(),
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(end),
		},
		ClientID: key.ID.String(), Account: key.Account.String(), Scope: JoinScopes(scopes),
	})
	t.Header["typ"], t.Header["kid"] = ownType, set.signer.id
	signed, err := t.SignedString(set.signer.private)
	if err != nil {
		return Issued{}, fmt.Errorf("sign token: %w", err)
	}
	return Issued{Token: signed, Expires: end.Sub(now)}, nil
}

// JoinScopes writes scopes as OAuth does.
func JoinScopes(scopes []contact.Scope) string {
	names := make([]string, len(scopes))
	for i, scope := range scopes {
		names[i] = string(scope)
	}
	return strings.Join(names, " ")
}
