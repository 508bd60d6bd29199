package signature

import (
	"net/http"
	"strings"
	"time"
)

// vonageWindow covers the day over which Vonage repeats a callback, in case it
// repeats the token along.
const vonageWindow = 25 * time.Hour

// verifyVonage checks the bearer token of the Messages API: HS256 and nothing
// else, its hash of the body, and its age. Vendors' own helper checks neither
// of the latter two. The legacy SMS API signs nothing: it is admitted with a
// password of the endpoint alone.
func verifyVonage(ep Endpoint, req Request) (Verified, error) {
	keys := live(ep.Secrets)
	if passwords := ep.passwords(); len(passwords) > 0 && admits(req.Header, passwords) {
		return Verified{}, nil
	}
	if len(keys) == 0 {
		return Verified{}, refuse(RefusedNoSecret)
	}
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || req.Method == http.MethodGet {
		return Verified{}, refuse(RefusedMissingSignature)
	}
	got, err := openToken(strings.TrimSpace(token), keys, "HS256")
	if err != nil {
		return Verified{}, err
	}
	if !hashes(got.PayloadHash, req.Body) {
		return Verified{}, refuse(RefusedBadSignature)
	}
	issued, ok := signedAt(string(got.IssuedAt))
	if !ok {
		return Verified{}, refuse(RefusedStale)
	}
	return Verified{}, fresh(issued, req.ReceivedAt, vonageWindow)
}

// vonageMessage is a callback of the Messages API.
type vonageMessage struct {
	Channel     scalar `json:"channel"`
	MessageUUID scalar `json:"message_uuid"`
	From        scalar `json:"from"`
	To          scalar `json:"to"`
	Text        scalar `json:"text"`
	Type        scalar `json:"message_type"`
	Status      scalar `json:"status"`
	Timestamp   scalar `json:"timestamp"`
}

// decodeVonage reads an inbound text of either API. A status never opts out,
// and the "keyword" of a message is only its first word: the text decides.
func decodeVonage(c *collector) {
	if c.req.Method == http.MethodGet || isForm(c.req.Header) {
		if fields, ok := c.fields(); ok {
			c.vonageLegacy(fields, c.raw())
		}
		return
	}
	one(c, func(m vonageMessage, raw []byte) {
		switch {
		case m.Channel == "" && m.MessageUUID == "":
			if fields, ok := c.jsonFields(); ok {
				c.vonageLegacy(fields, raw)
			}
		case m.Status != "":
			c.ignore("status/"+string(m.Status), "delivery_status")
		case m.Channel != "sms" && m.Channel != "mms":
			c.ignore("message/"+string(m.Channel), "other_channel")
		default:
			c.inbound(inbound{from: string(m.From), text: string(m.Text), finding: finding{
				kind: "message/" + string(m.Type), id: string(m.MessageUUID), stamp: isoTime(string(m.Timestamp)),
				raw: raw, evidence: map[string]string{"to": string(m.To)},
			}})
		}
	})
}

// vonageLegacy reads an inbound text of the legacy SMS API. Its clock has no
// zone in the form, and is UTC.
func (c *collector) vonageLegacy(fields form, raw []byte) {
	switch {
	case fields.get("msisdn") == "" && fields.get("messageId") == "":
		c.unknown("callback", raw)
	case !fields.has("text"):
		c.ignore("status/"+fields.get("status"), "delivery_status")
	default:
		at := isoTime(strings.Replace(fields.get("message-timestamp"), " ", "T", 1) + "Z")
		c.inbound(inbound{from: fields.get("msisdn"), text: fields.get("text"), finding: finding{
			kind: "sms/" + fields.get("type"), id: fields.get("messageId"), stamp: at,
			raw: raw, evidence: map[string]string{"to": fields.get("to")},
		}})
	}
}
