package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/api/token"
	"patchlane/store"
	"patchlane/tasks/contact"
	"patchlane/tasks/mirror"
)

// jwtConfig is what access tokens are signed with and who else's are believed.
type jwtConfig struct {
	JWTKeys    []string `name:"jwt-keys" env:"PATCHLANE_JWT_KEYS" group:"api" placeholder:"FILE" help:"PEM files of the keys of access tokens (Ed25519 or P-256), the same for every api: the first signs, all check; to rotate, add the new key at the end everywhere, then put it first, then drop the old one. Without any, keys are made and kept in Postgres."`
	JWTIssuers []string `name:"jwt-issuer" env:"PATCHLANE_JWT_ISSUERS" sep:";" group:"api" placeholder:"SPEC" help:"Another issuer whose access tokens are believed: iss=URL,jwks=URL,aud=NAME,account-claim=NAME, and, if wanted, private=true (its keys are at an address that is not public, or behind the proxy of the environment; else they are fetched over https from public addresses alone), accounts='ID ID' (those it may speak for; default: every one), dialect=routera, scope-claim=NAME, scope-map='theirs=ours theirs=ours', scopes='ours ours' (granted to every token), algs='RS256 ES256'. Repeat for more."`
}

// checkJWT reports every problem, those of the files too.
func (c *jwtConfig) checkJWT() error {
	_, keyErr := c.keys()
	_, issuerErr := c.issuers()
	return errors.Join(keyErr, issuerErr)
}

// maxPEM is the size of the largest key file.
const maxPEM = 64 << 10

// keys reads the key files. Messages name files and never their content.
func (c *jwtConfig) keys() ([]*token.Key, error) {
	var problems []error
	keys := make([]*token.Key, 0, len(c.JWTKeys))
	for _, name := range c.JWTKeys {
		if name == "" {
			continue // an empty variable
		}
		k, err := readKey(name)
		if err == nil && len(keys) == 0 && !k.Signs() {
			err = errors.New("the first key must be a private one")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("--jwt-keys: %s: %w", name, err))
			continue
		}
		keys = append(keys, k)
	}
	return keys, errors.Join(problems...)
}

func readKey(name string) (*token.Key, error) {
	f, err := os.Open(name) //nolint:gosec // The operator names the file.
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxPEM))
	if err != nil {
		return nil, err
	}
	return token.ParsePEM(content)
}

// issuers reads the issuers.
func (c *jwtConfig) issuers() ([]token.Issuer, error) {
	var problems []error
	issuers := make([]token.Issuer, 0, len(c.JWTIssuers))
	seen := make(map[string]bool, len(c.JWTIssuers))
	for _, spec := range c.JWTIssuers {
		if strings.TrimSpace(spec) == "" {
			continue
		}
		i, err := parseIssuer(spec)
		if err == nil && seen[i.Name] {
			err = errors.New("the issuer is there twice")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("--jwt-issuer: %q: %w", spec, err))
			continue
		}
		seen[i.Name] = true
		issuers = append(issuers, i)
	}
	return issuers, errors.Join(problems...)
}

// parseIssuer reads one issuer: members with commas between, lists with blanks.
func parseIssuer(spec string) (token.Issuer, error) {
	i := token.Issuer{Dialect: "routera"}
	var problems []error
	seen := make(map[string]bool)
	for member := range strings.SplitSeq(spec, ",") {
		name, value, found := strings.Cut(strings.TrimSpace(member), "=")
		if !found || seen[name] {
			problems = append(problems, fmt.Errorf("%q is no name=value, or is there twice", member))
			continue
		}
		seen[name] = true
		if err := setIssuer(&i, name, strings.TrimSpace(value)); err != nil {
			problems = append(problems, err)
		}
	}
	if _, spoken := dialect.ByName(i.Dialect); !spoken {
		problems = append(problems, fmt.Errorf("dialect %q is not spoken by this release, only %s", i.Dialect, strings.Join(dialects(), ", ")))
	}
	return i, errors.Join(append(problems, i.Validate())...)
}

func setIssuer(i *token.Issuer, name, value string) error {
	var err error
	switch name {
	case "iss":
		i.Name = value
	case "jwks":
		i.JWKS = value
	case "private":
		i.Private, err = strconv.ParseBool(value)
	case "aud":
		i.Audience = value
	case "account-claim":
		i.AccountClaim = value
	case "accounts":
		i.Accounts, err = parseAccounts(value)
	case "dialect":
		i.Dialect = value
	case "scope-claim":
		i.ScopeClaim = value
	case "scope-map":
		i.ScopeMap, err = parseScopeMap(value)
	case "scopes":
		for scope := range strings.FieldsSeq(value) {
			i.Scopes = append(i.Scopes, contact.Scope(scope))
		}
	case "algs":
		i.Algorithms = strings.Fields(value)
	default:
		err = fmt.Errorf("%q is no member of an issuer", name)
	}
	return err
}

func parseAccounts(list string) ([]uuid.UUID, error) {
	var accounts []uuid.UUID
	for name := range strings.FieldsSeq(list) {
		id, err := dialect.ParseID(name)
		if err != nil {
			return nil, fmt.Errorf("accounts: %q is no id", name)
		}
		accounts = append(accounts, id)
	}
	if len(accounts) == 0 {
		return nil, errors.New("accounts: none is named; leave it away for every one")
	}
	return accounts, nil
}

// parseScopeMap reads pairs theirs=ours. Ours has no equals sign, theirs may.
func parseScopeMap(list string) (map[string][]contact.Scope, error) {
	scopes := make(map[string][]contact.Scope)
	for pair := range strings.FieldsSeq(list) {
		at := strings.LastIndexByte(pair, '=')
		if at <= 0 {
			return nil, fmt.Errorf("scope-map: %q is no theirs=ours", pair)
		}
		scopes[pair[:at]] = append(scopes[pair[:at]], contact.Scope(pair[at+1:]))
	}
	if len(scopes) == 0 {
		return nil, errors.New("scope-map: nothing is in it; leave it away for scopes that are named as ours are")
	}
	return scopes, nil
}

// issuerNames are those of the issuers, for the log: an address may hold more.
func (c *jwtConfig) issuerNames() []string {
	issuers, _ := c.issuers()
	names := make([]string, len(issuers))
	for i := range issuers {
		names[i] = issuers[i].Name
	}
	return names
}

// tokens makes the service of access tokens. Its name is the public address, so
// that it is the same in every process of an installation.
func (c *config) tokens(now func() time.Time, db *store.Store, copies *mirror.Mirror, logger *slog.Logger) (*token.Service, error) {
	keys, keyErr := c.keys()
	issuers, issuerErr := c.issuers()
	if err := errors.Join(keyErr, issuerErr); err != nil {
		return nil, &configError{err}
	}
	name := strings.TrimRight(c.PublicURL, "/")
	if name == "" {
		name = "patchlane"
	}
	s, err := token.New(token.Config{
		Name: name, Keys: keys, Store: db, Mirror: copies, Issuers: issuers, Logger: logger, Now: now,
	})
	if err != nil {
		return nil, &configError{err}
	}
	return s, nil
}
