package signature

import (
	"strings"

	"patchlane/tasks/contact"
)

// inbound is a text message that a person sent.
type inbound struct {
	from, text string
	// verdict is what the provider itself took the message for: STOP, START,
	// HELP, or "" when it says nothing.
	verdict string
	// yes tells that the provider itself takes YES for an opt-in, so that it
	// is one for a number that a keyword opted out.
	yes bool
	finding
}

// inbound judges a text message: the provider's own verdict first, then a
// message that is exactly a keyword, then review.
func (c *collector) inbound(in inbound) {
	f := in.finding
	if f.evidence == nil {
		f.evidence = map[string]string{}
	}
	f.evidence["text"], f.evidence["verdict"] = in.text, in.verdict
	if otherChannel(in.from) {
		c.ignore(f.kind, "other_channel")
		return
	}
	switch c.ep.judge(in.verdict, in.text) {
	case meansStop:
		f.action, f.cause = OptOut, contact.KeywordStop
	case meansStart:
		f.action, f.reason = OptIn, ReasonStart
	case meansMention:
		f.action, f.cause, f.reason = Review, contact.KeywordStop, ReasonNatural
	case meansHelp:
		c.ignore(f.kind, "help")
		return
	case meansYes:
		if !in.yes {
			c.ignore(f.kind, "no_keyword")
			return
		}
		f.action, f.reason, f.ifStopped = None, ReasonYes, true
	case meansNothing:
		c.ignore(f.kind, "no_keyword")
		return
	}
	c.sms(in.from, f)
}

// judge weighs the provider's verdict before the words.
func (e Endpoint) judge(verdict, body string) meaning {
	switch strings.ToUpper(strings.TrimSpace(verdict)) {
	case "STOP":
		return meansStop
	case "START":
		return meansStart
	case "HELP":
		return meansHelp
	default:
		return e.classify(body)
	}
}
