package token

import (
	"context"
	"crypto/elliptic"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// site is the site of another issuer.
type site struct {
	*httptest.Server
	mu      sync.Mutex
	doc     []byte
	answer  http.HandlerFunc // nil: the document
	fetches atomic.Int64
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetches.Add(1)
		s.mu.Lock()
		doc, answer := s.doc, s.answer
		s.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		_, _ = w.Write(doc)
	}))
	t.Cleanup(s.Close)
	return s
}

// publish makes the site show keys.
func (s *site) publish(t *testing.T, keys ...jwkset.JWKMarshal) {
	t.Helper()
	doc, err := json.Marshal(jwkset.JWKSMarshal{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doc = doc
}

func (s *site) set(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// shown is a public key as a site shows it.
func shown(t *testing.T, kid string, public any, alg string) jwkset.JWKMarshal {
	t.Helper()
	jwk, err := jwkset.NewJWKFromKey(public, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
	if err != nil {
		t.Fatal(err)
	}
	m := jwk.Marshal()
	m.ALG = jwkset.ALG(alg)
	return m
}

const foreign = "https://id.example.com/"

// believing makes a service that believes a site.
func believing(t *testing.T, address string, edit func(i *Issuer)) *Service {
	t.Helper()
	i := Issuer{Name: foreign, JWKS: address, Private: true, Audience: "crm", AccountClaim: "https://crm/account", Dialect: "native"}
	if edit != nil {
		edit(&i)
	}
	return newService(t, Config{Issuers: []Issuer{i}})
}

// foreignClaims makes the claims of a good token of the other issuer, changed.
func foreignClaims(account uuid.UUID, edit func(c jwt.MapClaims)) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": foreign, "aud": []string{"crm"}, "sub": "client-7", "exp": time.Now().Add(time.Minute).Unix(),
		"scope": "contacts:read openid contacts:read", "https://crm/account": account.String(),
	}
	if edit != nil {
		edit(c)
	}
	return c
}

func TestTokensOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	s, account := newSite(t), uuid.New()
	rsaKey, ec, ed := newRSA(t, 2048), newECDSA(t, elliptic.P384()), newEd25519(t)
	s.publish(t, shown(t, "rsa", rsaKey.Public(), "RS256"), shown(t, "ec", ec.Public(), ""), shown(t, "ed", ed.Public(), "EdDSA"))
	v := believing(t, s.URL, nil)
	for kid, raw := range map[string]string{
		"rsa": signed(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa"}, foreignClaims(account, nil)),
		"ec":  signed(t, jwt.SigningMethodES384, ec, map[string]any{"kid": "ec"}, foreignClaims(account, nil)),
		"ed":  signed(t, jwt.SigningMethodEdDSA, ed, map[string]any{"kid": "ed"}, foreignClaims(account, nil)),
	} {
		got, err := v.Verify(t.Context(), raw)
		want := Identity{
			Subject: uuid.NewSHA1(uuid.NameSpaceURL, []byte(foreign+"\x00client-7")),
			Account: account, Scopes: []contact.Scope{contact.ContactsRead}, Dialect: "native",
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", kid, err, diff)
		}
	}
	if n := s.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestForeignForgeriesAreRefused(t *testing.T) {
	t.Parallel()
	s, account := newSite(t), uuid.New()
	key, weak := newRSA(t, 2048), newRSA(t, 1024)
	ec := newECDSA(t, elliptic.P256())
	encryption := shown(t, "enc", ec.Public(), "")
	encryption.USE = jwkset.UseEnc
	secret := jwkset.JWKMarshal{KTY: jwkset.KtyOct, KID: "oct", K: "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}
	s.publish(t, shown(t, "rsa", key.Public(), "RS256"), shown(t, "weak", weak.Public(), ""), shown(t, "any", key.Public(), ""), encryption, secret)
	v := believing(t, s.URL, func(i *Issuer) { i.Algorithms = []string{"RS256", "PS256", "ES256"} })
	public := pkix(t, key.Public())
	for name, raw := range map[string]string{
		"none":            signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, map[string]any{"kid": "rsa"}, foreignClaims(account, nil)),
		"public key":      signed(t, jwt.SigningMethodHS256, public, map[string]any{"kid": "rsa"}, foreignClaims(account, nil)),
		"shown secret":    signed(t, jwt.SigningMethodHS256, []byte("secretsecretsecretsecret"), map[string]any{"kid": "oct"}, foreignClaims(account, nil)),
		"other algorithm": signed(t, jwt.SigningMethodPS256, key, map[string]any{"kid": "rsa"}, foreignClaims(account, nil)),
		"not allowed":     signed(t, jwt.SigningMethodRS512, key, map[string]any{"kid": "any"}, foreignClaims(account, nil)),
		"other kind":      signed(t, jwt.SigningMethodES256, ec, map[string]any{"kid": "any"}, foreignClaims(account, nil)),
		"weak key":        signed(t, jwt.SigningMethodRS256, weak, map[string]any{"kid": "weak"}, foreignClaims(account, nil)),
		"encryption key":  signed(t, jwt.SigningMethodES256, ec, map[string]any{"kid": "enc"}, foreignClaims(account, nil)),
		"no kid":          signed(t, jwt.SigningMethodRS256, key, nil, foreignClaims(account, nil)),
		"own name":        signed(t, jwt.SigningMethodRS256, key, map[string]any{"kid": "rsa"}, foreignClaims(account, func(c jwt.MapClaims) { c["iss"] = "https://crm.example.com" })),
		"unknown issuer":  signed(t, jwt.SigningMethodRS256, key, map[string]any{"kid": "rsa"}, foreignClaims(account, func(c jwt.MapClaims) { c["iss"] = "https://else.example.com/" })),
		"other audience":  signed(t, jwt.SigningMethodRS256, key, map[string]any{"kid": "rsa"}, foreignClaims(account, func(c jwt.MapClaims) { c["aud"] = "else" })),
		"expired":         signed(t, jwt.SigningMethodRS256, key, map[string]any{"kid": "rsa"}, foreignClaims(account, func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Minute).Unix() })),
		"endless":         signed(t, jwt.SigningMethodRS256, key, map[string]any{"kid": "rsa"}, foreignClaims(account, func(c jwt.MapClaims) { delete(c, "exp") })),
		"not yet":         signed(t, jwt.SigningMethodRS256, key, map[string]any{"kid": "rsa"}, foreignClaims(account, func(c jwt.MapClaims) { c["nbf"] = time.Now().Add(time.Minute).Unix() })),
		"nobody":          signed(t, jwt.SigningMethodRS256, key, map[string]any{"kid": "rsa"}, foreignClaims(account, func(c jwt.MapClaims) { delete(c, "sub") })),
	} {
		refused(t, v, name, raw)
	}
	for _, no := range []any{nil, "", 7, "acme", uuid.Nil.String(), []string{account.String()}} {
		raw := signed(t, jwt.SigningMethodRS256, key, map[string]any{"kid": "rsa"}, foreignClaims(account, func(c jwt.MapClaims) { c["https://crm/account"] = no }))
		if _, err := v.Verify(t.Context(), raw); err != ErrNoAccount { //nolint:errorlint // It is that very error.
			t.Errorf("account %v: %v", no, err)
		}
	}
	bound := believing(t, s.URL, func(i *Issuer) { i.Accounts = []uuid.UUID{account} })
	if _, err := bound.Verify(t.Context(), signed(t, jwt.SigningMethodRS256, key, map[string]any{"kid": "rsa"}, foreignClaims(account, nil))); err != nil {
		t.Error(err)
	}
	refused(t, bound, "another tenant", signed(t, jwt.SigningMethodRS256, key, map[string]any{"kid": "rsa"}, foreignClaims(uuid.New(), nil)))
}

func TestForeignScopes(t *testing.T) {
	t.Parallel()
	s, key, account := newSite(t), newEd25519(t), uuid.New()
	s.publish(t, shown(t, "k", key.Public(), ""))
	for name, c := range map[string]struct {
		edit  func(i *Issuer)
		claim string
		value any
		want  string
	}{
		"text":    {nil, "scope", "contacts:write x:y contacts:read", "contacts:write contacts:read"},
		"list":    {nil, "scp", []any{"contacts:write", 5}, "contacts:write"},
		"none":    {nil, "roles", "contacts:write", ""},
		"number":  {nil, "scope", 5, ""},
		"claim":   {func(i *Issuer) { i.ScopeClaim = "permissions" }, "permissions", []any{"contacts:read"}, "contacts:read"},
		"granted": {func(i *Issuer) { i.Scopes = []contact.Scope{contact.AuditRead} }, "scope", "contacts:read", "crm_audit:read contacts:read"},
		"mapped": {func(i *Issuer) {
			i.ScopeMap = map[string][]contact.Scope{"crm": {contact.ContactsRead, contact.ContactsWrite}}
		}, "scope", "crm contacts:delete", "contacts:read contacts:write"},
		"not ours": {nil, "scope", "admin", ""},
	} {
		v := believing(t, s.URL, c.edit)
		raw := signed(t, jwt.SigningMethodEdDSA, key, map[string]any{"kid": "k"}, foreignClaims(account, func(m jwt.MapClaims) {
			delete(m, "scope")
			m[c.claim] = c.value
		}))
		got, err := v.Verify(t.Context(), raw)
		if err != nil || JoinScopes(got.Scopes) != c.want {
			t.Errorf("%s: %v, %v", name, got.Scopes, err)
		}
	}
}

func TestIssuersThatCannotWork(t *testing.T) {
	t.Parallel()
	good := Issuer{Name: "n", JWKS: "https://h/k", Audience: "a", AccountClaim: "c", Dialect: "native"}
	for _, address := range []string{"https://h/k?x=y", "http://127.0.0.1:1/k", "http://[::1]/k", "http://localhost/k"} {
		i := good
		i.JWKS, i.Private = address, true
		if err := i.Validate(); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		i.Private = false
		if public := strings.HasPrefix(address, "https:"); (i.Validate() == nil) != public {
			t.Errorf("%s, not private: %v", address, i.Validate())
		}
	}
	for _, address := range []string{"http://h/k", "http://10.0.0.1/k", "http://169.254.169.254/k", "http://localhost.evil.com/k", "file:///etc/passwd", "ftp://h/k", "https://u:p@h/k", "h/k", "https:///k", "%zz"} {
		i := good
		if i.JWKS = address; i.Validate() == nil {
			t.Errorf("%s: taken", address)
		}
	}
	err := (&Issuer{Algorithms: []string{"HS256", "none"}, Scopes: []contact.Scope{"x"}}).Validate()
	for _, want := range []string{"iss", "jwks", "aud", "account-claim", "dialect", "HS256", "none", `"x"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in %v", want, err)
		}
	}
	if _, err := New(Config{Name: "n", Logger: slog.New(slog.DiscardHandler), Store: &shelf{}, Mirror: &shelf{}, Issuers: []Issuer{good, {}}}); err == nil || strings.Count(err.Error(), "issuer") < 2 {
		t.Errorf("problems %v", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("nothing suffices")
	}
}

// TestSitesThatMisbehave holds that no answer of a site hurts: the keys that are
// known stay, nothing is waited for without end, nothing else is asked.
func TestSitesThatMisbehave(t *testing.T) {
	t.Parallel()
	key := newEd25519(t)
	fine := shown(t, "k", key.Public(), "")
	elsewhere := newSite(t)
	elsewhere.publish(t, fine)
	for name, answer := range map[string]http.HandlerFunc{
		"error":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[` + strings.Repeat(" ", maxJWKS) + `]}`))
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat(" ", 1<<16))); err != nil {
					return
				}
			}
		},
		"many": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[` + strings.Repeat("{},", maxRemoteKeys) + `{}]}`))
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"no keys": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"odd keys": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[5,{"kty":"EC"},{"kid":"x","kty":"RSA"}]}`))
		},
		"no content": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.set(answer)
			now := time.Now()
			clock := func() time.Time { return now }
			r := newRemote(s.URL, true, discard(), clock)
			_, err := r.key(t.Context(), "k", "EdDSA")
			if contact.CodeOf(err) != contact.CodeStoreUnavailable {
				t.Fatalf("got %v", err)
			}
			s.publish(t, fine)
			s.set(nil)
			now = now.Add(fetchRest)
			if _, err := r.key(t.Context(), "k", "EdDSA"); err != nil {
				t.Fatal(err)
			}
			s.set(answer)
			if err := r.fetch(t.Context()); err == nil {
				t.Fatal("the answer was taken")
			}
			if _, err := r.key(t.Context(), "k", "EdDSA"); err != nil {
				t.Errorf("the known key is gone: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		if n := elsewhere.fetches.Load(); n != 0 {
			t.Errorf("%d redirects were followed", n)
		}
	})
}

func TestSlowSites(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	release := make(chan struct{})
	s.set(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	r := newRemote(s.URL, true, discard(), time.Now)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := r.key(ctx, "k", "EdDSA"); contact.CodeOf(err) != contact.CodeStoreUnavailable {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > fetchTimeout/2 {
		t.Errorf("the request waited %s", took)
	}
	close(release)
	// The fetch went on: whoever comes later finds what came of it.
	r.flight.Do("", func() (any, error) { return nil, nil }) //nolint:errcheck // It only joins the fetch.
	if err := r.ask(t.Context()); err == nil {
		t.Error("the answer without keys was taken")
	}
}

func TestUnknownKidsDoNotFloodTheIssuer(t *testing.T) {
	t.Parallel()
	s, key := newSite(t), newEd25519(t)
	s.publish(t, shown(t, "k", key.Public(), ""))
	now := time.Now()
	r := newRemote(s.URL, true, discard(), func() time.Time { return now })
	for range 100 {
		if _, err := r.key(t.Context(), uuid.NewString(), "EdDSA"); err != errKid { //nolint:errorlint // It is that very error.
			t.Fatal(err)
		}
	}
	if n := s.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	// A key that the issuer rotated to is there with its first token, at the
	// latest half a minute after the last fetch.
	s.publish(t, shown(t, "new", newEd25519(t).Public(), ""))
	now = now.Add(fetchRest)
	if _, err := r.key(t.Context(), "new", "EdDSA"); err != nil {
		t.Error(err)
	}
	if _, err := r.key(t.Context(), "k", "EdDSA"); err == nil {
		t.Error("a key that the issuer withdrew is believed")
	}
	if n := s.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

// transport answers without a network.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func TestKeysOfAnIssuerStayFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		var down atomic.Bool
		var asked atomic.Int64
		doc, err := json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{shown(t, "k", newEd25519(t).Public(), "")}})
		if err != nil {
			t.Fatal(err)
		}
		r := newRemote("https://id.example.com/jwks", true, slog.New(slog.NewJSONHandler(&log, nil)), time.Now)
		r.client.Transport = transport(func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			if down.Load() {
				return nil, errAway
			}
			w := httptest.NewRecorder()
			_, _ = w.Write(doc)
			return w.Result(), nil
		})
		go r.run(t.Context())
		synctest.Wait()
		if _, err := r.key(t.Context(), "k", "EdDSA"); err != nil {
			t.Fatal(err)
		}
		<-time.After(3 * fetchEvery)
		synctest.Wait()
		if n := asked.Load(); n != 4 {
			t.Errorf("%d fetches in three periods", n)
		}
		down.Store(true)
		<-time.After(24 * time.Hour)
		if _, err := r.key(t.Context(), "k", "EdDSA"); err != nil {
			t.Errorf("an outage of the issuer is one of ours: %v", err)
		}
		if !strings.Contains(log.String(), "not fetched") {
			t.Error("nothing was logged")
		}
		down.Store(false)
		<-time.After(fetchRetry)
		synctest.Wait()
		if err := r.ask(t.Context()); err != nil {
			t.Errorf("not asked again: %v", err)
		}
	})
}
