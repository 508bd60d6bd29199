package signature

import (
	"strings"

	"patchlane/tasks/contact"
)

// verifyBrevo checks the bearer token, or the password, that Brevo was told to
// send. It signs nothing.
func verifyBrevo(ep Endpoint, req Request) (Verified, error) {
	keys, passwords := live(ep.Secrets), ep.passwords()
	if len(keys) == 0 && len(passwords) == 0 {
		return Verified{}, refuse(RefusedNoSecret)
	}
	sent := req.Header.Get("Authorization")
	if sent == "" {
		return Verified{}, &RefusalError{Reason: RefusedCredentials}
	}
	scheme, token, _ := strings.Cut(sent, " ")
	found := false
	for _, key := range keys {
		found = same(strings.TrimSpace(token), key) || found
	}
	if (found && strings.EqualFold(scheme, "Bearer")) || admits(req.Header, passwords) {
		return Verified{}, nil
	}
	return Verified{}, refuse(RefusedBadSignature)
}

// brevoEvent is one event; marketing events name a list of addresses.
type brevoEvent struct {
	Event   scalar       `json:"event"`
	Email   many[scalar] `json:"email"`
	Message scalar       `json:"message-id"`
	Epoch   scalar       `json:"ts_epoch"`
	Reason  scalar       `json:"reason"`
}

// decodeBrevo reads one event or a batch. Only ts_epoch is a moment; the other
// times are local to the account.
func decodeBrevo(c *collector) {
	each(c, func(e brevoEvent, raw []byte) {
		f, known := judgeBrevo(string(e.Event), string(e.Reason))
		if !known {
			c.unknown(string(e.Event), raw)
			return
		}
		f.kind, f.raw, f.stamp = string(e.Event), raw, milliTime(string(e.Epoch))
		f.evidence = map[string]string{"message": string(e.Message), "reason": string(e.Reason)}
		if len(e.Email) == 0 {
			c.email("", f)
		}
		for _, address := range e.Email {
			f.id = digest(string(e.Event), string(address), string(e.Message), string(e.Epoch))
			if e.Message == "" && e.Epoch == "" {
				f.id = digest("content", string(raw), string(address))
			}
			c.email(string(address), f)
		}
	})
}

// judgeBrevo is the table of events; false for an event that it has not. Free
// text is never judged, but for the one reason of a block that is about the
// address: even a deferral may say "User unknown".
func judgeBrevo(event, reason string) (finding, bool) {
	switch strings.ReplaceAll(strings.ToLower(event), "_", "") {
	case "hardbounce", "invalidemail", "invalid":
		return optOut(contact.HardBounce), true
	case "spam", "complaint":
		return optOut(contact.Complaint), true
	case "unsubscribed", "unsubscribe":
		return optOut(contact.Unsubscribe), true
	case "blocked":
		if strings.Contains(strings.ToLower(reason), "blacklist user") {
			return optOut(contact.ProviderSuppressed), true
		}
		return nothing(), true
	case "softbounce", "deferred", "error", "request", "requests", "sent", "delivered", "opened", "open",
		"uniqueopened", "proxyopen", "uniqueproxyopen", "click", "clicked", "clicks",
		"listaddition", "contactupdated", "contactdeleted", "inboundemailprocessed":
		return nothing(), true
	default:
		return finding{}, false
	}
}
