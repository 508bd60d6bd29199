package signature

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"

	"patchlane/tasks/contact"

	"github.com/go-json-experiment/json/jsontext"
)

// What is kept of a request is small: an evidence of a few fields, an id that
// fits an index, and of an unreadable element what an operator can look at.
const (
	maxEvidenceValue = 320
	maxProviderID    = 200
	maxKind          = 64
	maxQuarantined   = 64 << 10
)

// collector gathers what a decoder finds.
type collector struct {
	ep  Endpoint
	req Request
	out Decoded
}

// finding is what a decoder found about one address, before the address is
// brought into its key form.
type finding struct {
	action Action
	cause  contact.Cause
	// reason is the cause's own name when empty.
	reason string
	kind   string
	id     string
	// twin is what repetitions have in common, where that is more than id.
	twin      string
	stamp     stamp
	ambiguous bool
	ifStopped bool
	evidence  map[string]string
	raw       []byte
}

// optOut is the finding of an opt-out.
func optOut(cause contact.Cause) finding { return finding{action: OptOut, cause: cause} }

// review is the finding that somebody has to look at; cause is what accepting
// it means.
func review(cause contact.Cause, reason string) finding {
	return finding{action: Review, cause: cause, reason: reason}
}

// reactivated is the finding that staff or the provider lifted a suppression:
// no consent of the person, so that it is recorded and changes nothing.
func reactivated() finding { return finding{action: None, reason: ReasonReactivated} }

// nothing is the finding of what changes nothing.
func nothing() finding { return finding{} }

// email adds an event about an e-mail address.
func (c *collector) email(address string, f finding) {
	if f.action == "" {
		c.ignore(f.kind, "changes_nothing")
		return
	}
	key, ok := EmailKey(address)
	if !ok {
		c.quarantine(QuarantineBadAddress, "no e-mail address", f.raw)
		return
	}
	c.event(Email, key, f)
}

// sms adds an event about a phone number. A number that has two spellings in
// use gives one event for each.
func (c *collector) sms(number string, f finding) {
	if f.action == "" {
		c.ignore(f.kind, "changes_nothing")
		return
	}
	keys := PhoneKeys(number)
	if len(keys) == 0 {
		c.quarantine(QuarantineBadAddress, "no phone number", f.raw)
		return
	}
	for _, key := range keys {
		c.event(SMS, key, f)
	}
}

// event adds an event about the key of an address.
func (c *collector) event(channel Channel, key string, f finding) {
	if f.reason == "" {
		f.reason = f.cause.String()
	}
	if f.twin == "" {
		f.twin = f.id
	}
	at := f.stamp.believe(c.req.ReceivedAt)
	c.out.Events = append(c.out.Events, Event{
		Channel: channel, Address: key, Action: f.action, Cause: f.cause,
		Reason: f.reason, Kind: cut(f.kind, maxKind), ProviderID: shortID(f.id),
		DedupID: digest(string(c.ep.Provider), string(channel), key, string(f.action), f.reason, f.twin),
		At:      at.at, WholeSeconds: at.whole, Ambiguous: f.ambiguous,
		OptInIfStopped: f.ifStopped, Evidence: evidence(f.evidence),
	})
}

// ignore notes what was read and changes nothing.
func (c *collector) ignore(kind, why string) {
	c.out.Ignored = append(c.out.Ignored, Ignored{Kind: cut(kind, maxKind), Why: why})
}

// quarantine sets an element aside.
func (c *collector) quarantine(reason, detail string, raw []byte) {
	raw = raw[:min(len(raw), maxQuarantined)]
	c.out.Quarantined = append(c.out.Quarantined, Quarantined{
		Reason: reason, Detail: cut(detail, maxEvidenceValue), Raw: append([]byte(nil), raw...),
	})
}

// malformed sets aside what does not have the provider's form.
func (c *collector) malformed(err error, raw []byte) {
	c.quarantine(QuarantineMalformed, err.Error(), raw)
}

// unknown sets aside an event of a kind that no rule names: it could be an
// opt-out under a new name.
func (c *collector) unknown(kind string, raw []byte) {
	c.quarantine(QuarantineUnknownType, "unknown kind "+cut(kind, maxKind), raw)
}

// empty notes a request without content, which some providers send to try an
// endpoint, and tells whether this is one.
func (c *collector) empty() bool {
	if len(bytes.TrimSpace(c.req.Body)) > 0 {
		return false
	}
	c.ignore("", "empty_body")
	return true
}

// each reads the elements of a JSON body, one by one, into a T.
func each[T any](c *collector, read func(element T, raw []byte)) {
	if c.empty() {
		return
	}
	elements(c.req.Body, func(v jsontext.Value) {
		var element T
		if err := strictly(v, &element); err != nil {
			c.malformed(err, v)
			return
		}
		read(element, v)
	}, func(rest []byte) {
		c.quarantine(QuarantineMalformed, "no JSON from here on", rest)
	})
}

// one reads a JSON body that is a single object.
func one[T any](c *collector, read func(element T, raw []byte)) {
	if c.empty() {
		return
	}
	var element T
	if err := strictly(c.req.Body, &element); err != nil {
		c.malformed(err, c.req.Body)
		return
	}
	read(element, c.req.Body)
}

// raw is what carries the fields: the query of a GET, else the body.
func (c *collector) raw() []byte {
	if c.req.Method == http.MethodGet {
		return []byte(c.req.RawQuery)
	}
	return c.req.Body
}

// fields returns the form of the request; one that contradicts itself is set
// aside whole, as another reader could take the other value.
func (c *collector) fields() (form, bool) {
	raw := c.raw()
	fields, err := formOf(c.req)
	switch {
	case err != nil:
		c.malformed(err, raw)
		return nil, false
	case fields.contradicts():
		c.quarantine(QuarantineDuplicateKey, "a field has two values", raw)
		return nil, false
	default:
		return fields, true
	}
}

// jsonFields returns the scalars of a JSON object as fields.
func (c *collector) jsonFields() (form, bool) {
	if c.empty() {
		return nil, false
	}
	object := map[string]scalar{}
	if err := strictly(c.req.Body, &object); err != nil {
		c.malformed(err, c.req.Body)
		return nil, false
	}
	fields := make(form, 0, len(object))
	for k, v := range object {
		fields = append(fields, pair{k, string(v)})
	}
	return fields, true
}

// digest returns 32 hex digits that name the parts.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// shortID returns an id that fits an index and a log line.
func shortID(id string) string {
	if len(id) > maxProviderID || !utf8.ValidString(id) || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return digest(id)
	}
	return id
}

// cut shortens a text to most bytes, at a rune, and leaves out what no store takes.
func cut(s string, most int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// evidence returns the JSON of the fields that are not empty.
func evidence(fields map[string]string) []byte {
	kept := make(map[string]string, len(fields))
	for k, v := range fields {
		if v = cut(v, maxEvidenceValue); v != "" {
			kept[k] = v
		}
	}
	out, err := json.Marshal(kept)
	if err != nil {
		return []byte("{}")
	}
	return out
}
