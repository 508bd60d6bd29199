package signature

import (
	"crypto/sha1" //nolint:gosec // Mandrill signs with HMAC-SHA1, which is unbroken.
	"net/http"
	"strings"

	"patchlane/tasks/contact"
)

// mandrillTestKey signs the empty batch with which Mandrill tries an endpoint
// before its key exists. It MUST NOT admit anything else.
const mandrillTestKey = "test-webhook"

// verifyMandrill checks an HMAC over the URL and the fields. There is no time
// in it, and no window.
func verifyMandrill(ep Endpoint, req Request) (Verified, error) {
	if req.Method == http.MethodHead {
		return Verified{Challenge: true}, nil
	}
	given := signatures(req.Header.Get("X-Mandrill-Signature"))
	fields, err := parseForm(string(req.Body))
	switch {
	case err != nil:
		return Verified{}, refuse(RefusedUnreadable)
	case fields.repeats():
		return Verified{}, refuse(RefusedDuplicateKey)
	}
	texts := []string{signedURL(ep, req)}
	if with, ok := withUserinfo(texts[0], req.Header); ok {
		texts = append(texts, with)
	}
	for i := range texts {
		texts[i] += fields.concat()
	}
	if strings.TrimSpace(fields.get("mandrill_events")) == "[]" &&
		anyMAC(sha1.New, []string{mandrillTestKey}, texts, given) {
		return Verified{Challenge: true}, nil
	}
	keys := live(ep.Secrets)
	switch {
	case len(keys) == 0:
		return Verified{}, refuse(RefusedNoSecret)
	case len(given) == 0:
		return Verified{}, refuse(RefusedMissingSignature)
	}
	return matched(anyMAC(sha1.New, keys, texts, given), nil)
}

// mandrillEvent is an event about a message, or a change of a list.
type mandrillEvent struct {
	Event   scalar `json:"event"`
	ID      scalar `json:"_id"`
	Time    scalar `json:"ts"`
	Message struct {
		Email       scalar `json:"email"`
		Description scalar `json:"bounce_description"`
		Diagnosis   scalar `json:"diag"`
	} `json:"msg"`
	Type   scalar `json:"type"`
	Action scalar `json:"action"`
	Reject struct {
		Reason scalar `json:"reason"`
		Email  scalar `json:"email"`
	} `json:"reject"`
}

// decodeMandrill reads a batch, which is one field of a form.
func decodeMandrill(c *collector) {
	fields, ok := c.fields()
	if !ok || len(fields) == 0 {
		return
	}
	if !fields.has("mandrill_events") {
		c.unknown("form without mandrill_events", c.req.Body)
		return
	}
	inner := &collector{ep: c.ep, req: c.req}
	inner.req.Body = []byte(fields.get("mandrill_events"))
	each(inner, inner.mandrill)
	c.out = inner.out
}

// mandrill adds one event. Its id is that of the message, so that an event is
// known by kind, message and time.
func (c *collector) mandrill(e mandrillEvent, raw []byte) {
	f, known := judgeMandrill(e)
	if !known {
		c.unknown(string(e.Event+e.Type), raw)
		return
	}
	f.raw, f.stamp = raw, unixTime(string(e.Time))
	address := e.Message.Email
	if e.Event != "" {
		f.kind, f.id = string(e.Event), digest(string(e.Event), string(e.ID), string(e.Time))
		f.evidence = map[string]string{
			"message": string(e.ID), "description": string(e.Message.Description),
			"diagnosis": string(e.Message.Diagnosis),
		}
	} else {
		address = e.Reject.Email
		f.kind = "sync/" + string(e.Type) + "/" + string(e.Action)
		f.id = digest("sync", string(e.Type), string(e.Action), string(address), string(e.Time))
		f.evidence = map[string]string{"reason": string(e.Reject.Reason)}
	}
	c.email(string(address), f)
}

// judgeMandrill is the table of events; false for an event that it has not.
func judgeMandrill(e mandrillEvent) (finding, bool) {
	switch e.Event {
	case "hard_bounce":
		return optOut(contact.HardBounce), true
	case "spam":
		return optOut(contact.Complaint), true
	case "unsub":
		return optOut(contact.Unsubscribe), true
	case "soft_bounce", "deferral", "delivered", "send", "open", "click", "reject", "inbound":
		return nothing(), true
	case "":
		return judgeMandrillSync(e)
	default:
		return finding{}, false
	}
}

// judgeMandrillSync reads a change of Mandrill's own lists. The names of both
// lists have changed over time.
func judgeMandrillSync(e mandrillEvent) (finding, bool) {
	switch e.Type {
	case "whitelist", "allowlist":
		return nothing(), true
	case "blacklist", "denylist":
	default:
		return finding{}, false
	}
	switch e.Action {
	case "remove":
		return reactivated(), true
	case "add":
	default:
		return nothing(), true
	}
	switch e.Reject.Reason {
	case "hard-bounce":
		return optOut(contact.HardBounce), true
	case "spam":
		return optOut(contact.Complaint), true
	case "unsub":
		return optOut(contact.Unsubscribe), true
	case "soft-bounce":
		return nothing(), true
	default:
		return optOut(contact.ProviderSuppressed), true
	}
}
