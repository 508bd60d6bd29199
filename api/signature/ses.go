package signature

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"net/url"
	"strings"
	"time"
)

// sesWindow covers the hour within which SNS repeats a message, whose time is
// that of its publication.
const sesWindow = 90 * time.Minute

// The types of SNS messages.
const (
	snsNotification = "Notification"
	snsSubscribe    = "SubscriptionConfirmation"
	snsUnsubscribe  = "UnsubscribeConfirmation"
)

// snsEnvelope is a message of SNS. Subject is a pointer, as it is signed only
// where it is present.
type snsEnvelope struct {
	Type             string  `json:"Type"`
	MessageID        string  `json:"MessageId"`
	TopicARN         string  `json:"TopicArn"`
	Subject          *string `json:"Subject"`
	Message          string  `json:"Message"`
	Timestamp        string  `json:"Timestamp"`
	Token            string  `json:"Token"`
	SubscribeURL     string  `json:"SubscribeURL"`
	SignatureVersion string  `json:"SignatureVersion"`
	Signature        string  `json:"Signature"`
	CertURL          string  `json:"SigningCertURL"`
}

// isRaw tells whether SNS delivered the message without its envelope, and so
// without a signature.
func isRaw(req Request) bool {
	return strings.EqualFold(req.Header.Get("x-amz-sns-rawdelivery"), "true")
}

// verifySES checks the signature of an SNS message. Anybody's topic is validly
// signed by Amazon, so the topic MUST be the endpoint's own, and it is looked
// at before any certificate is fetched.
func (v *Verifier) verifySES(ctx context.Context, ep Endpoint, req Request) (Verified, error) {
	if ep.TopicARN == "" {
		return Verified{}, refuse(RefusedNoSecret)
	}
	if isRaw(req) {
		return verifySESRaw(ep, req)
	}
	var e snsEnvelope
	if err := strictly(req.Body, &e); err != nil {
		return Verified{}, refuse(RefusedUnreadable)
	}
	if !same(e.TopicARN, ep.TopicARN) || !agrees(req, "x-amz-sns-topic-arn", e.TopicARN) {
		return Verified{}, refuse(RefusedTopic)
	}
	if !agrees(req, "x-amz-sns-message-type", e.Type) || !agrees(req, "x-amz-sns-message-id", e.MessageID) {
		return Verified{}, refuse(RefusedBadSignature)
	}
	signed := isoTime(e.Timestamp).at
	if err := fresh(signed, req.ReceivedAt, sesWindow); err != nil {
		return Verified{}, err
	}
	return Verified{}, v.verifyEnvelope(ctx, e, req.ReceivedAt)
}

// verifySESRaw admits a raw delivery by password, where the endpoint has one.
func verifySESRaw(ep Endpoint, req Request) (Verified, error) {
	if len(ep.passwords()) == 0 {
		return Verified{}, refuse(RefusedUnsigned)
	}
	if !agrees(req, "x-amz-sns-topic-arn", ep.TopicARN) {
		return Verified{}, refuse(RefusedTopic)
	}
	return verifyBasic(ep, req)
}

// agrees tells whether a header, where there is one, says what the body says.
func agrees(req Request, header, want string) bool {
	got := req.Header.Get(header)
	return got == "" || same(got, want)
}

// verifyEnvelope checks the RSA signature of a message.
func (v *Verifier) verifyEnvelope(ctx context.Context, e snsEnvelope, now time.Time) error {
	algorithm := x509.SHA256WithRSA
	switch e.SignatureVersion {
	case "1":
		algorithm = x509.SHA1WithRSA
	case "2":
	default:
		return refuse(RefusedBadSignature)
	}
	text, known := e.signedText()
	sig, err := base64.StdEncoding.DecodeString(e.Signature)
	if !known || err != nil || len(sig) == 0 {
		return refuse(RefusedBadSignature)
	}
	place, ok := certificateURL(e.CertURL)
	if !ok {
		return refuse(RefusedCertificate)
	}
	cert, err := v.certificates.get(ctx, place)
	if err != nil {
		return err
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) || cert.CheckSignature(algorithm, text, sig) != nil {
		return refuse(RefusedBadSignature)
	}
	return nil
}

// signedText returns what SNS signed, or false for a type that it has not.
func (e snsEnvelope) signedText() ([]byte, bool) {
	var b strings.Builder
	line := func(key, value string) { b.WriteString(key + "\n" + value + "\n") }
	line("Message", e.Message)
	line("MessageId", e.MessageID)
	switch e.Type {
	case snsNotification:
		if e.Subject != nil {
			line("Subject", *e.Subject)
		}
		line("Timestamp", e.Timestamp)
	case snsSubscribe, snsUnsubscribe:
		line("SubscribeURL", e.SubscribeURL)
		line("Timestamp", e.Timestamp)
		line("Token", e.Token)
	default:
		return nil, false
	}
	line("TopicArn", e.TopicARN)
	line("Type", e.Type)
	return []byte(b.String()), true
}

// decodeSES unpacks a message of SNS and reads the event of SES inside.
func decodeSES(c *collector) {
	if isRaw(c.req) {
		c.sesEvent(c.req.Body)
		return
	}
	one(c, func(e snsEnvelope, raw []byte) {
		switch e.Type {
		case snsSubscribe:
			c.confirm(e, raw)
		case snsUnsubscribe:
			// Never confirmed by itself: whoever cut the feed meant it.
			c.out.FeedCut = true
			c.ignore(e.Type, "feed_cut")
		default:
			if strings.HasPrefix(e.Message, "Successfully validated SNS topic") {
				c.ignore("topic_validated", "changes_nothing")
				return
			}
			c.sesEvent([]byte(e.Message))
		}
	})
}

// confirm asks for the confirmation of a subscription, if its URL is what SNS
// would send for the endpoint's own topic.
func (c *collector) confirm(e snsEnvelope, raw []byte) {
	u, ok := snsURL(e.SubscribeURL)
	if ok {
		var q url.Values
		q, err := url.ParseQuery(u.RawQuery)
		ok = err == nil && (u.Path == "/" || u.Path == "") && q.Get("Action") == "ConfirmSubscription" &&
			same(q.Get("TopicArn"), c.ep.TopicARN) && q.Get("Token") == e.Token
	}
	if !ok {
		c.quarantine(QuarantineMalformed, "confirmation is not at SNS", raw)
		return
	}
	c.out.ConfirmURL = u.String()
	c.ignore(e.Type, "confirm")
}
