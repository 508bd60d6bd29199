package signature

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"time"

	"patchlane/tasks/contact"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// telnyxWindow suffices, as Telnyx tries again within seconds.
const telnyxWindow = 5 * time.Minute

// verifyTelnyx checks an Ed25519 signature over time and body. The public key
// is raw base64, not an SPKI structure.
func verifyTelnyx(ep Endpoint, req Request) (Verified, error) {
	keys := live(ep.Secrets)
	stamp, sent := req.Header.Get("telnyx-timestamp"), req.Header.Get("telnyx-signature-ed25519")
	switch {
	case len(keys) == 0:
		return Verified{}, refuse(RefusedNoSecret)
	case stamp == "" || sent == "":
		return Verified{}, refuse(RefusedMissingSignature)
	}
	sig, err := base64.StdEncoding.DecodeString(sent)
	signed, ok := signedAt(stamp)
	if err != nil || !ok || len(sig) != ed25519.SignatureSize {
		return Verified{}, refuse(RefusedBadSignature)
	}
	text := append([]byte(stamp+"|"), req.Body...)
	if !anyEd25519(keys, text, sig) {
		return Verified{}, refuse(RefusedBadSignature)
	}
	return Verified{}, fresh(signed, req.ReceivedAt, telnyxWindow)
}

// anyEd25519 tells whether one of the base64 public keys verifies.
func anyEd25519(keys []string, text, sig []byte) bool {
	found := false
	for _, key := range keys {
		raw, err := base64.StdEncoding.DecodeString(key)
		if err == nil && len(raw) == ed25519.PublicKeySize && ed25519.Verify(raw, text, sig) {
			found = true
		}
	}
	return found
}

// telnyxParty is a sender or recipient: an object, or for some channels a
// plain string.
type telnyxParty struct {
	Number scalar `json:"phone_number"`
	Status scalar `json:"status"`
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (p *telnyxParty) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != jsontext.KindBeginObject {
		*p = telnyxParty{}
		return p.Number.UnmarshalJSONFrom(dec)
	}
	type plain telnyxParty
	return json.UnmarshalDecode(dec, (*plain)(p))
}

// telnyxEvent is the body of a callback.
type telnyxEvent struct {
	Data struct {
		ID         scalar `json:"id"`
		EventType  scalar `json:"event_type"`
		OccurredAt scalar `json:"occurred_at"`
		Payload    struct {
			Type         scalar            `json:"type"`
			Direction    scalar            `json:"direction"`
			From         telnyxParty       `json:"from"`
			To           many[telnyxParty] `json:"to"`
			Text         scalar            `json:"text"`
			Autoresponse scalar            `json:"autoresponse_type"`
			Profile      scalar            `json:"messaging_profile_id"`
			Errors       many[struct {
				Code scalar `json:"code"`
			}] `json:"errors"`
		} `json:"payload"`
	} `json:"data"`
}

// decodeTelnyx reads an inbound text, or an outbound one that was blocked as
// its recipient had sent STOP (40300). No other failure opts out.
func decodeTelnyx(c *collector) {
	one(c, func(e telnyxEvent, raw []byte) {
		d, p := e.Data, e.Data.Payload
		f := finding{
			kind: string(d.EventType), id: string(d.ID), stamp: isoTime(string(d.OccurredAt)), raw: raw,
			evidence: map[string]string{"profile": string(p.Profile)},
		}
		switch {
		case !strings.HasPrefix(f.kind, "message."):
			c.unknown(f.kind, raw)
		case p.Type != "" && p.Type != "SMS" && p.Type != "MMS":
			c.ignore(f.kind, "other_channel")
		case d.EventType == "message.received" && p.Direction != "outbound":
			c.inbound(inbound{
				from: string(p.From.Number), text: string(p.Text),
				verdict: string(p.Autoresponse), finding: f,
			})
		default:
			for _, code := range p.Errors {
				if code.Code == "40300" {
					c.telnyxBlocked(p.To, f)
					return
				}
			}
			c.ignore(f.kind, "delivery_status")
		}
	})
}

// telnyxBlocked opts out the recipients that were not reached.
func (c *collector) telnyxBlocked(to []telnyxParty, f finding) {
	f.action, f.cause = OptOut, contact.ProviderSuppressed
	f.evidence["error_code"] = "40300"
	for _, p := range to {
		if len(to) == 1 || strings.Contains(string(p.Status), "failed") {
			c.sms(string(p.Number), f)
		}
	}
}
