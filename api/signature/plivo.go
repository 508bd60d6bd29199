package signature

import (
	"crypto/sha1" //nolint:gosec // Plivo's first signatures are HMAC-SHA1, which is unbroken.
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// plivoNonceTTL is how long a nonce of version 2 is remembered. It carries no
// time, so that there is no end of it that would be right.
const plivoNonceTTL = 7 * 24 * time.Hour

// verifyPlivo checks the newest signature that the request carries; an older
// one MUST NOT stand in for a newer that does not fit. Version 2 covers
// neither query nor body, so that its nonce is good for one body only.
func verifyPlivo(ep Endpoint, req Request) (Verified, error) {
	keys := live(ep.Secrets)
	h := req.Header.Get
	v3 := signatures(h("X-Plivo-Signature-V3"), h("X-Plivo-Signature-Ma-V3"))
	v2 := signatures(h("X-Plivo-Signature-V2"), h("X-Plivo-Signature-Ma-V2"))
	v1 := signatures(h("X-Plivo-Signature"))
	switch {
	case len(keys) == 0:
		return Verified{}, refuse(RefusedNoSecret)
	case len(v3) > 0:
		texts, err := plivoV3(ep, req, h("X-Plivo-Signature-V3-Nonce"))
		if err != nil {
			return Verified{}, err
		}
		return matched(anyMAC(sha256.New, keys, texts, v3), nil)
	case len(v2) > 0:
		nonce := h("X-Plivo-Signature-V2-Nonce")
		base, _, _ := strings.Cut(ep.URL, "?")
		token := &OneTime{Token: nonce, BodyHash: requestHash(req), TTL: plivoNonceTTL}
		return matched(nonce != "" && anyMAC(sha256.New, keys, []string{base + nonce}, v2), token)
	case len(v1) > 0:
		fields, err := formOf(req)
		if err != nil || fields.repeats() {
			return Verified{}, refuse(RefusedDuplicateKey)
		}
		base, _, _ := strings.Cut(ep.URL, "?")
		return matched(anyMAC(sha1.New, keys, []string{base + fields.concat()}, v1), nil)
	default:
		return Verified{}, refuse(RefusedMissingSignature)
	}
}

// matched turns the result of a comparison into the result of a verifier.
func matched(ok bool, token *OneTime) (Verified, error) {
	if !ok {
		return Verified{}, refuse(RefusedBadSignature)
	}
	return Verified{OneTime: token}, nil
}

// requestHash is the hash of everything that a provider may vary: body and
// query.
func requestHash(req Request) [32]byte {
	if req.RawQuery == "" {
		return sha256.Sum256(req.Body)
	}
	return sha256.Sum256([]byte(req.RawQuery + "\n" + string(req.Body)))
}

// plivoV3 returns the texts that version 3 may have signed: the URL, its query
// sorted, the fields sorted, the nonce. SDKs differ in whether the query is
// decoded first.
func plivoV3(ep Endpoint, req Request, nonce string) ([]string, error) {
	if nonce == "" {
		return nil, refuse(RefusedMissingSignature)
	}
	query, err := parseForm(req.RawQuery)
	if err != nil {
		return nil, refuse(RefusedUnreadable)
	}
	var body form
	if req.Method == http.MethodPost {
		if body, err = parseForm(string(req.Body)); err != nil {
			return nil, refuse(RefusedUnreadable)
		}
	}
	if query.repeats() || body.repeats() {
		return nil, refuse(RefusedDuplicateKey)
	}
	base, _, _ := strings.Cut(ep.URL, "?")
	texts := make([]string, 0, 2)
	for _, spell := range []func(string) string{func(s string) string { return s }, url.QueryEscape} {
		pairs := make([]string, 0, len(query))
		for _, p := range query.sorted() {
			pairs = append(pairs, spell(p.key)+"="+spell(p.value))
		}
		text := base + "?" + strings.Join(pairs, "&")
		if len(pairs) > 0 && req.Method == http.MethodPost {
			text += "."
		}
		texts = append(texts, text+body.concat()+"."+nonce)
	}
	return texts, nil
}

// decodePlivo reads an inbound text; a delivery report changes nothing.
func decodePlivo(c *collector) {
	fields, ok := c.fields()
	switch {
	case !ok:
	case fields.get("MessageUUID") == "":
		c.unknown("message without MessageUUID", c.raw())
	case !fields.has("Text"):
		c.ignore("status/"+fields.get("Status"), "delivery_status")
	case fields.get("Type") == "whatsapp":
		c.ignore("message/whatsapp", "other_channel")
	default:
		c.inbound(inbound{from: fields.get("From"), text: fields.get("Text"), finding: finding{
			kind: "message/" + fields.get("Type"), id: fields.get("MessageUUID"), raw: c.raw(),
			evidence: map[string]string{"to": fields.get("To")},
		}})
	}
}
