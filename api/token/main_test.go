package token

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"patchlane/tasks/contact"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = errors.New("connection refused")

// shelf keeps signing keys, as the store or as the mirror.
type shelf struct {
	mu    sync.Mutex
	keys  []contact.SigningKey
	away  error
	looks int
}

func (s *shelf) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *shelf) SigningKeys(context.Context) ([]contact.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	return slices.Clone(s.keys), s.away
}

func (s *shelf) AddSigningKey(_ context.Context, k contact.SigningKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.keys, func(have contact.SigningKey) bool { return have.Generation == k.Generation }) {
		k.CreatedAt = time.Now()
		s.keys = append(s.keys, k)
	}
	return s.away
}

func (s *shelf) PutSigningKeys(_ context.Context, keys []contact.SigningKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = nil
	for _, k := range keys {
		k.Private = nil
		s.keys = append(s.keys, k)
	}
	return s.away
}

func newService(t *testing.T, c Config) *Service {
	t.Helper()
	c.Name = "https://crm.example.com"
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Store == nil {
		c.Store, c.Mirror = &shelf{}, &shelf{}
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newAPIKey() *contact.Key {
	return &contact.Key{ID: uuid.New(), Account: uuid.New(), Scopes: contact.Scopes()}
}

func issue(t *testing.T, s *Service, k *contact.Key) string {
	t.Helper()
	issued, err := s.Issue(t.Context(), k, k.Scopes)
	if err != nil {
		t.Fatal(err)
	}
	return issued.Token
}

func mustPEM(t *testing.T, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func newECDSA(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newEd25519(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRSA(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pkcs8(t *testing.T, k crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	return mustPEM(t, "PRIVATE KEY", der, err)
}

func pkix(t *testing.T, k crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k)
	return mustPEM(t, "PUBLIC KEY", der, err)
}

func parsed(t *testing.T, file []byte) *Key {
	t.Helper()
	k, err := ParsePEM(file)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// signed makes a token by hand.
func signed(t *testing.T, method jwt.SigningMethod, key any, header map[string]any, c jwt.MapClaims) string {
	t.Helper()
	made := jwt.NewWithClaims(method, c)
	for name, value := range header {
		if made.Header[name] = value; value == nil {
			delete(made.Header, name)
		}
	}
	raw, err := made.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// refused checks that a token is refused as unauthorized.
func refused(t *testing.T, s *Service, name, raw string) {
	t.Helper()
	id, err := s.Verify(t.Context(), raw)
	if contact.CodeOf(err) != contact.CodeUnauthorized {
		t.Errorf("%s: %+v, %v", name, id, err)
	}
}

// lines is a log to look into.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type edPublic = ed25519.PublicKey

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newKeyForFuzz() (*Key, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return newKey(public, private)
}
