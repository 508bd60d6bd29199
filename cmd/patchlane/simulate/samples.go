package simulate

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"patchlane/api/signature"
)

// The media types of the providers.
const (
	formType = "application/x-www-form-urlencoded; charset=UTF-8"
	jsonType = "application/json"
	snsType  = "text/plain; charset=UTF-8"
)

// facts are what an event is made from.
type facts struct {
	event       Event
	address, id string
	at          time.Time
	signed      string
	topic, cert string
}

// sample is a body as a provider posts it.
type sample struct {
	mediaType string
	body      []byte
}

// object is a JSON object.
type object map[string]any

// build makes the body of an event; false: the provider has no such event.
func build(p signature.Provider, f facts) (sample, bool) {
	switch p {
	case signature.Twilio, signature.Plivo, signature.MessageBird:
		return textForm(p, f)
	case signature.Vonage, signature.Telnyx, signature.Bird:
		return textObject(p, f)
	case signature.SES:
		return sns(f)
	case signature.Standard:
		return standard(f)
	default:
		return mail(p, f)
	}
}

// text is what the person wrote.
func (f facts) text() (string, bool) {
	switch f.event {
	case Stop:
		return "STOP", true
	case Start:
		return "START", true
	case Sentence:
		return "please stop calling me at work", true
	case Garbage:
		return "", true
	default:
		return "", false
	}
}

// digits is the number as those providers write it who leave out the plus.
func (f facts) digits() string { return strings.TrimPrefix(f.address, "+") }

// iso is the time of the event.
func (f facts) iso() string { return f.at.Format("2006-01-02T15:04:05.000Z") }

// textForm is an inbound text that comes as a form.
func textForm(p signature.Provider, f facts) (sample, bool) {
	text, ok := f.text()
	var form url.Values
	switch p {
	case signature.Twilio:
		form = url.Values{
			"MessageSid": {"SM" + f.id}, "AccountSid": {"AC00000000000000000000000000000000"}, "ApiVersion": {"2010-04-01"},
			"From": {f.address}, "To": {"+14155550100"}, "Body": {text}, "NumMedia": {"0"}, "SmsStatus": {"received"},
		}
	case signature.Plivo:
		form = url.Values{
			"MessageUUID": {f.id}, "From": {f.digits()}, "To": {"14155550100"}, "Type": {"sms"}, "Text": {text},
		}
	default:
		form = url.Values{
			"id": {f.id}, "originator": {f.digits()}, "recipient": {"14155550100"}, "body": {text},
			"createdDatetime": {f.at.Format(time.RFC3339)},
		}
	}
	if f.event == Garbage {
		form = url.Values{"unknown": {f.id}}
	}
	return sample{formType, []byte(form.Encode())}, ok
}

// textObject is an inbound text that comes as JSON.
func textObject(p signature.Provider, f facts) (sample, bool) {
	text, ok := f.text()
	if f.event == Garbage {
		return garbage(f), ok
	}
	var o object
	switch p {
	case signature.Vonage:
		first, _, _ := strings.Cut(text, " ")
		o = object{
			"message_uuid": f.id, "channel": "sms", "message_type": "text", "timestamp": f.iso(),
			"from": f.digits(), "to": "14155550100", "text": text,
			"sms": object{"num_messages": "1", "keyword": strings.ToUpper(first)},
		}
	case signature.Telnyx:
		payload := object{
			"id": f.id, "record_type": "message", "type": "SMS", "direction": "inbound", "text": text, "received_at": f.iso(),
			"from": object{"phone_number": f.address}, "to": []object{{"phone_number": "+14155550100", "status": "webhook_delivered"}},
		}
		if f.event != Sentence {
			payload["autoresponse_type"] = text
		}
		o = object{
			"data": object{
				"record_type": "event", "event_type": "message.received", "id": f.id, "occurred_at": f.iso(), "payload": payload,
			},
			"meta": object{"attempt": 1, "delivered_to": f.signed},
		}
	default:
		o = object{
			"service": "channels", "event": "sms.inbound", "payload": object{
				"id": f.id, "direction": "incoming", "status": "delivered", "createdAt": f.iso(),
				"sender": object{"contact": object{"identifierKey": "phonenumber", "identifierValue": f.address}},
				"body":   object{"type": "text", "text": object{"text": text}},
			},
		}
	}
	return encoded(jsonType, o), ok
}

// standard is an event of our generic endpoint.
func standard(f facts) (sample, bool) {
	var kind string
	var data object
	switch f.event {
	case Stop:
		kind, data = "contact.sms.opted_out", object{"phone": f.address, "reason": "keyword_stop", "source": "simulate"}
	case Start:
		kind, data = "contact.sms.opted_in", object{"phone": f.address, "reason": "keyword_start", "source": "simulate"}
	case Bounce:
		kind, data = "contact.email.opted_out", object{"email": f.address, "reason": "hard_bounce", "source": "simulate"}
	case Complaint:
		kind, data = "contact.email.opted_out", object{"email": f.address, "reason": "complaint", "source": "simulate"}
	case Unsubscribe:
		kind, data = "contact.email.opted_out", object{"email": f.address, "reason": "unsubscribe", "source": "simulate"}
	case Garbage:
		return garbage(f), true
	default:
		return sample{}, false
	}
	return encoded(jsonType, object{"type": kind, "timestamp": f.iso(), "data": data}), true
}

// garbage is well-formed and means nothing to anybody. It is an object where an
// array is wanted too.
func garbage(f facts) sample { return encoded(jsonType, object{"unknown": f.id}) }

// encoded writes JSON.
func encoded(mediaType string, v any) sample {
	body, err := json.Marshal(v)
	if err != nil {
		// Maps of strings and numbers always can be written.
		return sample{}
	}
	return sample{mediaType, body}
}
