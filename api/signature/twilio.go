package signature

import (
	"crypto/sha1" //nolint:gosec // Twilio signs with HMAC-SHA1, which is unbroken.
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"

	"patchlane/tasks/contact"
)

// verifyTwilio checks X-Twilio-Signature: base64 HMAC-SHA1 of the URL and, for
// a form, its fields in byte order. There is no time in it, and no window.
func verifyTwilio(ep Endpoint, req Request) (Verified, error) {
	keys := live(ep.Secrets)
	given := signatures(req.Header.Get("X-Twilio-Signature"))
	switch {
	case len(keys) == 0:
		return Verified{}, refuse(RefusedNoSecret)
	case len(given) == 0:
		return Verified{}, refuse(RefusedMissingSignature)
	}
	suffix, err := twilioSuffix(req)
	if err != nil {
		return Verified{}, err
	}
	texts := twilioURLs(ep, req)
	for i := range texts {
		texts[i] += suffix
	}
	if !anyMAC(sha1.New, keys, texts, given) {
		return Verified{}, refuse(RefusedBadSignature)
	}
	return Verified{}, nil
}

// twilioSuffix returns what is signed behind the URL: the fields of a form; of
// another body nothing, as its hash stands in the URL and is compared here.
func twilioSuffix(req Request) (string, error) {
	switch {
	case req.Method == http.MethodGet:
		return "", nil
	case isForm(req.Header):
		fields, err := parseForm(string(req.Body))
		if err != nil {
			return "", refuse(RefusedUnreadable)
		}
		return fields.concat(), nil
	}
	query, err := parseForm(req.RawQuery)
	if err != nil || query.repeats() {
		return "", refuse(RefusedUnreadable)
	}
	sum := sha256.Sum256(req.Body)
	if !same(strings.ToLower(query.get("bodySHA256")), hex.EncodeToString(sum[:])) {
		return "", refuse(RefusedBadSignature)
	}
	return "", nil
}

// twilioURLs returns the spellings that Twilio may have signed: it is not
// consistent about default ports and about credentials in the URL.
func twilioURLs(ep Endpoint, req Request) []string {
	called := signedURL(ep, req)
	urls := []string{called}
	if u, err := url.Parse(ep.URL); err == nil && u.Host != "" {
		other := *u
		if u.Port() != "" {
			other.Host = u.Hostname()
		} else if u.Scheme == "https" {
			other.Host += ":443"
		} else {
			other.Host += ":80"
		}
		urls = append(urls, strings.Replace(called, u.Scheme+"://"+u.Host, other.Scheme+"://"+other.Host, 1))
	}
	for _, plain := range urls {
		if with, ok := withUserinfo(plain, req.Header); ok {
			urls = append(urls, with)
		}
	}
	return urls
}

// decodeTwilio reads an inbound text, or the status of an outbound one.
func decodeTwilio(c *collector) {
	fields, ok := c.twilioFields()
	if !ok {
		return
	}
	f := finding{
		kind: "message", id: fields.get("MessageSid"), raw: c.raw(),
		evidence: map[string]string{"to": fields.get("To"), "account": fields.get("AccountSid")},
	}
	if f.id == "" {
		f.id = fields.get("SmsSid")
	}
	status := fields.get("MessageStatus")
	switch {
	case f.id == "":
		c.unknown("message without MessageSid", c.raw())
	case status != "" && status != "received" && status != "receiving":
		f.kind = "status/" + status
		c.twilioStatus(fields, f)
	case fields.has("Body") || fields.get("OptOutType") != "":
		c.inbound(inbound{
			from: fields.get("From"), text: fields.get("Body"),
			verdict: fields.get("OptOutType"), yes: true, finding: f,
		})
	default:
		c.ignore("status/"+fields.get("SmsStatus"), "no_text")
	}
}

// twilioFields returns the fields of the request, whatever carried them.
func (c *collector) twilioFields() (form, bool) {
	if c.req.Method != http.MethodGet && !isForm(c.req.Header) {
		return c.jsonFields()
	}
	return c.fields()
}

// twilioStatus reads the fate of an outbound message. 21610 says that the
// recipient replied STOP some time; every other failure says nothing of what
// the person wants.
func (c *collector) twilioStatus(fields form, f finding) {
	if fields.get("ErrorCode") != "21610" || otherChannel(fields.get("To")) {
		c.ignore(f.kind, "delivery_status")
		return
	}
	f.action, f.cause = OptOut, contact.ProviderSuppressed
	f.evidence["error_code"] = "21610"
	c.sms(fields.get("To"), f)
}
