package simulate

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"patchlane/api/signature"
)

// snsHost is the host of SNS that a made-up certificate names.
const snsHost = "sns.us-east-1.amazonaws.com"

// certificateLife is how long a made-up certificate of SNS is valid.
const certificateLife = 24 * time.Hour

// Keys are what a drill signs with and what its endpoint verifies with. A drill
// needs an endpoint of its own where the provider alone knows how to sign.
type Keys struct {
	// Key is for Drill.Key, Secret for the endpoint; it is empty for ses.
	Key    string `json:"key"`
	Secret string `json:"secret,omitempty"`
	// Certificate is for a file under --sns-cert-dir, named like the last part of
	// CertURL (ses).
	Certificate string `json:"certificate,omitempty"`
	CertURL     string `json:"cert_url,omitempty"`
}

// NewKeys makes new keys for a provider.
func NewKeys(p signature.Provider, now time.Time) (Keys, error) {
	switch p {
	case signature.Telnyx:
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return Keys{}, fmt.Errorf("make telnyx key: %w", err)
		}
		return Keys{
			Key:    base64.StdEncoding.EncodeToString(private.Seed()),
			Secret: base64.StdEncoding.EncodeToString(public),
		}, nil
	case signature.SendGrid:
		return newSendGridKeys()
	case signature.SES:
		return newSNSKeys(now)
	case signature.Standard, signature.Resend:
		secret := make([]byte, 32)
		_, _ = rand.Read(secret) // It never fails: the runtime ends the process first.
		text := "whsec_" + base64.StdEncoding.EncodeToString(secret)
		return Keys{Key: text, Secret: text}, nil
	case signature.Postmark, signature.SparkPost:
		text := "drill:" + rand.Text()
		return Keys{Key: text, Secret: text}, nil
	default:
		text := rand.Text()
		return Keys{Key: text, Secret: text}, nil
	}
}

// newSendGridKeys makes an ECDSA pair.
func newSendGridKeys() (Keys, error) {
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Keys{}, fmt.Errorf("make sendgrid key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&pair.PublicKey)
	if err != nil {
		return Keys{}, fmt.Errorf("make sendgrid key: %w", err)
	}
	private, err := privatePEM(pair)
	return Keys{Key: private, Secret: base64.StdEncoding.EncodeToString(public)}, err
}

// newSNSKeys makes an RSA pair and the certificate that a stack finds by name.
func newSNSKeys(now time.Time) (Keys, error) {
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return Keys{}, fmt.Errorf("make sns key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return Keys{}, fmt.Errorf("make sns certificate: %w", err)
	}
	form := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: snsHost}, DNSNames: []string{snsHost},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &pair.PublicKey, pair)
	if err != nil {
		return Keys{}, fmt.Errorf("make sns certificate: %w", err)
	}
	private, err := privatePEM(pair)
	return Keys{
		Key: private, CertURL: "https://" + snsHost + "/SimpleNotificationService-" + newID() + ".pem",
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	}, err
}

// privatePEM writes a private key.
func privatePEM(key any) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("write private key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}
