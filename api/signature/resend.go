package signature

import (
	"strings"

	"patchlane/tasks/contact"
)

// verifyResend checks the Standard Webhooks scheme under the names of Svix.
func verifyResend(ep Endpoint, req Request) (Verified, error) {
	return verifyStandardAs("svix-", ep, req)
}

// resendEvent is the body of a webhook.
type resendEvent struct {
	Type      scalar `json:"type"`
	CreatedAt scalar `json:"created_at"`
	Data      struct {
		MessageID    scalar       `json:"email_id"`
		To           many[scalar] `json:"to"`
		Email        scalar       `json:"email"`
		Unsubscribed scalar       `json:"unsubscribed"`
		Origin       scalar       `json:"origin"`
		Bounce       struct {
			Type    scalar `json:"type"`
			SubType scalar `json:"subType"`
			Message scalar `json:"message"`
		} `json:"bounce"`
	} `json:"data"`
}

// decodeResend reads one event. Events about a mail do not say which of its
// recipients they mean, so that several are reviewed.
func decodeResend(c *collector) {
	one(c, func(e resendEvent, raw []byte) {
		judged, known := judgeResend(e)
		if !known {
			c.unknown(string(e.Type), raw)
			return
		}
		id, _, _ := standardHeaders("svix-", c.req.Header)
		f := merge(finding{
			kind: string(e.Type), id: id, stamp: isoTime(string(e.CreatedAt)), raw: raw,
			evidence: map[string]string{
				"message": string(e.Data.MessageID), "bounce": string(e.Data.Bounce.Type),
				"sub_type": string(e.Data.Bounce.SubType), "description": string(e.Data.Bounce.Message),
			},
		}, judged)
		switch {
		case f.action == "":
			c.ignore(f.kind, "changes_nothing")
		case strings.HasPrefix(f.kind, "email."):
			c.recipients(e.Data.To, f)
		default:
			c.email(string(e.Data.Email), f)
		}
	})
}

// judgeResend is the table of events; false for an event that it has not.
func judgeResend(e resendEvent) (finding, bool) {
	switch e.Type {
	case "email.bounced":
		return judgeResendBounce(string(e.Data.Bounce.Type)), true
	case "email.complained":
		return optOut(contact.Complaint), true
	case "email.suppressed":
		return optOut(contact.ProviderSuppressed), true
	case "contact.updated":
		// "false" is sent with any other edit, and is no consent.
		if e.Data.Unsubscribed == "true" {
			return optOut(contact.Unsubscribe), true
		}
		return nothing(), true
	case "suppression.added":
		return judgeResendSuppression(string(e.Data.Origin)), true
	case "suppression.removed":
		return reactivated(), true
	default:
		return nothing(), resendHarmless(string(e.Type))
	}
}

// judgeResendBounce is the table of bounces.
func judgeResendBounce(kind string) finding {
	switch kind {
	case "Permanent":
		return optOut(contact.HardBounce)
	case "Transient", "Undetermined":
		return nothing()
	default:
		return review(contact.HardBounce, "unknown_bounce")
	}
}

// judgeResendSuppression tells why an address was suppressed.
func judgeResendSuppression(origin string) finding {
	switch origin {
	case "bounce":
		return optOut(contact.HardBounce)
	case "complaint":
		return optOut(contact.Complaint)
	default:
		return optOut(contact.ProviderSuppressed)
	}
}

// resendHarmless tells which events change nothing.
func resendHarmless(kind string) bool {
	switch kind {
	case "email.sent", "email.delivered", "email.delivery_delayed", "email.failed", "email.opened",
		"email.clicked", "email.scheduled", "email.received", "email.queued",
		"contact.created", "contact.deleted", "contact.topics.updated":
		return true
	default:
		return strings.HasPrefix(kind, "domain.") || strings.HasPrefix(kind, "broadcast.")
	}
}
