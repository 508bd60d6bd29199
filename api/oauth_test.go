package api

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"patchlane/api/token"
	"patchlane/tasks/contact"
)

// keyShelf keeps signing keys, for the store and for the mirror.
type keyShelf struct {
	mu   sync.Mutex
	keys []contact.SigningKey
	away error
}

func (s *keyShelf) SigningKeys(context.Context) ([]contact.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys, s.away
}

func (s *keyShelf) AddSigningKey(_ context.Context, k contact.SigningKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) == 0 {
		s.keys = []contact.SigningKey{k}
	}
	return s.away
}

func (s *keyShelf) PutSigningKeys(_ context.Context, keys []contact.SigningKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
	return s.away
}

// newTokens makes a token service with a signing key of its own.
func newTokens(tb testing.TB, c token.Config) *token.Service {
	tb.Helper()
	c.Name, c.Logger = "patchlane", slog.New(slog.DiscardHandler)
	if c.Store == nil {
		c.Store, c.Mirror = &keyShelf{}, &keyShelf{}
	}
	s, err := token.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// ask sends a form to the token endpoint.
func (b *bench) ask(t *testing.T, form url.Values, headers ...string) response {
	t.Helper()
	headers = append([]string{"Content-Type: application/x-www-form-urlencoded"}, headers...)
	return b.send(t, b.server, request{method: "POST", path: "/oauth2/token", body: form.Encode(), headers: headers})
}

func (b *bench) grant(more ...string) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {b.key.ID.String()}, "client_secret": {secret}}
	for i := 0; i < len(more); i += 2 {
		if form.Del(more[i]); more[i+1] != "" {
			form.Set(more[i], more[i+1])
		}
	}
	return form
}

// token exchanges the key of the bench for a token.
func (b *bench) token(t *testing.T) string {
	t.Helper()
	return b.ask(t, b.grant()).want(t, 200, "").str("access_token")
}

func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestTokenEndpoint(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.ask(t, b.grant()).want(t, 200, "")
	if a.str("token_type") != "Bearer" || a.at("expires_in") != 900.0 || a.str("scope") != token.JoinScopes(contact.Scopes()) {
		t.Errorf("answer %s", a.raw)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Pragma") != "no-cache" {
		t.Errorf("headers %v", a.Header)
	}
	b.send(t, b.server, request{method: "GET", path: "/v1/contacts", secret: a.str("access_token")}).want(t, 200, "")

	a = b.ask(t, b.grant("scope", "contacts:read crm_audit:read contacts:read")).want(t, 200, "")
	if a.str("scope") != "contacts:read crm_audit:read" {
		t.Errorf("scope %q", a.str("scope"))
	}
	b.send(t, b.server, request{method: "GET", path: "/v1/contacts", secret: a.str("access_token")}).want(t, 200, "")
	b.send(t, b.server, request{method: "POST", path: "/v1/contacts", secret: a.str("access_token"), body: "{}"}).
		want(t, 403, contact.CodeInsufficientScope)

	id := b.key.ID.String()
	b.ask(t, b.grant("client_id", "", "client_secret", ""), basic(id, secret)).want(t, 200, "")
	b.ask(t, b.grant("client_secret", ""), basic(id, secret)).want(t, 200, "")
	b.ask(t, b.grant("client_id", "", "client_secret", ""), basic(url.QueryEscape(id), "%70"+secret[1:])).want(t, 200, "")
	b.ask(t, b.grant("audience", "ignored", "scope", "")).want(t, 200, "")
	b.ask(t, b.grant("client_id", strings.ToUpper(id))).want(t, 200, "")
}

func TestTokenEndpointErrors(t *testing.T) {
	t.Parallel()
	b := setup(t)
	past := time.Now().Add(-time.Second)
	ended := b.addKey("pl_ended_key_0", contact.Key{Account: b.key.Account, Scopes: contact.Scopes(), ExpiresAt: &past})
	revoked := b.addKey("pl_revoked_key", contact.Key{Account: b.key.Account, Scopes: contact.Scopes(), RevokedAt: &past})
	narrow := b.addKey("pl_narrow_key_", contact.Key{Account: b.key.Account, Scopes: []contact.Scope{contact.ContactsRead}})
	id := b.key.ID.String()
	both := b.grant()
	both.Add("client_id", id)
	for name, c := range map[string]struct {
		form    url.Values
		headers []string
		status  int
		code    string
	}{
		"no grant":           {b.grant("grant_type", ""), nil, 400, "invalid_request"},
		"other grant":        {b.grant("grant_type", "password"), nil, 400, "unsupported_grant_type"},
		"grant in case":      {b.grant("grant_type", "Client_Credentials"), nil, 400, "unsupported_grant_type"},
		"nobody":             {b.grant("client_id", "", "client_secret", ""), nil, 401, "invalid_client"},
		"no secret":          {b.grant("client_secret", ""), nil, 401, "invalid_client"},
		"no id":              {b.grant("client_id", ""), nil, 401, "invalid_client"},
		"id is no id":        {b.grant("client_id", "me"), nil, 401, "invalid_client"},
		"other id":           {b.grant("client_id", narrow.ID.String()), nil, 401, "invalid_client"},
		"unknown id":         {b.grant("client_id", uuid.NewString()), nil, 401, "invalid_client"},
		"unknown secret":     {b.grant("client_secret", "pl_unknown_key"), nil, 401, "invalid_client"},
		"long secret":        {b.grant("client_secret", strings.Repeat("x", 600)), nil, 401, "invalid_client"},
		"ended":              {b.grant("client_id", ended.ID.String(), "client_secret", "pl_ended_key_0"), nil, 401, "invalid_client"},
		"revoked":            {b.grant("client_id", revoked.ID.String(), "client_secret", "pl_revoked_key"), nil, 401, "invalid_client"},
		"twice":              {both, nil, 400, "invalid_request"},
		"two ways":           {b.grant(), []string{basic(id, secret)}, 400, "invalid_request"},
		"bearer":             {b.grant("client_secret", ""), []string{"Authorization: Bearer " + secret}, 401, "invalid_client"},
		"bad basic":          {b.grant("client_secret", ""), []string{"Authorization: Basic ???"}, 401, "invalid_client"},
		"wrong basic":        {b.grant("client_id", "", "client_secret", ""), []string{basic(id, "pl_unknown_key")}, 401, "invalid_client"},
		"basic of other":     {b.grant("client_secret", "", "client_id", uuid.NewString()), []string{basic(id, secret)}, 401, "invalid_client"},
		"escape in basic":    {b.grant("client_id", "", "client_secret", ""), []string{basic(id, "%zz"+secret)}, 401, "invalid_client"},
		"scope unknown":      {b.grant("scope", "contacts:all"), nil, 400, "invalid_scope"},
		"scope beyond":       {b.grant("client_id", narrow.ID.String(), "client_secret", "pl_narrow_key_", "scope", "contacts:read contacts:write"), nil, 400, "invalid_scope"},
		"scope with commas":  {b.grant("scope", "contacts:read,contacts:write"), nil, 400, "invalid_scope"},
		"scope two blanks":   {b.grant("scope", "contacts:read  contacts:write"), nil, 400, "invalid_scope"},
		"scope no utf8":      {b.grant("scope", "\xff"), nil, 400, "invalid_request"},
		"json":               {b.grant(), []string{"Content-Type: application/json"}, 400, "invalid_request"},
		"no type":            {b.grant(), []string{"Content-Type: "}, 400, "invalid_request"},
		"encoded":            {b.grant(), []string{"Content-Encoding: gzip"}, 400, "invalid_request"},
		"large":              {b.grant("x", strings.Repeat("y", 20_000)), nil, 400, "invalid_request"},
		"nothing whatsoever": {url.Values{}, nil, 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := b.ask(t, c.form, c.headers...).want(t, c.status, "")
			if a.str("error") != c.code || a.str("error_description") == "" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("got %s %v", a.raw, a.Header)
			}
			if challenge := a.Header.Get("WWW-Authenticate"); (c.status == 401) != strings.HasPrefix(challenge, "Basic ") {
				t.Errorf("challenge %q", challenge)
			}
		})
	}
}

func TestTokenRequestsInAddressesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.send(t, b.server, request{
		method: "POST", path: "/oauth2/token?client_secret=" + secret, body: b.grant("client_secret", "").Encode(),
		headers: []string{"Content-Type: application/x-www-form-urlencoded"},
	}).want(t, 400, "")
	if a.str("error") != "invalid_request" {
		t.Errorf("got %s", a.raw)
	}
	b.send(t, b.server, request{method: "GET", path: "/oauth2/token"}).want(t, 405, contact.CodeMethodNotAllowed)
	b.send(t, b.server, request{
		method: "POST", path: "/oauth2/token", body: "a=%zz", headers: []string{"Content-Type: application/x-www-form-urlencoded"},
	}).want(t, 400, "")
}

func TestTokenEndpointWithoutServers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	signing := &keyShelf{away: errAway}
	b.tokens = newTokens(t, token.Config{Store: signing, Mirror: &keyShelf{}})
	b.server = b.newServerAlone(t)
	a := b.ask(t, b.grant()).want(t, 503, "")
	if a.str("error") != "temporarily_unavailable" || a.Header.Get("Retry-After") == "" || strings.Contains(string(a.raw), "10.0.0.7") {
		t.Errorf("got %s", a.raw)
	}
	b.send(t, b.server, request{method: "GET", path: "/.well-known/jwks.json"}).want(t, 503, contact.CodeStoreUnavailable)
	signing.mu.Lock()
	signing.away = nil
	signing.mu.Unlock()
	bearer := b.token(t)

	// From then on Redis suffices, for tokens that are there and for new ones.
	signing.mu.Lock()
	signing.away = errAway
	signing.mu.Unlock()
	b.set(func() { b.storeDown = errAway })
	id := uuid.NewString()
	b.token(t)
	b.send(t, b.newServerAlone(t), request{method: "PATCH", path: "/v1/contacts/" + id, body: "{}", secret: bearer}).want(t, 202, "")
	b.set(func() { b.mirrorErr = errAway })
	b.send(t, b.newServerAlone(t), request{method: "GET", path: "/v1/contacts", secret: bearer}).want(t, 503, contact.CodeStoreUnavailable)
	b.set(func() { b.storeDown = nil })
	b.send(t, b.newServerAlone(t), request{method: "GET", path: "/v1/contacts", secret: bearer}).want(t, 200, "")
	// A mirror that does not know the id is filled from the store.
	b.set(func() { b.mirrorErr = nil; delete(b.mirror, b.key.Hash) })
	b.send(t, b.newServerAlone(t), request{method: "GET", path: "/v1/contacts", secret: bearer}).want(t, 200, "")
	b.set(func() { b.storeDown = errAway })
	b.send(t, b.newServerAlone(t), request{method: "GET", path: "/v1/data/crm-logs", secret: bearer}).want(t, 503, "")
	b.send(t, b.newServerAlone(t), request{method: "PATCH", path: "/v1/contacts/" + id, body: "{}", secret: bearer}).want(t, 202, "")
}

func TestTokensFollowTheirKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	get := func(bearer string) response {
		return b.send(t, b.newServerAlone(t), request{method: "GET", path: "/v1/contacts", secret: bearer})
	}
	change := func(edit func(k *contact.Key)) {
		b.set(func() {
			k := b.keys[b.key.Hash]
			edit(&k)
			b.keys[k.Hash], b.mirror[k.Hash] = k, k
		})
	}
	bearer := b.token(t)
	get(bearer).want(t, 200, "")
	change(func(k *contact.Key) { k.Scopes = []contact.Scope{contact.ContactsWrite} })
	get(bearer).want(t, 403, contact.CodeInsufficientScope)
	change(func(k *contact.Key) { k.Scopes = contact.Scopes() })
	change(func(k *contact.Key) { k.Account = uuid.New() })
	get(bearer).want(t, 401, contact.CodeUnauthorized)
	change(func(k *contact.Key) { k.Account = b.key.Account; k.Dialect = "klingon" })
	get(bearer).want(t, 401, contact.CodeUnauthorized)
	change(func(k *contact.Key) { k.Dialect = "native" })
	get(bearer).want(t, 200, "")
	now := time.Now()
	change(func(k *contact.Key) { k.RevokedAt = &now })
	get(bearer).want(t, 401, contact.CodeUnauthorized)
	b.set(func() { delete(b.keys, b.key.Hash); delete(b.mirror, b.key.Hash) })
	get(bearer).want(t, 401, contact.CodeUnauthorized)
}

func TestTokenOfARevokedKeyIsDeadWithinTenSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := b.server.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer running.Wait()
		defer cancel()
		bearer := b.token(t)
		get := func() response {
			return b.send(t, b.server, request{method: "GET", path: "/v1/contacts", secret: bearer})
		}
		get().want(t, 200, "")
		now := time.Now()
		k := b.key
		k.RevokedAt = &now
		b.set(func() { b.keys[k.Hash] = k; b.changed = []contact.Key{k} })
		<-time.After(10 * time.Second)
		get().want(t, 401, contact.CodeUnauthorized)
	})
}

func TestTokensEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		soon := time.Now().Add(time.Minute + 500*time.Millisecond)
		short := b.addKey("pl_short_lived_key", contact.Key{Account: b.key.Account, Scopes: contact.Scopes(), ExpiresAt: &soon})
		bearer := b.token(t)
		a := b.ask(t, b.grant("client_id", short.ID.String(), "client_secret", "pl_short_lived_key")).want(t, 200, "")
		if a.at("expires_in") != 60.0 {
			t.Errorf("got %s", a.raw)
		}
		get := func(bearer string) response {
			return b.send(t, b.server, request{method: "GET", path: "/v1/contacts", secret: bearer})
		}
		get(a.str("access_token")).want(t, 200, "")
		<-time.After(62 * time.Second)
		get(a.str("access_token")).want(t, 401, contact.CodeUnauthorized)
		get(bearer).want(t, 200, "")
		<-time.After(15 * time.Minute)
		get(bearer).want(t, 401, contact.CodeUnauthorized)
	})
}

func TestBadTokensAreAnsweredInTheShapeOfThePath(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bearer := b.token(t)
	head, rest, _ := strings.Cut(bearer, ".")
	body, signature, _ := strings.Cut(rest, ".")
	for _, bad := range []string{
		"a.b.c", "..", head + "..", head + "." + body + ".", head + "." + signature + "." + body, bearer + "x",
		bearer[:len(bearer)-5] + "AAAAA", strings.ToLower(bearer), head + "." + body + "." + signature + ".", strings.Repeat("x.", 9000),
	} {
		a := b.send(t, b.server, request{method: "GET", path: "/v1/contacts", secret: bad}).want(t, 401, contact.CodeUnauthorized)
		if got := a.Header.Get("WWW-Authenticate"); got != `Bearer realm="patchlane", error="invalid_token"` {
			t.Errorf("challenge %q", got)
		}
	}
	a := b.send(t, b.server, request{method: "GET", path: "/v1/contacts"}).want(t, 401, contact.CodeUnauthorized)
	if got := a.Header.Get("WWW-Authenticate"); got != `Bearer realm="patchlane"` {
		t.Errorf("challenge %q", got)
	}
	a = b.send(t, b.server, request{method: "PATCH", path: "/contacts/" + uuid.NewString(), body: "{}", secret: bearer + "x"}).want(t, 401, "")
	if a.str("message") != "Unauthorized: missing account context" || a.at("error") != true {
		t.Errorf("got %s", a.raw)
	}
}

// TestTokensOfOthers believes another issuer, for Routera's clients.
func TestTokensOfOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	issuer, sign := newIssuer(t)
	b.tokens = newTokens(t, token.Config{Issuers: []token.Issuer{issuer}})
	b.server = b.newServerAlone(t)
	send := func(method, path, body, bearer string) response {
		return b.send(t, b.server, request{method: method, path: path, body: body, secret: bearer})
	}
	good := sign(jwt.MapClaims{"account": b.key.Account.String(), "scope": "contacts:read contacts:write"})
	created := send("POST", "/contacts", `{"fields":{"first_name":"Ada","external_id":"x-1"}}`, good).want(t, 201, "")
	id := created.str("id")
	a := send("PATCH", "/contacts/"+id, `{"fields":{"last_name":"Byron"}}`, good).want(t, 200, "")
	if a.str("last_name") != "Byron" || a.at("archived") != false {
		t.Errorf("got %s", a.raw)
	}
	if actor := b.appended[0].Actor; actor == "" || actor == uuid.Nil.String() || actor != b.appended[1].Actor {
		t.Errorf("actor %q", actor)
	}
	send("DELETE", "/contacts/"+id, "", good).want(t, 403, "")
	other := sign(jwt.MapClaims{"account": uuid.NewString(), "scope": "contacts:read"})
	send("GET", "/contacts/"+id, "", other).want(t, 404, "")
	for _, path := range []string{"/contacts/" + id, "/v1/contacts/" + id, "/functions/v1/api/v1/contacts/" + id} {
		a := send("PATCH", path, `{"fields":{"last_name":"Byron"}}`, sign(jwt.MapClaims{"scope": "contacts:write"})).want(t, 401, "")
		if a.str("message") != "Unauthorized: missing account context" || a.at("error") != true {
			t.Errorf("got %s", a.raw)
		}
	}
}

// newIssuer makes another issuer, and what signs its tokens.
func newIssuer(t *testing.T) (issuer token.Issuer, sign func(jwt.MapClaims) string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	doc := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(doc)) }))
	t.Cleanup(site.Close)
	issuer = token.Issuer{Name: "https://id.example.com", JWKS: site.URL, Private: true, Audience: "crm", AccountClaim: "account", Dialect: "routera"}
	return issuer, func(c jwt.MapClaims) string {
		c["iss"], c["aud"], c["sub"], c["exp"] = issuer.Name, "crm", "client", time.Now().Add(time.Minute).Unix()
		made := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
		made.Header["kid"] = "k"
		raw, err := made.SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
}

func TestTokenKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.send(t, b.server, request{method: "GET", path: "/.well-known/jwks.json"}).want(t, 200, "")
	if a.str("keys.0.alg") != "EdDSA" || a.str("keys.0.kid") == "" || a.at("keys.1") != nil || a.at("keys.0.d") != nil {
		t.Errorf("got %s", a.raw)
	}
	b.send(t, b.server, request{method: "HEAD", path: "/.well-known/jwks.json"}).want(t, 200, "")
}

func TestTokensStayOutOfLogs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bearer := b.token(t)
	b.ask(t, b.grant("client_id", "")).want(t, 401, "")
	b.send(t, b.server, request{method: "GET", path: "/v1/contacts", secret: bearer}).want(t, 200, "")
	b.send(t, b.server, request{method: "GET", path: "/v1/contacts", secret: bearer + "x"}).want(t, 401, "")
	b.set(func() { b.storeDown, b.mirrorErr = errAway, errAway })
	b.send(t, b.newServerAlone(t), request{method: "GET", path: "/v1/contacts", secret: bearer}).want(t, 503, "")
	lines := b.log.String()
	for part := range strings.SplitSeq(bearer, ".") {
		if strings.Contains(lines, part) {
			t.Errorf("%q is in the log", part)
		}
	}
	if strings.Contains(lines, secret) || !strings.Contains(lines, b.key.ID.String()) {
		t.Errorf("log:\n%s", lines)
	}
}

// FuzzCredential holds the reading of the Authorization header: what comes out
// is in the header, without blanks around, and no request with two passes.
func FuzzCredential(f *testing.F) {
	for _, seed := range []string{"Bearer pl_x", "bearer  a.b.c ", "Basic dTpw", "Bearer", "", "Bearer\tx", "Bearer a, Bearer b", "BEARER \x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := credential(map[string][]string{"Authorization": {value}})
		if !strings.HasSuffix(strings.TrimSpace(value), got) || got != strings.TrimSpace(got) {
			t.Errorf("%q out of %q", got, value)
		}
		if got != "" && !strings.EqualFold(value[:min(7, len(value))], "bearer ") {
			t.Errorf("%q has no scheme", value)
		}
		if got := credential(map[string][]string{"Authorization": {value, value}}); got != "" {
			t.Errorf("two headers gave %q", got)
		}
	})
}

func TestFormsInTheLogs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ask(t, b.grant()).want(t, 200, "")
	want := fmt.Sprintf("%q:%q", "route", "/oauth2/token")
	if diff := cmp.Diff(1, strings.Count(b.log.String(), want)); diff != "" {
		t.Errorf("lines of the token endpoint: %s\n%s", diff, b.log.String())
	}
}
