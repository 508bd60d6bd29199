package signature

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"patchlane/tasks/contact"
)

const (
	// standardWindow suffices, as every repetition is signed anew.
	standardWindow = 5 * time.Minute
	// minStandardKey is the shortest key, in bytes, that the specification
	// allows.
	minStandardKey = 24
)

// verifyStandard checks a request of the generic endpoint.
func verifyStandard(ep Endpoint, req Request) (Verified, error) {
	return verifyStandardAs("webhook-", ep, req)
}

// verifyStandardAs checks a request by the Standard Webhooks scheme, whose
// headers begin with prefix. Signatures of unknown versions are ignored; one
// that fits is enough.
func verifyStandardAs(prefix string, ep Endpoint, req Request) (Verified, error) {
	keys := standardKeys(ep.Secrets)
	id, stamp, sent := standardHeaders(prefix, req.Header)
	switch {
	case len(keys) == 0:
		return Verified{}, refuse(RefusedNoSecret)
	case id == "" || stamp == "" || sent == "":
		return Verified{}, refuse(RefusedMissingSignature)
	}
	signed, ok := signedAt(stamp)
	if !ok || strings.Contains(id, ".") {
		return Verified{}, refuse(RefusedBadSignature)
	}
	text := append([]byte(id+"."+stamp+"."), req.Body...)
	found := false
	for given := range strings.FieldsSeq(sent) {
		version, value, _ := strings.Cut(given, ",")
		sig, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			continue
		}
		for _, key := range keys {
			found = key.verifies(version, text, sig) || found
		}
	}
	if !found {
		return Verified{}, refuse(RefusedBadSignature)
	}
	return Verified{}, fresh(signed, req.ReceivedAt, standardWindow)
}

// standardHeaders returns id, time and signatures.
func standardHeaders(prefix string, h http.Header) (id, stamp, sent string) {
	return h.Get(prefix + "id"), h.Get(prefix + "timestamp"), h.Get(prefix + "signature")
}

// standardKey is a secret of the scheme: symmetric, or a public key.
type standardKey struct {
	raw    []byte
	public bool
}

// verifies tells whether a signature of a version fits.
func (k standardKey) verifies(version string, text, sig []byte) bool {
	switch {
	case version == "v1" && !k.public:
		return same(string(mac(sha256.New, string(k.raw), text)), string(sig))
	case version == "v1a" && k.public:
		return ed25519.Verify(k.raw, text, sig)
	default:
		return false
	}
}

// standardKeys reads the secrets that are long enough to be one: with the
// empty key anybody can sign.
func standardKeys(secrets []string) []standardKey {
	var keys []standardKey
	for _, s := range live(secrets) {
		if k, ok := parseStandardKey(s); ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// parseStandardKey reads "whsec_" and base64, or "whpk_" and base64.
func parseStandardKey(s string) (standardKey, bool) {
	text, public := strings.CutPrefix(s, "whpk_")
	text = strings.TrimPrefix(text, "whsec_")
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		raw, err = base64.RawStdEncoding.DecodeString(text)
	}
	if err != nil || len(raw) < minStandardKey || (public && len(raw) != ed25519.PublicKeySize) {
		return standardKey{}, false
	}
	return standardKey{raw: raw, public: public}, true
}

// standardEvent is an event of the generic endpoint.
type standardEvent struct {
	Type      scalar `json:"type"`
	Timestamp scalar `json:"timestamp"`
	Data      struct {
		Phone  scalar `json:"phone"`
		Email  scalar `json:"email"`
		Reason scalar `json:"reason"`
		Source scalar `json:"source"`
		Scope  scalar `json:"scope"`
	} `json:"data"`
}

// decodeStandard reads one event.
func decodeStandard(c *collector) {
	one(c, func(e standardEvent, raw []byte) {
		id, _, _ := standardHeaders("webhook-", c.req.Header)
		f := finding{
			kind: string(e.Type), id: id, stamp: anyTime(string(e.Timestamp)), raw: raw,
			evidence: map[string]string{"source": string(e.Data.Source), "reason": string(e.Data.Reason)},
		}
		if s := e.Data.Scope; s != "" && s != "global" && s != "all" {
			c.ignore(f.kind, "scope_only")
			return
		}
		switch e.Type {
		case "contact.sms.opted_out":
			c.sms(string(e.Data.Phone), merge(f, optOut(causeOf(string(e.Data.Reason), contact.KeywordStop))))
		case "contact.email.opted_out":
			c.email(string(e.Data.Email), merge(f, optOut(causeOf(string(e.Data.Reason), contact.Unsubscribe))))
		case "contact.sms.opted_in":
			c.sms(string(e.Data.Phone), merge(f, finding{action: OptIn, reason: ReasonStart}))
		case "contact.email.opted_in":
			c.email(string(e.Data.Email), merge(f, finding{action: OptIn, reason: ReasonResubscribe}))
		default:
			c.unknown(f.kind, raw)
		}
	})
}

// causeOf reads the name of a cause, or takes the usual one.
func causeOf(name string, usual contact.Cause) contact.Cause {
	for cause := range contact.NumCauses {
		if cause.String() == name {
			return cause
		}
	}
	return usual
}
