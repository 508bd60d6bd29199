package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"patchlane/api/token"
	"patchlane/tasks/contact"
)

func TestParseIssuer(t *testing.T) {
	t.Parallel()
	a, b := uuid.New(), uuid.New()
	got, err := parseIssuer("iss=https://id.example.com/, jwks=https://id.example.com/jwks?v=2,aud=crm,account-claim=https://crm/account," +
		"accounts=" + a.String() + " " + b.String() + ",dialect=native,scope-claim=permissions," +
		"scope-map=read=contacts:read read=crm_audit:read x=y=contacts:write,scopes=contacts:read,algs=RS256 EdDSA")
	want := token.Issuer{
		Name: "https://id.example.com/", JWKS: "https://id.example.com/jwks?v=2", Audience: "crm", AccountClaim: "https://crm/account",
		Accounts: []uuid.UUID{a, b}, Dialect: "native", ScopeClaim: "permissions",
		ScopeMap: map[string][]contact.Scope{
			"read": {contact.ContactsRead, contact.AuditRead}, "x=y": {contact.ContactsWrite},
		},
		Scopes: []contact.Scope{contact.ContactsRead}, Algorithms: []string{"RS256", "EdDSA"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	const good = "iss=i,jwks=https://h/k,aud=a,account-claim=c,dialect=native"
	for spec, name := range map[string]string{
		"":                                        "no name=value",
		"iss=i,dialect=native":                    "jwks is missing",
		good + ",iss=j":                           "twice",
		good + ",account=x":                       `"account" is no member`,
		good + ",private=maybe":                   `parsing "maybe"`,
		good + ",accounts=me":                     `"me" is no id`,
		good + ",accounts=":                       "none is named",
		good + ",scope-map=x":                     "no theirs=ours",
		good + ",scope-map=":                      "nothing is in it",
		good + ",scope-map=x=y":                   `scope "y"`,
		good + ",scopes=all":                      `scope "all"`,
		good + ",algs=HS256":                      `alg "HS256"`,
		strings.Replace(good, "native", "k", 1):   `dialect "k"`,
		strings.Replace(good, "https", "http", 1): "jwks is neither",
	} {
		if _, err := parseIssuer(spec); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v does not say %q", spec, err, name)
		}
	}
}

func TestAccessTokenSettings(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte, err error) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err == nil {
			err = os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	signs := write("signs.pem", "PRIVATE KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(public)
	checks := write("checks.pem", "PUBLIC KEY", der, err)
	broken := write("broken.pem", "PRIVATE KEY", []byte("s3cret"), nil)

	base := []string{"api", "--database-url=postgres://u:p@h/d", "--redis-url=redis://h:6379/0"}
	const one, two = "iss=a,jwks=https://a/k,aud=x,account-claim=c,dialect=native", "iss=b,jwks=https://b/k,aud=x,account-claim=c,dialect=native"
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--jwt-keys=" + signs}, ""},
		{[]string{"--jwt-keys="}, ""},
		{[]string{"--jwt-keys=" + checks}, "the first key must be a private one"},
		{[]string{"--jwt-keys=" + signs + "," + dir + "/none.pem"}, "none.pem"},
		{[]string{"--jwt-keys=" + broken}, "not readable"},
		{[]string{"--jwt-issuer=" + one, "--jwt-issuer=" + two}, ""},
		{[]string{"--jwt-issuer=" + one + ";" + two + ";"}, ""},
		{[]string{"--jwt-issuer=" + one + ";" + one}, "twice"},
		{[]string{"--jwt-issuer=nonsense"}, "--jwt-issuer"},
	} {
		err := parsed(t, append(base, c.args...)...).Validate()
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: %v", c.args, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v repeats the key", err)
		}
	}
}

// TestAccessTokens exchanges a key at one API and uses the token at others,
// through rotations and the key's end.
func TestAccessTokens(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	id := s.makeKey()
	a, b := s.start("api").ready(), s.start("api").ready()
	s.start("worker").ready()
	exchange := func(n *node) string {
		t.Helper()
		res, err := s.http.PostForm(n.API+"/oauth2/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {s.key},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		var answer struct {
			AccessToken string `json:"access_token"`
		}
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%d: %v", res.StatusCode, err)
		}
		return answer.AccessToken
	}
	list := func(n *node, bearer string) int {
		t.Helper()
		c := demoClient{http: s.http, url: n.API, key: bearer}
		r, err := c.do(t.Context(), http.MethodGet, "/v1/contacts", "")
		if err != nil {
			t.Fatal(err)
		}
		return r.Status
	}
	bearer := exchange(a)
	if got := list(b, bearer); got != http.StatusOK {
		t.Fatalf("another replica answered %d", got)
	}
	type signing struct{ Keys []struct{ KID string } }
	var keys signing
	s.command(&keys, "admin", "signing-key", "rotate")
	if len(keys.Keys) != 2 || list(a, bearer) != http.StatusOK || list(b, exchange(b)) != http.StatusOK {
		t.Fatalf("rotated to %+v", keys)
	}
	s.command(&keys, "admin", "signing-key", "rotate", "--revoke")
	s.eventually(10*time.Second, "tokens of revoked keys are dead", func() error {
		if x, y := list(a, bearer), list(b, bearer); x != http.StatusUnauthorized || y != http.StatusUnauthorized {
			return fmt.Errorf("%d, %d", x, y)
		}
		return nil
	})
	var listed signing
	s.command(&listed, "admin", "signing-key", "list")
	if len(listed.Keys) != 1 || listed.Keys[0] != keys.Keys[0] {
		t.Errorf("listed %+v after %+v", listed, keys)
	}
	bearer = exchange(b)
	if got := list(a, bearer); got != http.StatusOK {
		t.Fatalf("the token of the new key: %d", got)
	}
	s.command(&struct{}{}, "admin", "key", "revoke", "--id", id)
	s.eventually(10*time.Second, "tokens of a revoked key are dead", func() error {
		if x, y := list(a, bearer), list(b, bearer); x != http.StatusUnauthorized || y != http.StatusUnauthorized {
			return fmt.Errorf("%d, %d", x, y)
		}
		return nil
	})
	for _, n := range []*node{a, b} {
		if strings.Contains(n.log.String(), bearer) || strings.Contains(n.log.String(), s.key) {
			t.Error("a credential is in the log")
		}
	}
}
