package signature

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"time"

	"patchlane/tasks/contact"
)

// sendGridWindow covers the day over which SendGrid repeats a batch, in case
// it repeats the signature along.
const sendGridWindow = 25 * time.Hour

// verifySendGrid checks an ECDSA signature over time and body, whose final
// line end is signed too.
func verifySendGrid(ep Endpoint, req Request) (Verified, error) {
	keys := live(ep.Secrets)
	stamp := req.Header.Get("X-Twilio-Email-Event-Webhook-Timestamp")
	sent := req.Header.Get("X-Twilio-Email-Event-Webhook-Signature")
	switch {
	case len(keys) == 0:
		return Verified{}, refuse(RefusedNoSecret)
	case stamp == "" || sent == "":
		return Verified{}, refuse(RefusedMissingSignature)
	}
	sig, err := base64.StdEncoding.DecodeString(sent)
	signed, ok := signedAt(stamp)
	if err != nil || !ok {
		return Verified{}, refuse(RefusedBadSignature)
	}
	sum := sha256.Sum256(append([]byte(stamp), req.Body...))
	found := false
	for _, key := range keys {
		if public, ok := ecdsaKey(key); ok && ecdsa.VerifyASN1(public, sum[:], sig) {
			found = true
		}
	}
	if !found {
		return Verified{}, refuse(RefusedBadSignature)
	}
	return Verified{}, fresh(signed, req.ReceivedAt, sendGridWindow)
}

// ecdsaKey reads a public key, base64 or PEM of its SPKI structure.
func ecdsaKey(s string) (*ecdsa.PublicKey, bool) {
	der, err := base64.StdEncoding.DecodeString(s)
	if block, _ := pem.Decode([]byte(s)); block != nil {
		der, err = block.Bytes, nil
	}
	if err != nil {
		return nil, false
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, false
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	return key, ok
}

// sendGridEvent is one element of a batch.
type sendGridEvent struct {
	Email          scalar `json:"email"`
	Timestamp      scalar `json:"timestamp"`
	Event          scalar `json:"event"`
	ID             scalar `json:"sg_event_id"`
	Message        scalar `json:"sg_message_id"`
	Type           scalar `json:"type"`
	Status         scalar `json:"status"`
	Reason         scalar `json:"reason"`
	Classification scalar `json:"bounce_classification"`
}

// decodeSendGrid reads a batch.
func decodeSendGrid(c *collector) {
	each(c, func(e sendGridEvent, raw []byte) {
		f, known := judgeSendGrid(e)
		if !known {
			c.unknown(string(e.Event), raw)
			return
		}
		f.kind, f.id, f.raw = string(e.Event), string(e.ID), raw
		if e.Type != "" {
			f.kind += "/" + string(e.Type)
		}
		if f.id == "" {
			f.id = digest("content", string(raw))
		}
		f.stamp = unixTime(string(e.Timestamp))
		f.evidence = map[string]string{
			"message": string(e.Message), "reason": string(e.Reason),
			"status": string(e.Status), "classification": string(e.Classification),
		}
		c.email(string(e.Email), f)
	})
}

// judgeSendGrid is the table of events; false for an event that it has not.
func judgeSendGrid(e sendGridEvent) (finding, bool) {
	switch e.Event {
	case "bounce":
		return judgeSendGridBounce(string(e.Type), string(e.Classification)), true
	case "dropped":
		// The exact words: "Invalid SMTPAPI header" is about our own request.
		switch strings.ToLower(string(e.Reason)) {
		case "bounced address", "unsubscribed address", "spam reporting address", "invalid":
			return optOut(contact.ProviderSuppressed), true
		default:
			return nothing(), true
		}
	case "spamreport":
		return optOut(contact.Complaint), true
	case "unsubscribe":
		return optOut(contact.Unsubscribe), true
	case "group_unsubscribe", "group_resubscribe", "processed", "deferred", "delivered",
		"open", "click", "account_status_change":
		return nothing(), true
	default:
		return finding{}, false
	}
}

// judgeSendGridBounce tells a bad address from everything else that SendGrid
// calls a bounce: "blocked" is a temporary rejection.
func judgeSendGridBounce(kind, classification string) finding {
	switch {
	case kind == "blocked":
		return nothing()
	case kind != "bounce":
		return review(contact.HardBounce, "unknown_bounce")
	}
	switch strings.ToLower(classification) {
	case "", "invalid address", "mailbox unavailable", "unclassified":
		return optOut(contact.HardBounce)
	default:
		return review(contact.HardBounce, "bounce_not_about_address")
	}
}
