package signature

import (
	"strings"

	"patchlane/tasks/contact"
)

// sesRecipient is one recipient of a report.
type sesRecipient struct {
	Address scalar `json:"emailAddress"`
	Action  scalar `json:"action"`
	Status  scalar `json:"status"`
}

// sesEvent is an event of SES, in the form of identity feedback
// (notificationType) or of event publishing (eventType).
type sesEvent struct {
	Notification scalar `json:"notificationType"`
	Event        scalar `json:"eventType"`
	Mail         struct {
		MessageID   scalar       `json:"messageId"`
		Destination many[scalar] `json:"destination"`
	} `json:"mail"`
	Bounce struct {
		Type       scalar             `json:"bounceType"`
		SubType    scalar             `json:"bounceSubType"`
		Recipients many[sesRecipient] `json:"bouncedRecipients"`
		Timestamp  scalar             `json:"timestamp"`
		FeedbackID scalar             `json:"feedbackId"`
	} `json:"bounce"`
	Complaint struct {
		Type       scalar             `json:"complaintFeedbackType"`
		SubType    scalar             `json:"complaintSubType"`
		Recipients many[sesRecipient] `json:"complainedRecipients"`
		Timestamp  scalar             `json:"timestamp"`
		FeedbackID scalar             `json:"feedbackId"`
	} `json:"complaint"`
	Subscription struct {
		List      scalar `json:"contactList"`
		Timestamp scalar `json:"timestamp"`
		Source    scalar `json:"source"`
		New       struct {
			UnsubscribeAll scalar `json:"unsubscribeAll"`
		} `json:"newTopicPreferences"`
	} `json:"subscription"`
}

// sesEvent reads one event.
func (c *collector) sesEvent(raw []byte) {
	var e sesEvent
	if err := strictly(raw, &e); err != nil {
		c.malformed(err, raw)
		return
	}
	kind := e.Event
	if kind == "" {
		kind = e.Notification
	}
	switch kind {
	case "Bounce":
		c.sesBounce(e, raw)
	case "Complaint":
		c.sesComplaint(e, raw)
	case "Subscription":
		c.sesSubscription(e, raw)
	case "Delivery", "Send", "Open", "Click", "Reject", "DeliveryDelay", "Rendering Failure",
		"RenderingFailure", "AmazonSnsSubscriptionSucceeded":
		c.ignore(string(kind), "changes_nothing")
	default:
		c.unknown(string(kind), raw)
	}
}

// sesBounce opts out the recipients that a permanent bounce failed for. A
// permanent bounce lists recipients that are only delayed as well.
func (c *collector) sesBounce(e sesEvent, raw []byte) {
	b := e.Bounce
	f := judgeSESBounce(string(b.Type), string(b.SubType))
	f.kind = "Bounce/" + string(b.Type) + "/" + string(b.SubType)
	f.id, f.stamp, f.raw = string(b.FeedbackID), isoTime(string(b.Timestamp)), raw
	if f.action != "" && len(b.Recipients) == 0 {
		c.quarantine(QuarantineMalformed, "bounce without recipients", raw)
	}
	for _, r := range b.Recipients {
		g := f
		failed := r.Action == "" || r.Action == "failed"
		if !failed || (r.Status != "" && !strings.HasPrefix(string(r.Status), "5")) {
			g = finding{kind: f.kind}
		}
		g.evidence = map[string]string{"message": string(e.Mail.MessageID), "status": string(r.Status)}
		c.email(string(r.Address), g)
	}
}

// judgeSESBounce is the table of bounces.
func judgeSESBounce(kind, sub string) finding {
	if kind != "Permanent" {
		return nothing()
	}
	switch sub {
	case "General", "NoEmail":
		return optOut(contact.HardBounce)
	case "Suppressed", "OnAccountSuppressionList":
		return optOut(contact.ProviderSuppressed)
	case "UnsubscribedRecipient":
		return optOut(contact.Unsubscribe)
	default:
		return review(contact.HardBounce, "unknown_bounce")
	}
}

// sesComplaint opts out everyone whom a complaint names. Where the mailbox
// provider hides who complained, SES names all recipients of that domain.
func (c *collector) sesComplaint(e sesEvent, raw []byte) {
	m := e.Complaint
	f := judgeSESComplaint(string(m.Type), string(m.SubType))
	f.kind = "Complaint/" + string(m.Type)
	f.id, f.stamp, f.raw = string(m.FeedbackID), isoTime(string(m.Timestamp)), raw
	f.evidence = map[string]string{"message": string(e.Mail.MessageID), "sub_type": string(m.SubType)}
	f.ambiguous = len(m.Recipients) > 1
	if f.ambiguous && f.action == OptOut && c.ep.ReviewAmbiguous {
		f = ambiguous(f)
	}
	if f.action != "" && len(m.Recipients) == 0 {
		c.quarantine(QuarantineMalformed, "complaint without recipients", raw)
	}
	for _, r := range m.Recipients {
		c.email(string(r.Address), f)
	}
}

// judgeSESComplaint is the table of complaints.
func judgeSESComplaint(kind, sub string) finding {
	if sub == "OnAccountSuppressionList" {
		return optOut(contact.ProviderSuppressed)
	}
	switch kind {
	case "", "abuse", "fraud", "virus", "other":
		return optOut(contact.Complaint)
	case "not-spam", "auth-failure":
		return nothing()
	default:
		return review(contact.Complaint, "unknown_complaint")
	}
}

// sesSubscription reads a change of list preferences: only leaving everything
// is an opt-out, single topics are not.
func (c *collector) sesSubscription(e sesEvent, raw []byte) {
	s := e.Subscription
	if s.New.UnsubscribeAll != "true" {
		c.ignore("Subscription", "topic_only")
		return
	}
	f := optOut(contact.Unsubscribe)
	f.kind, f.stamp, f.raw = "Subscription/"+string(s.Source), isoTime(string(s.Timestamp)), raw
	f.id = digest("subscription", string(e.Mail.MessageID), string(s.Timestamp), string(s.List))
	f.evidence = map[string]string{"message": string(e.Mail.MessageID), "list": string(s.List)}
	c.recipients(e.Mail.Destination, f)
}

// recipients adds a finding about the only recipient of a mail; of several,
// the report does not say which it means, so that they are reviewed.
func (c *collector) recipients(to []scalar, f finding) {
	if len(to) == 0 && f.action != "" {
		c.quarantine(QuarantineBadAddress, "no recipient", f.raw)
		return
	}
	if len(to) > 1 && f.action != "" {
		f = ambiguous(f)
	}
	for _, address := range to {
		c.email(string(address), f)
	}
}

// ambiguous turns a finding into a review.
func ambiguous(f finding) finding {
	f.action, f.ambiguous = Review, true
	return f
}
