package signature

import (
	"crypto/sha256"
	"strings"
	"time"
)

// birdWindow covers the eight hours over which Bird repeats a callback.
const birdWindow = 8*time.Hour + 10*time.Minute

// verifyBird checks an HMAC over time, URL and the hash of the body.
func verifyBird(ep Endpoint, req Request) (Verified, error) {
	keys := live(ep.Secrets)
	given := signatures(req.Header.Get("messagebird-signature"))
	stamp := req.Header.Get("messagebird-request-timestamp")
	switch {
	case len(keys) == 0:
		return Verified{}, refuse(RefusedNoSecret)
	case len(given) == 0 || stamp == "":
		return Verified{}, refuse(RefusedMissingSignature)
	}
	sum := sha256.Sum256(req.Body)
	text := stamp + "\n" + signedURL(ep, req) + "\n" + string(sum[:])
	signed, ok := signedAt(stamp)
	if !ok || !anyMAC(sha256.New, keys, []string{text}, given) {
		return Verified{}, refuse(RefusedBadSignature)
	}
	return Verified{}, fresh(signed, req.ReceivedAt, birdWindow)
}

// birdEvent is the body of a callback.
type birdEvent struct {
	Event   scalar `json:"event"`
	Payload struct {
		ID        scalar `json:"id"`
		Direction scalar `json:"direction"`
		CreatedAt scalar `json:"createdAt"`
		Sender    struct {
			Contact struct {
				Key   scalar `json:"identifierKey"`
				Value scalar `json:"identifierValue"`
			} `json:"contact"`
		} `json:"sender"`
		Body struct {
			Type scalar `json:"type"`
			Text struct {
				Text scalar `json:"text"`
			} `json:"text"`
		} `json:"body"`
	} `json:"payload"`
}

// decodeBird reads an inbound text.
func decodeBird(c *collector) {
	one(c, func(e birdEvent, raw []byte) {
		kind, p := string(e.Event), e.Payload
		switch {
		case kind == "":
			c.unknown(kind, raw)
		case kind != "sms.inbound" && strings.HasPrefix(kind, "sms."):
			c.ignore(kind, "delivery_status")
		case kind != "sms.inbound":
			c.ignore(kind, "other_channel")
		case p.Direction == "outgoing":
			c.ignore(kind, "outgoing")
		default:
			c.inbound(inbound{
				from: string(p.Sender.Contact.Value), text: string(p.Body.Text.Text),
				finding: finding{kind: kind, id: string(p.ID), stamp: isoTime(string(p.CreatedAt)), raw: raw},
			})
		}
	})
}
