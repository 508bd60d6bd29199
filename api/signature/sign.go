package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // Twilio and Mandrill sign with HMAC-SHA1, which is unbroken.
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// errKey says that a key cannot sign for a provider.
var errKey = errors.New("key does not fit the provider")

// Sign puts on a request what its provider would, at req.ReceivedAt: for
// drills against a running stack, and for tests. It is what the provider
// holds, so that for three of them key is not the secret of the endpoint:
// telnyx takes the base64 seed of its key, sendgrid and ses take PEM. For ses
// and mailgun the signature is a part of the body, which is replaced.
func Sign(ep Endpoint, req *Request, key string) error {
	if req.Header == nil {
		req.Header = http.Header{}
	}
	switch ep.Provider {
	case Telnyx, SendGrid, SES:
		return signWithPrivateKey(ep.Provider, req, key)
	case Postmark, SparkPost:
		user, password, _ := strings.Cut(key, ":")
		r := http.Request{Header: req.Header}
		r.SetBasicAuth(user, password)
		return nil
	case Brevo:
		req.Header.Set("Authorization", "Bearer "+key)
		return nil
	case Resend:
		return signStandard("svix-", req, key)
	case Standard:
		return signStandard("webhook-", req, key)
	case Mailgun:
		return signMailgun(req, key)
	default:
		return signShared(ep, req, key)
	}
}

// base64MAC returns the HMAC of a text in base64.
func base64MAC(newHash func() hash.Hash, key, text string) string {
	return base64.StdEncoding.EncodeToString(mac(newHash, key, []byte(text)))
}

// signShared signs with a key that provider and endpoint share.
func signShared(ep Endpoint, req *Request, key string) error {
	now := strconv.FormatInt(req.ReceivedAt.Unix(), 10)
	h, called, sum := req.Header, signedURL(ep, *req), sha256.Sum256(req.Body)
	switch ep.Provider {
	case Twilio:
		suffix, err := twilioSuffix(*req)
		if err != nil {
			return fmt.Errorf("sign for twilio: %w", err)
		}
		h.Set("X-Twilio-Signature", base64MAC(sha1.New, key, called+suffix))
	case Mandrill:
		fields, err := parseForm(string(req.Body))
		if err != nil {
			return fmt.Errorf("sign for mandrill: %w", err)
		}
		h.Set("X-Mandrill-Signature", base64MAC(sha1.New, key, called+fields.concat()))
	case Plivo:
		nonce := rand.Text()
		texts, err := plivoV3(ep, *req, nonce)
		if err != nil {
			return fmt.Errorf("sign for plivo: %w", err)
		}
		h.Set("X-Plivo-Signature-V3-Nonce", nonce)
		h.Set("X-Plivo-Signature-V3", base64MAC(sha256.New, key, texts[0]))
	case Bird:
		h.Set("MessageBird-Request-Timestamp", now)
		h.Set("MessageBird-Signature", base64MAC(sha256.New, key, now+"\n"+called+"\n"+string(sum[:])))
	case Vonage:
		h.Set("Authorization", "Bearer "+signToken(key, `{"iat":`+now+`,"jti":"`+rand.Text()+
			`","iss":"Vonage","payload_hash":"`+hex.EncodeToString(sum[:])+`"}`))
	case MessageBird:
		h.Set("MessageBird-Signature-JWT", signToken(key, messageBirdClaims(called, *req)))
	default:
		return fmt.Errorf("sign for %q: unknown provider", ep.Provider)
	}
	return nil
}

// messageBirdClaims are the claims of a request, for a minute.
func messageBirdClaims(called string, req Request) string {
	now, place, payload := req.ReceivedAt.Unix(), sha256.Sum256([]byte(called)), ""
	if len(req.Body) > 0 {
		sum := sha256.Sum256(req.Body)
		payload = `,"payload_hash":"` + hex.EncodeToString(sum[:]) + `"`
	}
	return fmt.Sprintf(`{"iss":"MessageBird","nbf":%d,"exp":%d,"jti":%q,"url_hash":%q%s}`,
		now, now+60, rand.Text(), hex.EncodeToString(place[:]), payload)
}

// signToken returns an HS256 token.
func signToken(key, claims string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(claims))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac(sha256.New, key, []byte(text)))
}

// signStandard signs by the Standard Webhooks scheme. An id that is there is
// kept, as a repetition would keep it.
func signStandard(prefix string, req *Request, key string) error {
	k, ok := parseStandardKey(key)
	if !ok || k.public {
		return fmt.Errorf("sign for Standard Webhooks: %w", errKey)
	}
	if req.Header.Get(prefix+"id") == "" {
		req.Header.Set(prefix+"id", "msg_"+rand.Text())
	}
	now := strconv.FormatInt(req.ReceivedAt.Unix(), 10)
	req.Header.Set(prefix+"timestamp", now)
	text := req.Header.Get(prefix+"id") + "." + now + "." + string(req.Body)
	req.Header.Set(prefix+"signature", "v1,"+base64MAC(sha256.New, string(k.raw), text))
	return nil
}

// signMailgun replaces the signature in a JSON body.
func signMailgun(req *Request, key string) error {
	object, err := members(req.Body)
	if err != nil {
		return fmt.Errorf("sign for mailgun: %w", err)
	}
	now, token := strconv.FormatInt(req.ReceivedAt.Unix(), 10), rand.Text()+rand.Text()
	block := mailgunSignature{
		Timestamp: scalar(now), Token: scalar(token),
		Signature: scalar(hex.EncodeToString(mac(sha256.New, key, []byte(now+token)))),
	}
	if object["signature"], err = json.Marshal(block); err != nil {
		return fmt.Errorf("sign for mailgun: %w", err)
	}
	if req.Body, err = json.Marshal(object, json.Deterministic(true)); err != nil {
		return fmt.Errorf("sign for mailgun: %w", err)
	}
	return nil
}

// signWithPrivateKey signs for the providers that publish a key.
func signWithPrivateKey(p Provider, req *Request, key string) error {
	now := strconv.FormatInt(req.ReceivedAt.Unix(), 10)
	if p == Telnyx {
		seed, err := base64.StdEncoding.DecodeString(key)
		if err != nil || len(seed) != ed25519.SeedSize {
			return fmt.Errorf("sign for telnyx: %w", errKey)
		}
		sig := ed25519.Sign(ed25519.NewKeyFromSeed(seed), []byte(now+"|"+string(req.Body)))
		req.Header.Set("telnyx-timestamp", now)
		req.Header.Set("telnyx-signature-ed25519", base64.StdEncoding.EncodeToString(sig))
		return nil
	}
	signer, err := privateKey(key)
	if err != nil {
		return fmt.Errorf("sign for %s: %w", p, err)
	}
	if p == SES {
		return signEnvelope(req, signer)
	}
	sum := sha256.Sum256([]byte(now + string(req.Body)))
	sig, err := signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	if _, ok := signer.(*ecdsa.PrivateKey); err != nil || !ok {
		return fmt.Errorf("sign for sendgrid: %w", errors.Join(errKey, err))
	}
	req.Header.Set("X-Twilio-Email-Event-Webhook-Timestamp", now)
	req.Header.Set("X-Twilio-Email-Event-Webhook-Signature", base64.StdEncoding.EncodeToString(sig))
	return nil
}

// privateKey reads a PEM key.
func privateKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errKey
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.Join(errKey, err)
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errKey
	}
	return signer, nil
}

// signEnvelope dates and signs an SNS message.
func signEnvelope(req *Request, signer crypto.Signer) error {
	var e snsEnvelope
	if err := strictly(req.Body, &e); err != nil {
		return fmt.Errorf("sign for ses: %w", err)
	}
	if _, ok := signer.(*rsa.PrivateKey); !ok {
		return fmt.Errorf("sign for ses: %w", errKey)
	}
	e.Timestamp, e.SignatureVersion = req.ReceivedAt.UTC().Format("2006-01-02T15:04:05.000Z"), "2"
	text, _ := e.signedText()
	sum := sha256.Sum256(text)
	sig, err := signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return fmt.Errorf("sign for ses: %w", err)
	}
	e.Signature = base64.StdEncoding.EncodeToString(sig)
	if req.Body, err = json.Marshal(e); err != nil {
		return fmt.Errorf("sign for ses: %w", err)
	}
	return nil
}
