package simulate

import (
	"net/url"
	"strconv"

	"patchlane/api/signature"
)

// names are the words of a provider for the three events of e-mail.
type names struct{ bounce, complaint, unsubscribe string }

// of picks the word; false: an event of another channel.
func (n names) of(e Event) (string, bool) {
	switch e {
	case Bounce:
		return n.bounce, true
	case Complaint:
		return n.complaint, true
	case Unsubscribe:
		return n.unsubscribe, true
	default:
		return "", false
	}
}

// mail is an event of an e-mail provider that needs no envelope.
func mail(p signature.Provider, f facts) (sample, bool) {
	if f.event == Garbage {
		return mailGarbage(p, f), true
	}
	switch p {
	case signature.SendGrid:
		return sendGrid(f)
	case signature.Mailgun:
		return mailgun(f)
	case signature.Postmark:
		return postmark(f)
	case signature.SparkPost:
		return sparkPost(f)
	case signature.Brevo:
		kind, ok := names{"hard_bounce", "spam", "unsubscribed"}.of(f.event)
		return encoded(jsonType, object{
			"event": kind, "email": f.address, "id": 1, "message-id": "<" + f.id + "@simulate.example>",
			"ts_epoch": f.at.UnixMilli(), "subject": "simulated",
		}), ok
	case signature.Mandrill:
		return mandrill(f)
	default:
		return resend(f)
	}
}

// mailGarbage is what no rule of the provider knows.
func mailGarbage(p signature.Provider, f facts) sample {
	switch p {
	case signature.SendGrid, signature.SparkPost:
		return encoded(jsonType, []object{{"unknown": f.id}})
	case signature.Postmark:
		return encoded(jsonType, object{"RecordType": "unknown", "ID": f.id})
	case signature.Mandrill:
		form := url.Values{"mandrill_events": {string(encoded(jsonType, []object{{"unknown": f.id}}).body)}}
		return sample{formType, []byte(form.Encode())}
	default:
		return garbage(f)
	}
}

func sendGrid(f facts) (sample, bool) {
	kind, ok := names{"bounce", "spamreport", "unsubscribe"}.of(f.event)
	o := object{"email": f.address, "timestamp": f.at.Unix(), "event": kind, "sg_event_id": f.id, "sg_message_id": f.id + ".filter0001"}
	if f.event == Bounce {
		o["type"], o["status"], o["reason"] = "bounce", "5.1.1", "550 5.1.1 no such user"
		o["bounce_classification"] = "Invalid Address"
	}
	return encoded(jsonType, []object{o}), ok
}

func mailgun(f facts) (sample, bool) {
	kind, ok := names{"failed", "complained", "unsubscribed"}.of(f.event)
	o := object{
		"event": kind, "id": f.id, "timestamp": float64(f.at.UnixMilli()) / 1000, "recipient": f.address,
		"message": object{"headers": object{"to": f.address, "message-id": f.id + "@simulate.example"}},
	}
	if f.event == Bounce {
		o["severity"], o["reason"] = "permanent", "bounce"
		o["delivery-status"] = object{"code": 550, "enhanced-code": "5.1.1", "message": "5.1.1 no such user"}
	}
	return encoded(jsonType, object{"signature": object{}, "event-data": o}), ok
}

func postmark(f facts) (sample, bool) {
	o := object{"MessageID": f.id, "MessageStream": "outbound", "ServerID": 1}
	switch f.event {
	case Bounce:
		o["RecordType"], o["Type"], o["TypeCode"] = "Bounce", "HardBounce", 1
		o["ID"], o["Email"], o["BouncedAt"], o["Inactive"] = number(f.id), f.address, f.iso(), true
	case Complaint:
		o["RecordType"], o["Type"], o["TypeCode"] = "SpamComplaint", "SpamComplaint", 512
		o["ID"], o["Email"], o["BouncedAt"], o["Inactive"] = number(f.id), f.address, f.iso(), true
	case Unsubscribe:
		o["RecordType"], o["Recipient"], o["ChangedAt"] = "SubscriptionChange", f.address, f.iso()
		o["Origin"], o["SuppressSending"], o["SuppressionReason"] = "Recipient", true, "ManualSuppression"
	default:
		return sample{}, false
	}
	return encoded(jsonType, o), true
}

func sparkPost(f facts) (sample, bool) {
	kind, ok := names{"bounce", "spam_complaint", "list_unsubscribe"}.of(f.event)
	group := "message_event"
	if f.event == Unsubscribe {
		group = "unsubscribe_event"
	}
	o := object{
		"type": kind, "event_id": strconv.FormatInt(number(f.id), 10), "rcpt_to": f.address, "raw_rcpt_to": f.address,
		"timestamp": strconv.FormatInt(f.at.Unix(), 10), "transmission_id": strconv.FormatInt(number(f.id), 10),
	}
	if f.event == Bounce {
		o["bounce_class"], o["error_code"], o["raw_reason"] = "10", "550", "550 5.1.1 unknown user"
	}
	return encoded(jsonType, []object{{"msys": object{group: o}}}), ok
}

func mandrill(f facts) (sample, bool) {
	kind, ok := names{"hard_bounce", "spam", "unsub"}.of(f.event)
	list := encoded(jsonType, []object{{
		"event": kind, "ts": f.at.Unix(), "_id": f.id,
		"msg": object{"_id": f.id, "ts": f.at.Unix() - 30, "email": f.address, "subject": "simulated", "state": "sent"},
	}})
	return sample{formType, []byte(url.Values{"mandrill_events": {string(list.body)}}.Encode())}, ok
}

func resend(f facts) (sample, bool) {
	kind, ok := names{"email.bounced", "email.complained", "contact.updated"}.of(f.event)
	data := object{"created_at": f.iso(), "email_id": f.id, "subject": "simulated", "to": []string{f.address}}
	switch f.event {
	case Bounce:
		data["bounce"] = object{"type": "Permanent", "subType": "General", "message": "550 5.1.1 no such user"}
	case Unsubscribe:
		data = object{"id": f.id, "email": f.address, "unsubscribed": true, "created_at": f.iso(), "updated_at": f.iso()}
	default:
	}
	return encoded(jsonType, object{"type": kind, "created_at": f.iso(), "data": data}), ok
}

// sns is an event of SES in the envelope of SNS.
func sns(f facts) (sample, bool) {
	event := object{"mail": object{"messageId": f.id, "timestamp": f.iso(), "source": "news@simulate.example", "destination": []string{f.address}}}
	switch f.event {
	case Bounce:
		event["eventType"] = "Bounce"
		event["bounce"] = object{
			"feedbackId": f.id, "bounceType": "Permanent", "bounceSubType": "General", "timestamp": f.iso(),
			"bouncedRecipients": []object{{"emailAddress": f.address, "action": "failed", "status": "5.1.1"}},
		}
	case Complaint:
		event["eventType"] = "Complaint"
		event["complaint"] = object{
			"feedbackId": f.id, "complaintFeedbackType": "abuse", "timestamp": f.iso(),
			"complainedRecipients": []object{{"emailAddress": f.address}},
		}
	case Unsubscribe:
		event["eventType"] = "Subscription"
		event["subscription"] = object{
			"contactList": "simulated", "timestamp": f.iso(), "source": "UnsubscribeHeader",
			"newTopicPreferences": object{"unsubscribeAll": true}, "oldTopicPreferences": object{"unsubscribeAll": false},
		}
	case Garbage:
		event = object{"eventType": "Unknown" + f.id}
	default:
		return sample{}, false
	}
	return encoded(snsType, object{
		"Type": "Notification", "MessageId": f.id, "TopicArn": f.topic, "SigningCertURL": f.cert,
		"Subject": "Amazon SES Email Event Notification", "Message": string(encoded(jsonType, event).body),
	}), true
}

// number makes the number of an event out of its id, for providers that count.
func number(id string) int64 {
	n, err := strconv.ParseInt(id[:min(len(id), 12)], 16, 64)
	if err != nil {
		return 1
	}
	return n
}
