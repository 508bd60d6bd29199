package token

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

func TestOwnTokens(t *testing.T) {
	t.Parallel()
	s, k := newService(t, Config{}), newAPIKey()
	raw := issue(t, s, k)
	got, err := s.Verify(t.Context(), raw)
	want := Identity{Key: k.ID, Account: k.Account, Scopes: k.Scopes}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("%v\n%s", err, diff)
	}
	var c jwt.MapClaims
	parts := strings.Split(raw, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(c))
	if diff := cmp.Diff(strings.Fields("account aud client_id exp iat iss jti nbf scope sub"), names); diff != "" {
		t.Error(diff)
	}
	if again := issue(t, s, k); again == raw {
		t.Error("two tokens are the same")
	}
	// Ids of keys and accounts alone: nothing that a key is made from.
	if header, _ := base64.RawURLEncoding.DecodeString(parts[0]); !strings.Contains(string(header), `"kid":"`) {
		t.Errorf("header %s", header)
	}
}

// forge makes the claims of a good token, changed.
func forge(edit func(c jwt.MapClaims)) jwt.MapClaims {
	now := time.Now()
	c := jwt.MapClaims{
		"iss": "https://crm.example.com", "aud": "https://crm.example.com", "sub": uuid.NewString(),
		"account": uuid.NewString(), "scope": "contacts:read", "jti": "1",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
	if edit != nil {
		edit(c)
	}
	return c
}

func TestForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	private := newEd25519(t)
	key := parsed(t, pkcs8(t, private))
	ec := newECDSA(t, elliptic.P256())
	second := parsed(t, pkcs8(t, ec))
	s := newService(t, Config{Keys: []*Key{key, second}})
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	header := func(more ...any) map[string]any {
		h := map[string]any{"kid": key.ID(), "typ": "at+jwt"}
		for i := 0; i < len(more); i += 2 {
			h[more[i].(string)] = more[i+1]
		}
		return h
	}
	if _, err := s.Verify(t.Context(), signed(t, jwt.SigningMethodEdDSA, private, header(), forge(nil))); err != nil {
		t.Fatalf("the pattern of the forgeries is no good token: %v", err)
	}
	none := jwt.SigningMethodNone
	for name, raw := range map[string]string{
		"none":                   signed(t, none, jwt.UnsafeAllowNoneSignatureType, header(), forge(nil)),
		"None":                   signed(t, none, jwt.UnsafeAllowNoneSignatureType, header("alg", "None"), forge(nil)),
		"no algorithm":           signed(t, jwt.SigningMethodEdDSA, private, header("alg", nil), forge(nil)),
		"algorithm of no text":   signed(t, jwt.SigningMethodEdDSA, private, header("alg", 5), forge(nil)),
		"secret: raw public key": signed(t, jwt.SigningMethodHS256, []byte(private.Public().(edPublic)), header(), forge(nil)),
		"secret: DER":            signed(t, jwt.SigningMethodHS256, der, header(), forge(nil)),
		"secret: PEM":            signed(t, jwt.SigningMethodHS512, publicPEM, header(), forge(nil)),
		"key of another kind":    signed(t, jwt.SigningMethodES256, ec, header(), forge(nil)),
		"kid of another kind":    signed(t, jwt.SigningMethodEdDSA, private, header("kid", second.ID()), forge(nil)),
		"unknown kid":            signed(t, jwt.SigningMethodEdDSA, private, header("kid", "x"), forge(nil)),
		"no kid":                 signed(t, jwt.SigningMethodEdDSA, private, header("kid", nil), forge(nil)),
		"kid of no text":         signed(t, jwt.SigningMethodEdDSA, private, header("kid", []string{key.ID()}), forge(nil)),
		"own key inside":         signed(t, jwt.SigningMethodEdDSA, newEd25519(t), header("jwk", key.shown), forge(nil)),
		"foreign key":            signed(t, jwt.SigningMethodEdDSA, newEd25519(t), header(), forge(nil)),
		"other type":             signed(t, jwt.SigningMethodEdDSA, private, header("typ", "JWT"), forge(nil)),
		"critical extension":     signed(t, jwt.SigningMethodEdDSA, private, header("crit", []string{"b64"}, "b64", false), forge(nil)),
	} {
		refused(t, s, name, raw)
	}
	now := time.Now()
	for name, edit := range map[string]func(c jwt.MapClaims){
		"expired":          func(c jwt.MapClaims) { c["exp"] = now.Add(-11 * time.Second).Unix() },
		"no end":           func(c jwt.MapClaims) { delete(c, "exp") },
		"end of no number": func(c jwt.MapClaims) { c["exp"] = "tomorrow" },
		"end is null":      func(c jwt.MapClaims) { c["exp"] = nil },
		"not yet valid":    func(c jwt.MapClaims) { c["nbf"] = now.Add(time.Minute).Unix() },
		"from the future":  func(c jwt.MapClaims) { c["iat"] = now.Add(time.Minute).Unix() },
		"other audience":   func(c jwt.MapClaims) { c["aud"] = "https://other.example.com" },
		"no audience":      func(c jwt.MapClaims) { delete(c, "aud") },
		"empty audience":   func(c jwt.MapClaims) { c["aud"] = []string{} },
		"other issuer":     func(c jwt.MapClaims) { c["iss"] = "https://evil.example.com" },
		"no issuer":        func(c jwt.MapClaims) { delete(c, "iss") },
		"no subject":       func(c jwt.MapClaims) { delete(c, "sub") },
		"subject is no id": func(c jwt.MapClaims) { c["sub"] = "root" },
	} {
		refused(t, s, name, signed(t, jwt.SigningMethodEdDSA, private, header(), forge(edit)))
	}
	for name, edit := range map[string]func(c jwt.MapClaims){
		"no account":      func(c jwt.MapClaims) { delete(c, "account") },
		"empty account":   func(c jwt.MapClaims) { c["account"] = "" },
		"account is zero": func(c jwt.MapClaims) { c["account"] = uuid.Nil.String() },
	} {
		if _, err := s.Verify(t.Context(), signed(t, jwt.SigningMethodEdDSA, private, header(), forge(edit))); err != ErrNoAccount { //nolint:errorlint // It is that very error.
			t.Errorf("%s: %v", name, err)
		}
	}
	// Clocks differ a little.
	for name, edit := range map[string]func(c jwt.MapClaims){
		"just expired": func(c jwt.MapClaims) { c["exp"] = now.Add(-5 * time.Second).Unix() },
		"nearly valid": func(c jwt.MapClaims) {
			c["nbf"], c["iat"] = now.Add(5*time.Second).Unix(), now.Add(5*time.Second).Unix()
		},
		"list": func(c jwt.MapClaims) { c["aud"] = []string{"other", "https://crm.example.com"} },
	} {
		if _, err := s.Verify(t.Context(), signed(t, jwt.SigningMethodEdDSA, private, header(), forge(edit))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	private, ec := newEd25519(t), newECDSA(t, elliptic.P256())
	sec1, err := x509.MarshalECPrivateKey(ec)
	file := mustPEM(t, "EC PRIVATE KEY", sec1, err)
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8}})
	for name, c := range map[string]struct {
		file  []byte
		alg   string
		signs bool
	}{
		"Ed25519":          {pkcs8(t, private), "EdDSA", true},
		"P-256":            {pkcs8(t, ec), "ES256", true},
		"P-256 of openssl": {append(parameters, file...), "ES256", true},
		"public Ed25519":   {pkix(t, private.Public()), "EdDSA", false},
		"public P-256":     {pkix(t, ec.Public()), "ES256", false},
	} {
		k, err := ParsePEM(c.file)
		if err != nil || k.method.Alg() != c.alg || k.Signs() != c.signs {
			t.Errorf("%s: %+v, %v", name, k, err)
		}
	}
	if parsed(t, pkcs8(t, private)).ID() != parsed(t, pkix(t, private.Public())).ID() {
		t.Error("the halves of a key have two names")
	}
	for name, file := range map[string][]byte{
		"nothing": nil, "no PEM": []byte("secret words"), "two keys": append(pkcs8(t, private), pkcs8(t, ec)...),
		"RSA": pkcs8(t, newRSA(t, 2048)), "P-384": pkcs8(t, newECDSA(t, elliptic.P384())),
		"certificate":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("secret words")}),
		"encrypted":     pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("secret words")}),
		"broken":        pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret words")}),
		"broken public": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("secret words")}),
	} {
		if k, err := ParsePEM(file); err == nil || strings.Contains(err.Error(), "secret words") {
			t.Errorf("%s: %+v, %v", name, k, err)
		}
	}
}

// TestThumbprint is the example of RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	t.Parallel()
	public, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		t.Fatal(err)
	}
	k, err := newKey(edPublic(public), nil)
	if err != nil || k.ID() != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestRotationByFiles(t *testing.T) {
	t.Parallel()
	old, next := parsed(t, pkcs8(t, newEd25519(t))), parsed(t, pkcs8(t, newECDSA(t, elliptic.P256())))
	before, during := newService(t, Config{Keys: []*Key{old, next}}), newService(t, Config{Keys: []*Key{next, old}})
	after := newService(t, Config{Keys: []*Key{next}})
	oldToken, newToken := issue(t, before, newAPIKey()), issue(t, during, newAPIKey())
	for _, s := range []*Service{before, during} {
		for _, raw := range []string{oldToken, newToken} {
			if _, err := s.Verify(t.Context(), raw); err != nil {
				t.Error(err)
			}
		}
		doc, err := s.JWKS(t.Context())
		if err != nil || strings.Count(string(doc), `"kid"`) != 2 || strings.Contains(string(doc), `"d"`) {
			t.Errorf("%s, %v", doc, err)
		}
	}
	refused(t, after, "old token", oldToken)
	if _, err := after.Verify(t.Context(), newToken); err != nil {
		t.Error(err)
	}
	for name, keys := range map[string][]*Key{
		"first does not sign": {parsed(t, pkix(t, newEd25519(t).Public())), old}, "twice": {old, old},
	} {
		if _, err := New(Config{Name: "x", Logger: before.own.logger, Keys: keys}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestReplicasShareTheStoredKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, copies := &shelf{}, &shelf{}
		a, b := newService(t, Config{Store: db, Mirror: copies}), newService(t, Config{Store: db, Mirror: copies})
		go a.Run(t.Context())
		go b.Run(t.Context())
		synctest.Wait()
		verify := func(s *Service, raw string) {
			t.Helper()
			if _, err := s.Verify(t.Context(), raw); err != nil {
				t.Error(err)
			}
		}
		first := issue(t, a, newAPIKey())
		verify(b, first)
		if len(db.keys) != 1 || len(copies.keys) != 1 || copies.keys[0].Private != nil {
			t.Fatalf("store %+v, mirror %+v", db.keys, copies.keys)
		}
		// A process that starts while Postgres is away checks, and does not sign.
		db.set(func() { db.away = errAway })
		late := newService(t, Config{Store: db, Mirror: copies})
		verify(late, first)
		if _, err := late.Issue(t.Context(), newAPIKey(), nil); contact.CodeOf(err) != contact.CodeStoreUnavailable {
			t.Errorf("signed without a key: %v", err)
		}
		issue(t, a, newAPIKey())
		copies.set(func() { copies.away = errAway })
		lost := newService(t, Config{Store: db, Mirror: copies})
		if _, err := lost.Verify(t.Context(), first); contact.CodeOf(err) != contact.CodeStoreUnavailable {
			t.Errorf("nobody could be asked: %v", err)
		}
		db.set(func() { db.away = nil })
		copies.set(func() { copies.away = nil })
		verify(lost, first)

		// A new key is known everywhere before it signs.
		next, err := NewSigningKey(2)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.AddSigningKey(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * keyPoll)
		kid := func(raw string) any {
			parsed, _, err := jwt.NewParser().ParseUnverified(raw, jwt.MapClaims{})
			if err != nil {
				t.Fatal(err)
			}
			return parsed.Header["kid"]
		}
		if kid(issue(t, a, newAPIKey())) != kid(first) {
			t.Error("the new key signed at once")
		}
		<-time.After(keySettle)
		second := issue(t, a, newAPIKey())
		if kid(second) == kid(first) {
			t.Error("the new key does not sign")
		}
		verify(b, second)
		verify(b, first)
		// A key that was dropped is gone everywhere, and a key that is new and
		// alone is asked for at once.
		only, err := NewSigningKey(3)
		if err != nil {
			t.Fatal(err)
		}
		only.CreatedAt = time.Now()
		db.set(func() { db.keys = []contact.SigningKey{only} })
		<-time.After(2 * time.Second)
		verify(b, issue(t, newService(t, Config{Store: db, Mirror: copies}), newAPIKey()))
		<-time.After(keyPoll)
		refused(t, a, "token of a dropped key", second)
	})
}

func TestKeysAreDroppedWhenNoTokenIsLeft(t *testing.T) {
	t.Parallel()
	now := time.Now()
	aged := func(ages ...time.Duration) []contact.SigningKey {
		keys := make([]contact.SigningKey, len(ages))
		for i, age := range ages {
			keys[i] = contact.SigningKey{Generation: len(ages) - i, CreatedAt: now.Add(-age)}
		}
		return keys
	}
	for want, keys := range map[int][]contact.SigningKey{
		0: aged(time.Minute, 15*time.Minute), 1: aged(time.Minute, time.Hour), 2: aged(time.Minute, time.Hour, 2*time.Hour),
		3: aged(time.Hour, time.Hour, time.Hour),
	} {
		if got := Spent(keys, now); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	if Spent(nil, now) != 0 {
		t.Error("keys of nobody are spent")
	}
}

func TestUnknownKidsCauseNoLoad(t *testing.T) {
	t.Parallel()
	db := &shelf{}
	s := newService(t, Config{Store: db, Mirror: &shelf{}})
	issue(t, s, newAPIKey())
	raw := issue(t, newService(t, Config{}), newAPIKey())
	before := db.looks
	for range 100 {
		refused(t, s, "foreign", raw)
	}
	if asked := db.looks - before; asked > 5 {
		t.Errorf("%d looks for 100 made-up tokens", asked)
	}
}

func TestATokenDoesNotOutliveItsKey(t *testing.T) {
	t.Parallel()
	s, k := newService(t, Config{}), newAPIKey()
	end := time.Now().Add(time.Minute)
	k.ExpiresAt = &end
	issued, err := s.Issue(t.Context(), k, k.Scopes)
	if err != nil || issued.Expires > time.Minute || issued.Expires < 58*time.Second {
		t.Errorf("%v, %v", issued.Expires, err)
	}
}

// FuzzVerify holds that nothing but what was signed here is believed.
func FuzzVerify(f *testing.F) {
	key, err := newKeyForFuzz()
	if err != nil {
		f.Fatal(err)
	}
	s, err := New(Config{Name: "https://crm.example.com", Keys: []*Key{key}, Logger: discard()})
	if err != nil {
		f.Fatal(err)
	}
	issued, err := s.Issue(f.Context(), newAPIKey(), contact.Scopes())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{issued.Token, "a.b.c", "..", "eyJhbGciOiJub25lIn0.e30.", issued.Token + ".", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if id, err := s.Verify(t.Context(), raw); err == nil && raw != issued.Token {
			t.Errorf("believed %q: %+v", raw, id)
		}
	})
}
