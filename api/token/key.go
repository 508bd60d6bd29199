package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"patchlane/tasks/contact"
)

// Key is one of our own signing keys, Ed25519 or ECDSA on P-256. Without a
// private half it only checks.
type Key struct {
	id      string
	method  jwt.SigningMethod
	public  crypto.PublicKey
	private crypto.Signer
	shown   jwkset.JWKMarshal
}

// ID is the key's kid: the thumbprint of RFC 7638, so that every process names a
// key in the same way.
func (k *Key) ID() string { return k.id }

// Signs tells whether the private half is known.
func (k *Key) Signs() bool { return k.private != nil }

// errKeyKind refuses keys that this package does not sign with.
var errKeyKind = errors.New("the key is neither Ed25519 nor ECDSA on P-256")

// newKey names a key. The private half may be nil.
func newKey(public crypto.PublicKey, private crypto.Signer) (*Key, error) {
	k := &Key{public: public, private: private}
	switch p := public.(type) {
	case ed25519.PublicKey:
		k.method = jwt.SigningMethodEdDSA
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return nil, errKeyKind
		}
		k.method = jwt.SigningMethodES256
	default:
		return nil, errKeyKind
	}
	jwk, err := jwkset.NewJWKFromKey(public, jwkset.JWKOptions{})
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	k.shown = jwk.Marshal()
	if k.id, err = thumbprint(&k.shown); err != nil {
		return nil, err
	}
	k.shown.KID, k.shown.USE = k.id, jwkset.UseSig
	k.shown.ALG = jwkset.ALG(k.method.Alg())
	return k, nil
}

// thumbprint is the hash of RFC 7638: of the required members in the order of
// their names, without blanks.
func thumbprint(m *jwkset.JWKMarshal) (string, error) {
	required, err := json.Marshal(struct {
		CRV string `json:"crv"`
		KTY string `json:"kty"`
		X   string `json:"x"`
		Y   string `json:"y,omitempty"`
	}{m.CRV.String(), m.KTY.String(), m.X, m.Y})
	if err != nil {
		return "", fmt.Errorf("name key: %w", err)
	}
	sum := sha256.Sum256(required)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// ParsePEM reads the one key of a PEM file: a private key in PKCS #8 or SEC 1, or
// a public key, which only checks. Its errors never repeat the content.
func ParsePEM(file []byte) (*Key, error) {
	var found *Key
	for {
		block, rest := pem.Decode(file)
		if block == nil {
			break
		}
		file = rest
		if block.Type == "EC PARAMETERS" {
			continue // openssl writes them before the key
		}
		if found != nil {
			return nil, errors.New("the file has more than one key")
		}
		k, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		found = k
	}
	if found == nil {
		return nil, errors.New("the file has no key in PEM")
	}
	return found, nil
}

func parseBlock(block *pem.Block) (*Key, error) {
	var (
		parsed any
		err    error
	)
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	case "PUBLIC KEY":
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("the public key is not readable")
		}
		return newKey(public, nil)
	default:
		return nil, fmt.Errorf("a PEM block of type %q is no key in the clear", block.Type)
	}
	private, signs := parsed.(crypto.Signer)
	if err != nil || !signs {
		return nil, errors.New("the private key is not readable")
	}
	return newKey(private.Public(), private)
}

// NewSigningKey makes the signing key of a generation.
func NewSigningKey(generation int) (contact.SigningKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return contact.SigningKey{}, fmt.Errorf("make signing key: %w", err)
	}
	k := contact.SigningKey{Generation: generation}
	if k.Private, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		return contact.SigningKey{}, fmt.Errorf("encode signing key: %w", err)
	}
	if k.Public, err = x509.MarshalPKIXPublicKey(public); err != nil {
		return contact.SigningKey{}, fmt.Errorf("encode signing key: %w", err)
	}
	return k, nil
}

// SigningKeyID is the kid of a stored key.
func SigningKeyID(r contact.SigningKey) (string, error) {
	k, err := fromRecord(r)
	if err != nil {
		return "", err
	}
	return k.id, nil
}

// Spent returns the generation before which no token can be alive any more: the
// key after it has signed alone for longer than a token lives. The newest comes
// first.
func Spent(keys []contact.SigningKey, now time.Time) int {
	for _, k := range keys {
		if now.Sub(k.CreatedAt) > keySettle+keyPoll+life+time.Minute {
			return k.Generation
		}
	}
	return 0
}

// fromRecord reads a stored key. A record of the mirror has no private half.
func fromRecord(r contact.SigningKey) (*Key, error) {
	if len(r.Private) > 0 {
		return parseBlock(&pem.Block{Type: "PRIVATE KEY", Bytes: r.Private})
	}
	return parseBlock(&pem.Block{Type: "PUBLIC KEY", Bytes: r.Public})
}
