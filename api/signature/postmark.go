package signature

import "patchlane/tasks/contact"

// postmarkEvent is the body of a webhook. Postmark signs nothing: verifyBasic
// checks the password of the URL.
type postmarkEvent struct {
	Record    scalar `json:"RecordType"`
	ID        scalar `json:"ID"`
	Type      scalar `json:"Type"`
	Email     scalar `json:"Email"`
	Inactive  scalar `json:"Inactive"`
	BouncedAt scalar `json:"BouncedAt"`
	MessageID scalar `json:"MessageID"`
	Stream    scalar `json:"MessageStream"`
	Details   scalar `json:"Details"`
	Recipient scalar `json:"Recipient"`
	ChangedAt scalar `json:"ChangedAt"`
	Origin    scalar `json:"Origin"`
	Suppress  scalar `json:"SuppressSending"`
	Why       scalar `json:"SuppressionReason"`
}

// decodePostmark reads one event. TypeCode is never looked at: Postmark's own
// complaints carry the code of another type.
func decodePostmark(c *collector) {
	one(c, func(e postmarkEvent, raw []byte) {
		f := finding{
			kind: string(e.Record) + "/" + string(e.Type), id: string(e.ID),
			stamp: isoTime(string(e.BouncedAt)), raw: raw,
			evidence: map[string]string{
				"message": string(e.MessageID), "stream": string(e.Stream), "details": string(e.Details),
			},
		}
		switch e.Record {
		case "":
			// An inbound mail has no record type, and no type either; what has one
			// says something that nobody here knows.
			if e.Type != "" {
				c.unknown(string(e.Type), raw)
				return
			}
			c.ignore("", "changes_nothing")
		case "Bounce":
			c.email(string(e.Email), merge(f, judgePostmarkBounce(e)))
		case "SpamComplaint":
			c.email(string(e.Email), merge(f, optOut(contact.Complaint)))
		case "SubscriptionChange":
			f.kind = string(e.Record) + "/" + string(e.Why)
			f.id = digest("change", string(e.MessageID), string(e.Recipient), string(e.ChangedAt), string(e.Suppress))
			f.stamp = isoTime(string(e.ChangedAt))
			f.evidence["origin"] = string(e.Origin)
			c.email(string(e.Recipient), merge(f, judgePostmarkChange(e)))
		case "Delivery", "Open", "Click":
			c.ignore(string(e.Record), "changes_nothing")
		default:
			c.unknown(string(e.Record), raw)
		}
	})
}

// merge completes a judgement with what is known of the event.
func merge(event, judged finding) finding {
	event.action, event.cause, event.reason = judged.action, judged.cause, judged.reason
	return event
}

// judgePostmarkBounce is the table of bounces.
func judgePostmarkBounce(e postmarkEvent) finding {
	switch {
	case e.Type == "HardBounce" || e.Type == "BadEmailAddress":
		return optOut(contact.HardBounce)
	case e.Type == "Unsubscribe":
		return optOut(contact.Unsubscribe)
	case e.Type == "ManuallyDeactivated" || e.Inactive == "true":
		return optOut(contact.ProviderSuppressed)
	default:
		return nothing()
	}
}

// judgePostmarkChange is the table of subscription changes: only what the
// recipient did speaks for the recipient.
func judgePostmarkChange(e postmarkEvent) finding {
	recipient := e.Origin == "Recipient"
	switch {
	case e.Suppress == "false" && recipient:
		return finding{action: OptIn, reason: ReasonResubscribe}
	case e.Suppress == "false":
		return reactivated()
	case e.Suppress != "true":
		return nothing()
	case e.Why == "HardBounce":
		return optOut(contact.HardBounce)
	case e.Why == "SpamComplaint":
		return optOut(contact.Complaint)
	case e.Why == "ManualSuppression" && recipient:
		return optOut(contact.Unsubscribe)
	default:
		return optOut(contact.ProviderSuppressed)
	}
}
