package signature

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"time"

	"patchlane/tasks/contact"
)

// mailgunWindow covers the eight hours over which Mailgun repeats an event
// with its first signature.
const mailgunWindow = 9 * time.Hour

// mailgunSignature is the block that Mailgun signs with; events of a
// subaccount are signed for the parent account too.
type mailgunSignature struct {
	Timestamp scalar `json:"timestamp"`
	Token     scalar `json:"token"`
	Signature scalar `json:"signature"`
	Parent    scalar `json:"parent-signature,omitzero"`
}

// verifyMailgun checks an HMAC over time and token. It does not cover the
// event, so that a token is good for one body only.
func verifyMailgun(ep Endpoint, req Request) (Verified, error) {
	keys := live(ep.Secrets)
	if len(keys) == 0 {
		return Verified{}, refuse(RefusedNoSecret)
	}
	block, err := mailgunBlock(req)
	if err != nil {
		return Verified{}, refuse(RefusedUnreadable)
	}
	if block.Signature == "" || block.Token == "" || block.Timestamp == "" {
		return Verified{}, refuse(RefusedMissingSignature)
	}
	found := false
	for _, key := range keys {
		want := hex.EncodeToString(mac(sha256.New, key, []byte(block.Timestamp), []byte(block.Token)))
		for _, given := range []scalar{block.Signature, block.Parent} {
			found = same(want, strings.ToLower(string(given))) || found
		}
	}
	signed, ok := signedAt(string(block.Timestamp))
	if !found || !ok {
		return Verified{}, refuse(RefusedBadSignature)
	}
	// The HMAC does not tell where the time ends and the token begins, so that
	// what is consumed is both together.
	token := &OneTime{
		Token:    string(block.Timestamp + block.Token),
		BodyHash: sha256.Sum256(req.Body), TTL: mailgunWindow + 2*futureSkew,
	}
	return Verified{OneTime: token}, fresh(signed, req.ReceivedAt, mailgunWindow)
}

// mailgunBlock finds the signature: an object of the JSON, or fields of a
// legacy form.
func mailgunBlock(req Request) (mailgunSignature, error) {
	if fields, ok, err := mailgunForm(req); ok {
		if err != nil || fields.repeats() {
			return mailgunSignature{}, errForm
		}
		return mailgunSignature{
			Timestamp: scalar(fields.get("timestamp")), Token: scalar(fields.get("token")),
			Signature: scalar(fields.get("signature")),
		}, nil
	}
	var block mailgunSignature
	object, err := members(req.Body)
	if err != nil {
		return block, err
	}
	if raw, ok := object["signature"]; ok {
		err = strictly(raw, &block)
	}
	return block, err
}

// mailgunForm reads a legacy post, or says that it is none.
func mailgunForm(req Request) (form, bool, error) {
	if isForm(req.Header) {
		fields, err := parseForm(string(req.Body))
		return fields, true, err
	}
	if mediaType(req.Header) != "multipart/form-data" {
		return nil, false, nil
	}
	_, params, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil || params["boundary"] == "" {
		return nil, true, errForm
	}
	reader := multipart.NewReader(bytes.NewReader(req.Body), params["boundary"])
	var fields form
	for len(fields) < maxPairs {
		part, err := reader.NextPart()
		if err == io.EOF { //nolint:errorlint // NextPart promises io.EOF itself.
			return fields, true, nil
		}
		if err != nil {
			return nil, true, errForm
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, true, errForm
		}
		fields = append(fields, pair{part.FormName(), string(value)})
	}
	return nil, true, errForm
}

// mailgunEvent is an event.
type mailgunEvent struct {
	Event     scalar `json:"event"`
	ID        scalar `json:"id"`
	Timestamp scalar `json:"timestamp"`
	Recipient scalar `json:"recipient"`
	Severity  scalar `json:"severity"`
	Reason    scalar `json:"reason"`
	Status    struct {
		Code        scalar `json:"code"`
		Message     scalar `json:"message"`
		Description scalar `json:"description"`
	} `json:"delivery-status"`
}

// decodeMailgun reads one event.
func decodeMailgun(c *collector) {
	if fields, ok, err := mailgunForm(c.req); ok {
		if err != nil {
			c.malformed(err, c.req.Body)
			return
		}
		c.mailgunLegacy(fields)
		return
	}
	one(c, func(body struct {
		Data *mailgunEvent `json:"event-data"`
	}, raw []byte,
	) {
		if body.Data == nil {
			c.unknown("post without event-data", raw)
			return
		}
		c.mailgun(*body.Data, raw)
	})
}

// mailgun adds an event. Its id is unique for a day only, so that twins share
// the time too.
func (c *collector) mailgun(e mailgunEvent, raw []byte) {
	f, known := judgeMailgun(e)
	if !known {
		c.unknown(string(e.Event), raw)
		return
	}
	f.kind = string(e.Event)
	if e.Event == "failed" {
		f.kind += "/" + string(e.Severity) + "/" + string(e.Reason)
	}
	f.id, f.raw, f.stamp = string(e.ID), raw, unixTime(string(e.Timestamp))
	if f.id == "" {
		f.id = digest("content", string(e.Event), string(e.Recipient), string(e.Timestamp))
	}
	f.twin = f.id + "\x00" + string(e.Timestamp)
	f.evidence = map[string]string{
		"code": string(e.Status.Code), "status": string(e.Status.Message),
		"description": string(e.Status.Description),
	}
	c.email(string(e.Recipient), f)
}

// judgeMailgun is the table of events; false for an event that it has not.
func judgeMailgun(e mailgunEvent) (finding, bool) {
	switch e.Event {
	case "unsubscribed":
		return optOut(contact.Unsubscribe), true
	case "complained":
		return optOut(contact.Complaint), true
	case "failed":
		return judgeMailgunFailure(string(e.Severity), string(e.Reason)), true
	case "accepted", "delivered", "opened", "clicked", "rejected", "stored",
		"list_member_uploaded", "list_member_upload_error", "list_uploaded", "":
		return nothing(), e.Event != ""
	default:
		return finding{}, false
	}
}

// judgeMailgunFailure tells what a failure says about the address; one that
// only ran out of attempts says nothing.
func judgeMailgunFailure(severity, reason string) finding {
	if severity != "permanent" {
		return nothing()
	}
	switch {
	case reason == "bounce":
		return optOut(contact.HardBounce)
	case strings.HasPrefix(reason, "suppress-"):
		return optOut(contact.ProviderSuppressed)
	case reason == "old" || reason == "generic" || reason == "espblock":
		return nothing()
	default:
		return review(contact.HardBounce, "unknown_bounce")
	}
}

// mailgunLegacy brings a legacy post into the form of an event. Its "bounced"
// is a permanent failure and its "dropped" one that was not tried.
func (c *collector) mailgunLegacy(fields form) {
	e := mailgunEvent{
		Event: scalar(fields.get("event")), Recipient: scalar(fields.get("recipient")),
		Timestamp: scalar(fields.get("timestamp")),
	}
	e.Status.Code = scalar(fields.get("code"))
	e.Status.Message = scalar(fields.get("error"))
	switch e.Event {
	case "bounced":
		e.Event, e.Severity, e.Reason = "failed", "permanent", "bounce"
		if !strings.HasPrefix(string(e.Status.Code), "5") {
			e.Severity = "temporary"
		}
	case "dropped":
		e.Event, e.Severity, e.Reason = "failed", "permanent", "generic"
		if strings.HasPrefix(string(e.Status.Code), "60") {
			e.Reason = "suppress-" + e.Status.Code
		}
	}
	message := fields.get("Message-Id") + fields.get("message-id")
	e.ID = scalar(digest("legacy", string(e.Event), string(e.Recipient), message))
	c.mailgun(e, c.req.Body)
}
