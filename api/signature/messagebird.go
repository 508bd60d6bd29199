package signature

import (
	"crypto/sha256"
	"net/url"
	"strings"
	"time"
)

const (
	// messageBirdLeeway is how far clocks may differ beside the minute for
	// which a token is valid.
	messageBirdLeeway = 10 * time.Second
	// messageBirdWindow covers the repetitions of the older signature.
	messageBirdWindow = birdWindow
)

// verifyMessageBird checks the token of the classic API, which hashes the URL
// as it was called and the body, or the older signature over the query.
func verifyMessageBird(ep Endpoint, req Request) (Verified, error) {
	keys := live(ep.Secrets)
	token := req.Header.Get("MessageBird-Signature-JWT")
	switch {
	case len(keys) == 0:
		return Verified{}, refuse(RefusedNoSecret)
	case token == "":
		return Verified{}, verifyMessageBirdOld(keys, req)
	}
	got, err := openToken(token, keys, "HS256", "HS384", "HS512")
	if err != nil {
		return Verified{}, err
	}
	bodyFits := (len(req.Body) == 0 && got.PayloadHash == nil) ||
		(len(req.Body) > 0 && hashes(got.PayloadHash, req.Body))
	if got.Issuer != "MessageBird" || !bodyFits || !hashes(got.URLHash, []byte(signedURL(ep, req))) {
		return Verified{}, refuse(RefusedBadSignature)
	}
	from, okFrom := signedAt(string(got.NotBefore))
	until, okUntil := signedAt(string(got.Expires))
	switch {
	case !okFrom || !okUntil || req.ReceivedAt.After(until.Add(messageBirdLeeway)):
		return Verified{}, refuse(RefusedStale)
	case req.ReceivedAt.Before(from.Add(-messageBirdLeeway)):
		return Verified{}, refuse(RefusedFuture)
	default:
		return Verified{}, nil
	}
}

// verifyMessageBirdOld checks the signature that came before the tokens: time,
// sorted query, hash of the body.
func verifyMessageBirdOld(keys []string, req Request) error {
	given := signatures(req.Header.Get("MessageBird-Signature"))
	stamp := req.Header.Get("MessageBird-Request-Timestamp")
	if len(given) == 0 || stamp == "" {
		return refuse(RefusedMissingSignature)
	}
	query, err := parseForm(req.RawQuery)
	if err != nil || query.repeats() {
		return refuse(RefusedDuplicateKey)
	}
	pairs := make([]string, 0, len(query))
	for _, p := range query.sorted() {
		pairs = append(pairs, url.QueryEscape(p.key)+"="+url.QueryEscape(p.value))
	}
	sum := sha256.Sum256(req.Body)
	text := stamp + "\n" + strings.Join(pairs, "&") + "\n" + string(sum[:])
	signed, ok := signedAt(stamp)
	if !ok || !anyMAC(sha256.New, keys, []string{text}, given) {
		return refuse(RefusedBadSignature)
	}
	return fresh(signed, req.ReceivedAt, messageBirdWindow)
}

// decodeMessageBird reads an inbound text of the classic API.
func decodeMessageBird(c *collector) {
	fields, ok := c.fields()
	if ok && len(fields) == 0 {
		c.ignore("", "empty_body")
		return
	}
	switch {
	case !ok:
	case fields.get("originator") == "" && fields.has("status"):
		c.ignore("status/"+fields.get("status"), "delivery_status")
	case fields.get("id") == "" || fields.get("originator") == "":
		c.unknown("message without originator", c.raw())
	default:
		c.inbound(inbound{from: fields.get("originator"), text: fields.get("body"), finding: finding{
			kind: "message", id: fields.get("id"), stamp: isoTime(fields.get("createdDatetime")),
			raw: c.raw(), evidence: map[string]string{"to": fields.get("recipient")},
		}})
	}
}
