package signature

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// snsNow is the clock of these tests.
func snsNow() time.Time { return time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC) }

// snsMessage returns a notification of the samples' topic.
func snsMessage(message string) snsEnvelope {
	return snsEnvelope{
		Type: snsNotification, MessageID: "m-1", TopicARN: sampleTopic, Message: message,
		Timestamp: snsNow().Format(time.RFC3339Nano), SignatureVersion: "2",
		CertURL: "https://sns.us-east-1.amazonaws.com/" + sampleCert,
	}
}

// sign signs an envelope with the key of the samples.
func (e snsEnvelope) sign(tb testing.TB) Request {
	tb.Helper()
	block, _ := pem.Decode(readSample(tb, "keys/sns_test_key.pem"))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	text, _ := e.signedText()
	sum := sha256.Sum256(text)
	sig, err := rsa.SignPKCS1v15(rand.Reader, parsed.(*rsa.PrivateKey), crypto.SHA256, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	e.Signature = base64.StdEncoding.EncodeToString(sig)
	body, err := json.Marshal(e)
	if err != nil {
		tb.Fatal(err)
	}
	return Request{Method: http.MethodPost, Header: http.Header{}, Body: body, ReceivedAt: snsNow()}
}

func TestSNSForgeries(t *testing.T) {
	t.Parallel()
	ep, v := Endpoint{Provider: SES, TopicARN: sampleTopic}, newSampleVerifier(t)
	if _, err := v.Verify(t.Context(), ep, snsMessage("x").sign(t)); err != nil {
		t.Fatalf("a good message: %v", err)
	}
	for _, place := range []string{
		"http://sns.us-east-1.amazonaws.com/" + sampleCert,
		"https://sns.us-east-1.amazonaws.com.evil.example/" + sampleCert,
		"https://evil.example/" + sampleCert,
		"https://sns.us-east-1.amazonaws.com@evil.example/" + sampleCert,
		"https://u:p@sns.us-east-1.amazonaws.com/" + sampleCert,
		"https://sns.us-east-1.amazonaws.com:8443/" + sampleCert,
		"https://bucket.s3.amazonaws.com/" + sampleCert,
		"https://sns.us-east-1.amazonaws.com/../" + sampleCert,
		"https://sns.us-east-1.amazonaws.com/x/" + sampleCert,
		"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-..%2f.pem",
		"https://sns.us-east-1.amazonaws.com/" + sampleCert + "?a=1",
		"https://sns.us-east-1.amazonaws.com/" + sampleCert + "?",
		"https://sns.us-east-1.amazonaws.com/" + sampleCert + "#f",
		"https://SNS.us-east-1.amazonaws.com/" + sampleCert,
		"file:///" + sampleCert, "//sns.us-east-1.amazonaws.com/" + sampleCert, "", "%",
	} {
		e := snsMessage("x")
		e.CertURL = place
		if got := refusal(t.Context(), t, v, ep, e.sign(t)); got != RefusedCertificate {
			t.Errorf("%s: refused %q", place, got)
		}
	}
	for name, change := range map[string]func(*snsEnvelope){
		"type": func(e *snsEnvelope) { e.Type = "Other" }, "version": func(e *snsEnvelope) { e.SignatureVersion = "3" },
	} {
		e := snsMessage("x")
		change(&e)
		if got := refusal(t.Context(), t, v, ep, e.sign(t)); got != RefusedBadSignature {
			t.Errorf("%s: refused %q", name, got)
		}
	}
}

func TestSNSHeadersMustAgree(t *testing.T) {
	t.Parallel()
	ep, v := Endpoint{Provider: SES, TopicARN: sampleTopic}, newSampleVerifier(t)
	for header, want := range map[string]Reason{
		"x-amz-sns-message-type": RefusedBadSignature, "x-amz-sns-message-id": RefusedBadSignature,
		"x-amz-sns-topic-arn": RefusedTopic,
	} {
		req := snsMessage("x").sign(t)
		req.Header.Set(header, "other")
		if got := refusal(t.Context(), t, v, ep, req); got != want {
			t.Errorf("%s: refused %q", header, got)
		}
	}
	req := snsMessage("x").sign(t)
	req.Body = append([]byte(`{"TopicArn":"`+sampleTopic+`",`), req.Body[1:]...)
	if got := refusal(t.Context(), t, v, ep, req); got != RefusedUnreadable {
		t.Errorf("repeated member: refused %q", got)
	}
}

func TestSNSConfirmsOnlyItsOwnTopicAtSNS(t *testing.T) {
	t.Parallel()
	const host = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription"
	good := host + "&Token=tok&TopicArn=" + sampleTopic
	for place, ok := range map[string]bool{
		good: true, strings.Replace(good, "https", "http", 1): false,
		strings.Replace(good, "amazonaws.com", "amazonaws.com.evil.example", 1):           false,
		strings.Replace(good, "us-east-1.amazonaws.com", "us-east-1.amazonaws.com:22", 1): false,
		host + "&Token=tok&TopicArn=" + sampleTopic + "2":                                 false,
		host + "&Token=other&TopicArn=" + sampleTopic:                                     false,
		strings.Replace(good, "ConfirmSubscription", "Unsubscribe", 1):                    false,
		strings.Replace(good, "/?", "/internal?", 1):                                      false, "": false,
	} {
		e := snsMessage("You have chosen to subscribe")
		e.Type, e.Token, e.SubscribeURL = snsSubscribe, "tok", place
		ep, req := Endpoint{Provider: SES, TopicARN: sampleTopic}, e.sign(t)
		if _, err := newSampleVerifier(t).Verify(t.Context(), ep, req); err != nil {
			t.Fatal(err)
		}
		got := Decode(ep, req)
		if (got.ConfirmURL == place && place != "") != ok || (!ok && len(got.Quarantined) != 1) {
			t.Errorf("%s: %+v", place, got)
		}
	}
}

func TestSNSRawDelivery(t *testing.T) {
	t.Parallel()
	v := NewVerifier(nil)
	raw := Request{Method: http.MethodPost, Body: []byte("{}"), Header: http.Header{
		"X-Amz-Sns-Rawdelivery": {"true"}, "X-Amz-Sns-Topic-Arn": {sampleTopic},
	}}
	ep := Endpoint{Provider: SES, TopicARN: sampleTopic}
	_, err := v.Verify(t.Context(), ep, raw)
	if a := Refused(SES, err); ReasonOf(err) != RefusedUnsigned || a.Status != http.StatusForbidden {
		t.Errorf("no password configured: %v, answered %d", err, a.Status)
	}
	ep.Secrets = []string{"hook:pass"}
	_, err = v.Verify(t.Context(), ep, raw)
	if a := Refused(SES, err); a.Status != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("no password sent: %v, answered %+v", err, a)
	}
	r := http.Request{Header: raw.Header}
	r.SetBasicAuth("hook", "wrong")
	_, err = v.Verify(t.Context(), ep, raw)
	if a := Refused(SES, err); a.Status != http.StatusForbidden {
		t.Errorf("wrong password: %v, answered %+v", err, a)
	}
	r.SetBasicAuth("hook", "pass")
	if _, err = v.Verify(t.Context(), ep, raw); err != nil {
		t.Error(err)
	}
	ep.TopicARN += "2"
	if got := refusal(t.Context(), t, v, ep, raw); got != RefusedTopic {
		t.Errorf("refused %q", got)
	}
}

func TestSNSWithoutCertificateIsAskedForAgain(t *testing.T) {
	t.Parallel()
	ep, req := Endpoint{Provider: SES, TopicARN: sampleTopic}, snsMessage("x").sign(t)
	fail := func(context.Context, *url.URL) ([]byte, error) { return nil, errors.New("no route") }
	for _, v := range []*Verifier{NewVerifier(nil), NewVerifier(fail), NewVerifier(CertDir(t.TempDir()))} {
		_, err := v.Verify(t.Context(), ep, req)
		if !errors.Is(err, ErrUnavailable) || Refused(SES, err).Status != http.StatusServiceUnavailable {
			t.Errorf("Verify: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	stuck := make(chan struct{})
	v := NewVerifier(func(context.Context, *url.URL) ([]byte, error) { <-stuck; return nil, os.ErrNotExist })
	cancel()
	if _, err := v.Verify(ctx, ep, req); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify: %v", err)
	}
	close(stuck)
}

func TestSNSCertificateOutOfItsTime(t *testing.T) {
	t.Parallel()
	ep := Endpoint{Provider: SES, TopicARN: sampleTopic}
	for _, now := range []time.Time{snsNow().AddDate(-1, 0, 0), snsNow().AddDate(10, 0, 0)} {
		e := snsMessage("x")
		e.Timestamp = now.Format(time.RFC3339)
		req := e.sign(t)
		req.ReceivedAt = now
		if got := refusal(t.Context(), t, newSampleVerifier(t), ep, req); got != RefusedBadSignature {
			t.Errorf("%v: refused %q", now, got)
		}
	}
}

// sesDecode decodes an SES event in its envelope.
func sesDecode(t *testing.T, message string, change ...func(*Endpoint)) Decoded {
	t.Helper()
	ep := Endpoint{Provider: SES, TopicARN: sampleTopic}
	for _, f := range change {
		f(&ep)
	}
	body, err := json.Marshal(snsMessage(message))
	if err != nil {
		t.Fatal(err)
	}
	return Decode(ep, Request{Method: http.MethodPost, Header: http.Header{}, Body: body, ReceivedAt: snsNow()})
}

func TestSESBounces(t *testing.T) {
	t.Parallel()
	bounce := func(kind, sub, action, status string) string {
		return `{"notificationType":"Bounce","bounce":{"bounceType":"` + kind + `","bounceSubType":"` + sub +
			`","feedbackId":"f","bouncedRecipients":[{"emailAddress":"A@b.example","action":"` + action + `","status":"` + status + `"}]}}`
	}
	for message, want := range map[string]string{
		bounce("Permanent", "General", "failed", "5.1.1"):                             "opt_out hard_bounce",
		bounce("Permanent", "NoEmail", "", ""):                                        "opt_out hard_bounce",
		bounce("Permanent", "General", "delayed", "4.0.0"):                            "",
		bounce("Permanent", "General", "failed", "4.4.7"):                             "",
		bounce("Permanent", "General", "delayed", ""):                                 "",
		bounce("Permanent", "Suppressed", "failed", "5.1.1"):                          "opt_out provider_suppressed",
		bounce("Permanent", "OnAccountSuppressionList", "failed", "5"):                "opt_out provider_suppressed",
		bounce("Permanent", "UnsubscribedRecipient", "failed", "5"):                   "opt_out unsubscribe",
		bounce("Permanent", "SomethingNew", "failed", "5.1.1"):                        "review unknown_bounce",
		bounce("Transient", "General", "", ""):                                        "",
		bounce("Transient", "MailboxFull", "failed", "5.2.2"):                         "",
		bounce("Transient", "ContentRejected", "failed", "5.6.0"):                     "",
		bounce("Undetermined", "Undetermined", "failed", "5.0.0"):                     "",
		strings.Replace(bounce("Permanent", "General", "", ""), "A@b.example", "", 1): "quarantined",
	} {
		if got := summary(sesDecode(t, message)); got != want {
			t.Errorf("%s: %q, want %q", message, got, want)
		}
	}
}

func TestSESComplaintsAndTheRest(t *testing.T) {
	t.Parallel()
	complaint := func(kind, to string) string {
		return `{"eventType":"Complaint","complaint":{"complaintFeedbackType":` + kind +
			`,"feedbackId":"f","complainedRecipients":[` + to + `]}}`
	}
	const one = `{"emailAddress":"a@b.example"}`
	for message, want := range map[string]string{
		complaint(`"abuse"`, one): "opt_out complaint", complaint(`null`, one): "opt_out complaint",
		complaint(`"fraud"`, one): "opt_out complaint", complaint(`"virus"`, one): "opt_out complaint",
		complaint(`"other"`, one): "opt_out complaint", complaint(`"not-spam"`, one): "",
		complaint(`"auth-failure"`, one): "", complaint(`"new-kind"`, one): "review unknown_complaint",
		complaint(`"abuse"`, ``):   "quarantined",
		`{"eventType":"Delivery"}`: "", `{"eventType":"DeliveryDelay"}`: "", `{"eventType":"Reject"}`: "",
		`{"eventType":"Rendering Failure"}`: "", `{"eventType":"Novelty"}`: "quarantined",
		`{"eventType":"Subscription","subscription":{"newTopicPreferences":{"unsubscribeAll":false}},"mail":{"destination":["a@b.example"]}}`:              "",
		`{"eventType":"Subscription","subscription":{"newTopicPreferences":{"unsubscribeAll":true}},"mail":{"destination":["a@b.example"]}}`:               "opt_out unsubscribe",
		`{"eventType":"Subscription","subscription":{"newTopicPreferences":{"unsubscribeAll":true}},"mail":{"destination":["a@b.example","c@b.example"]}}`: "review unsubscribe, review unsubscribe",
		`not json`: "quarantined", `{"eventType":"Bounce","eventType":"Delivery"}`: "quarantined",
	} {
		if got := summary(sesDecode(t, message)); got != want {
			t.Errorf("%s: %q, want %q", message, got, want)
		}
	}
	two := sesDecode(t, complaint(`null`, one+`,{"emailAddress":"c@b.example"}`))
	if len(two.Events) != 2 || !two.Events[0].Ambiguous || two.Events[0].DedupID == two.Events[1].DedupID {
		t.Errorf("%+v", two.Events)
	}
	careful := sesDecode(t, complaint(`null`, one+`,{"emailAddress":"c@b.example"}`), func(e *Endpoint) { e.ReviewAmbiguous = true })
	if got := summary(careful); got != "review complaint, review complaint" {
		t.Errorf("%q", got)
	}
}

func TestSESTwinsThroughTwoTopics(t *testing.T) {
	t.Parallel()
	const message = `{"eventType":"Complaint","complaint":{"feedbackId":"f","complainedRecipients":[{"emailAddress":"a@b.example"}]}}`
	const feedback = `{"notificationType":"Complaint","complaint":{"feedbackId":"f","complainedRecipients":[{"emailAddress":"A@B.example"}]}}`
	first, second := sesDecode(t, message), sesDecode(t, feedback, func(e *Endpoint) { e.TopicARN += "2" })
	if first.Events[0].DedupID != second.Events[0].DedupID {
		t.Error("the same report counts twice")
	}
}
