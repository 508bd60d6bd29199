package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// Algorithms lists those that another issuer may sign with. None of them takes a
// secret: a public key cannot be used as one.
func Algorithms() []string {
	return []string{
		"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
	}
}

// Issuer is somebody else whose tokens are believed.
type Issuer struct {
	// Name is the iss of its tokens.
	Name string
	// JWKS is the address of its keys: https, and public.
	JWKS string
	// Private allows keys at an address that is not public, http on this machine
	// among them, and the proxies of the environment on the way there.
	Private bool
	// Audience is what the aud of its tokens must name.
	Audience string
	// AccountClaim is the member that names the account by its id.
	AccountClaim string
	// Accounts are those that the issuer may name; empty: every one.
	Accounts []uuid.UUID
	// Dialect is spoken by the bearers of its tokens.
	Dialect string
	// ScopeClaim is the member that grants scopes: a text with blanks or a list.
	// Empty: scope, else scp.
	ScopeClaim string
	// ScopeMap translates its scopes; empty: they are named as ours are.
	ScopeMap map[string][]contact.Scope
	// Scopes are granted to every token of the issuer.
	Scopes []contact.Scope
	// Algorithms are those it signs with; empty: all of Algorithms.
	Algorithms []string
}

// Validate reports every problem.
func (i *Issuer) Validate() error {
	var problems []error
	for _, m := range []struct{ name, value string }{
		{"iss", i.Name}, {"jwks", i.JWKS}, {"aud", i.Audience}, {"account-claim", i.AccountClaim}, {"dialect", i.Dialect},
	} {
		if m.value == "" {
			problems = append(problems, errors.New(m.name+" is missing"))
		}
	}
	if i.JWKS != "" && !fetchable(i.JWKS, i.Private) {
		problems = append(problems, errors.New("jwks is neither an https address nor, of a private issuer, an http address of this machine"))
	}
	for _, alg := range i.Algorithms {
		if !slices.Contains(Algorithms(), alg) {
			problems = append(problems, fmt.Errorf("alg %q is none of %s", alg, strings.Join(Algorithms(), ", ")))
		}
	}
	granted := slices.Clone(i.Scopes)
	for _, scopes := range i.ScopeMap {
		granted = append(granted, scopes...)
	}
	for _, scope := range granted {
		if !slices.Contains(contact.Scopes(), scope) {
			problems = append(problems, fmt.Errorf("scope %q is none of %v", scope, contact.Scopes()))
		}
	}
	return errors.Join(problems...)
}

// fetchable tells whether keys may be fetched from an address: what they decide
// must not come over a wire in the clear.
func fetchable(address string, private bool) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return private && u.Scheme == "http" && (u.Hostname() == "localhost" || (err == nil && ip.IsLoopback()))
}

// issuer checks the tokens of somebody else.
type issuer struct {
	Issuer
	parser *jwt.Parser
	keys   *remote
}

func newIssuer(i Issuer, logger *slog.Logger, now func() time.Time) (*issuer, error) {
	if err := i.Validate(); err != nil {
		return nil, err
	}
	algs := i.Algorithms
	if len(algs) == 0 {
		algs = Algorithms()
	}
	return &issuer{
		Issuer: i, parser: newParser(i.Name, i.Audience, algs, now), keys: newRemote(i.JWKS, i.Private, logger, now),
	}, nil
}

// verify checks a token of this issuer.
func (i *issuer) verify(ctx context.Context, raw string) (Identity, error) {
	c := jwt.MapClaims{}
	_, err := i.parser.ParseWithClaims(raw, c, func(t *jwt.Token) (any, error) {
		kid, err := keyID(t)
		if err != nil {
			return nil, err
		}
		return i.keys.key(ctx, kid, t.Method.Alg())
	})
	if err != nil {
		return Identity{}, told(err)
	}
	named, _ := c[i.AccountClaim].(string)
	account, err := uuid.Parse(named)
	if err != nil || account == uuid.Nil {
		return Identity{}, ErrNoAccount
	}
	if len(i.Accounts) > 0 && !slices.Contains(i.Accounts, account) {
		return Identity{}, &contact.Error{
			Code: contact.CodeUnauthorized, Message: "The issuer of the access token does not speak for its account.",
		}
	}
	subject, err := c.GetSubject()
	if err != nil || subject == "" {
		return Identity{}, refusal(errors.New("token has no subject"))
	}
	return Identity{
		Subject: uuid.NewSHA1(uuid.NameSpaceURL, []byte(i.Name+"\x00"+subject)),
		Account: account, Scopes: i.scopes(c), Dialect: i.Dialect,
	}, nil
}

// scopes are those that a token grants, in our own words.
func (i *issuer) scopes(c jwt.MapClaims) []contact.Scope {
	granted := slices.Clone(i.Scopes)
	for _, name := range i.granted(c) {
		if len(i.ScopeMap) == 0 {
			granted = addScope(granted, contact.Scope(name))
		}
		for _, scope := range i.ScopeMap[name] {
			granted = addScope(granted, scope)
		}
	}
	return granted
}

// granted reads the names of the scopes that a token has.
func (i *issuer) granted(c jwt.MapClaims) []string {
	claim := i.ScopeClaim
	if claim == "" {
		claim = "scope"
		if _, there := c[claim]; !there {
			claim = "scp"
		}
	}
	switch v := c[claim].(type) {
	case string:
		return strings.Fields(v)
	case []any:
		names := make([]string, 0, len(v))
		for _, one := range v {
			if name, is := one.(string); is {
				names = append(names, name)
			}
		}
		return names
	default:
		return nil
	}
}

// addScope adds a scope that is known here and not there yet.
func addScope(scopes []contact.Scope, s contact.Scope) []contact.Scope {
	if slices.Contains(scopes, s) || !slices.Contains(contact.Scopes(), s) {
		return scopes
	}
	return append(scopes, s)
}
