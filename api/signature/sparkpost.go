package signature

import (
	"maps"
	"slices"
	"strings"

	"patchlane/tasks/contact"
)

// sparkPostEvent is what stands inside of one member of "msys". SparkPost
// signs nothing: verifyBasic checks the password of the URL.
type sparkPostEvent struct {
	Type      scalar `json:"type"`
	ID        scalar `json:"event_id"`
	Timestamp scalar `json:"timestamp"`
	Recipient scalar `json:"rcpt_to"`
	Raw       scalar `json:"raw_rcpt_to"`
	Class     scalar `json:"bounce_class"`
	Code      scalar `json:"error_code"`
	Reason    scalar `json:"raw_reason"`
	Message   scalar `json:"message_id"`
}

// decodeSparkPost reads a batch; an empty "msys" only tries the endpoint.
func decodeSparkPost(c *collector) {
	each(c, func(e struct {
		MSys map[string]sparkPostEvent `json:"msys"`
	}, raw []byte,
	) {
		switch {
		case e.MSys == nil:
			c.unknown("element without msys", raw)
		case len(e.MSys) == 0:
			c.ignore("ping", "changes_nothing")
		}
		for _, name := range slices.Sorted(maps.Keys(e.MSys)) {
			c.sparkPost(e.MSys[name], raw)
		}
	})
}

// sparkPost adds one event.
func (c *collector) sparkPost(e sparkPostEvent, raw []byte) {
	f, known := judgeSparkPost(e)
	if !known {
		c.unknown(string(e.Type), raw)
		return
	}
	f.kind, f.id, f.raw, f.stamp = string(e.Type), string(e.ID), raw, anyTime(string(e.Timestamp))
	if e.Class != "" {
		f.kind += "/" + string(e.Class)
	}
	if f.id == "" {
		f.id = digest("content", string(raw))
	}
	f.evidence = map[string]string{
		"message": string(e.Message), "code": string(e.Code), "reason": string(e.Reason),
	}
	address := e.Recipient
	if address == "" {
		address = e.Raw
	}
	c.email(string(address), f)
}

// judgeSparkPost is the table of events; false for an event that it has not.
func judgeSparkPost(e sparkPostEvent) (finding, bool) {
	switch e.Type {
	case "bounce", "out_of_band":
		return judgeSparkPostBounce(string(e.Class)), true
	case "spam_complaint":
		return optOut(contact.Complaint), true
	case "list_unsubscribe", "link_unsubscribe":
		return optOut(contact.Unsubscribe), true
	case "policy_rejection", "generation_rejection", "generation_failure", "delay", "delivery",
		"injection", "open", "initial_open", "click", "amp_open", "amp_initial_open", "amp_click",
		"sms_status", "relay_injection", "relay_rejection", "relay_delivery", "relay_tempfail",
		"relay_permfail", "success", "error":
		return nothing(), true
	default:
		return finding{}, strings.HasPrefix(string(e.Type), "ab_test")
	}
}

// judgeSparkPostBounce knows the three classes that speak of the address or of
// the person; all others are about the message, the server or the moment.
func judgeSparkPostBounce(class string) finding {
	switch class {
	case "10", "30":
		return optOut(contact.HardBounce)
	case "90":
		return optOut(contact.Unsubscribe)
	default:
		return nothing()
	}
}
