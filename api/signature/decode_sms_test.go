package signature

import (
	"maps"
	"net/http"
	"testing"
	"time"
)

func TestTwilioMeanings(t *testing.T) {
	t.Parallel()
	base := map[string]string{"MessageSid": "SM1", "From": "+14155552671", "To": "+18005550199"}
	with := func(pairs ...string) map[string]string {
		out := maps.Clone(base)
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = pairs[i+1]
		}
		return out
	}
	for _, c := range []struct {
		fields map[string]string
		want   string
	}{
		{with("Body", "STOP"), "opt_out keyword_stop"},
		{with("Body", "YES", "OptOutType", "START"), "opt_in keyword_start"},
		{with("Body", "YES"), "none keyword_yes"},
		{with("Body", "STOP", "OptOutType", "HELP"), ""},
		{with("Body", "STOP", "From", "whatsapp:+14155552671"), ""},
		{with("OptOutType", "STOP", "From", "messenger:123"), ""},
		{with("Body", "STOP", "From", "12345"), "quarantined"},
		{with("Body", "hello", "From", "12345"), ""},
		{with("Body", ""), ""},
		{with("MessageStatus", "failed", "ErrorCode", "21610"), "opt_out provider_suppressed"},
		{with("MessageStatus", "undelivered", "ErrorCode", "30003"), ""},
		{with("MessageStatus", "undelivered", "ErrorCode", "30006"), ""},
		{with("MessageStatus", "delivered"), ""},
		{with("MessageStatus", "failed", "ErrorCode", "21610", "To", "whatsapp:+14155552671"), ""},
		{map[string]string{"CallSid": "CA1"}, "quarantined"},
		{map[string]string{}, "quarantined"},
	} {
		if got := summary(postForm(Twilio, c.fields)); got != c.want {
			t.Errorf("%v: %q, want %q", c.fields, got, c.want)
		}
	}
	yes := postForm(Twilio, with("Body", "YES")).Events[0]
	if !yes.OptInIfStopped || yes.Action != None {
		t.Errorf("YES: %+v", yes)
	}
	blocked := postForm(Twilio, with("MessageStatus", "failed", "ErrorCode", "21610")).Events[0]
	if blocked.Address != "+18005550199" {
		t.Errorf("21610 is about %s", blocked.Address)
	}
	if got := summary(post(Twilio, `{"MessageSid":"SM1","From":"+14155552671","Body":"STOP","New":[1]}`)); got != "opt_out keyword_stop" {
		t.Errorf("JSON: %q", got)
	}
}

func TestVonageMeanings(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"channel":"sms","message_uuid":"u","from":"447911123456","text":"STOP","message_type":"text"}`:                     "opt_out keyword_stop",
		`{"channel":"sms","message_uuid":"u","from":"447911123456","text":"stop by tomorrow","sms":{"keyword":"STOP"}}`:      "",
		`{"channel":"sms","message_uuid":"u","from":"447911123456","text":"stop it","sms":{"keyword":"STOP"}}`:               "review natural_language",
		`{"channel":"sms","message_uuid":"u","from":"447911123456","text":"YES"}`:                                            "",
		`{"channel":"whatsapp","message_uuid":"u","from":"447911123456","text":"STOP"}`:                                      "",
		`{"channel":"sms","message_uuid":"u","to":"447911123456","status":"rejected","error":{"title":1240}}`:                "",
		`{"msisdn":"447911123456","messageId":"m","text":"STOP","keyword":"STOP","message-timestamp":"2026-11-20 02:00:00"}`: "opt_out keyword_stop",
		`{"msisdn":"447911123456","messageId":"m","status":"failed","err-code":"6"}`:                                         "",
		`{"hello":1}`: "quarantined", `[]`: "quarantined", `{"channel":"sms","channel":"sms"}`: "quarantined", ``: "",
	} {
		if got := summary(post(Vonage, body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	got := Decode(Endpoint{Provider: Vonage}, Request{
		Method: http.MethodGet, ReceivedAt: snsNow(),
		RawQuery: "msisdn=447911123456&messageId=m&text=STOP&message-timestamp=2026-11-20+01%3A00%3A00",
	})
	if len(got.Events) != 1 || !got.Events[0].At.Equal(snsNow().Add(-time.Hour)) || !got.Events[0].WholeSeconds {
		t.Errorf("%+v", got)
	}
}

func TestTelnyxMeanings(t *testing.T) {
	t.Parallel()
	event := func(kind, payload string) string {
		return `{"data":{"id":"d","event_type":"` + kind + `","occurred_at":"2026-11-20T01:59:59Z","payload":` + payload + `}}`
	}
	const from = `"direction":"inbound","type":"SMS","from":{"phone_number":"+14155552671"}`
	for body, want := range map[string]string{
		event("message.received", `{`+from+`,"text":"hi","autoresponse_type":"STOP"}`):                                                                                                     "opt_out keyword_stop",
		event("message.received", `{`+from+`,"text":"STOP","autoresponse_type":null}`):                                                                                                     "opt_out keyword_stop",
		event("message.received", `{`+from+`,"text":"STOP","autoresponse_type":"HELP"}`):                                                                                                   "",
		event("message.received", `{`+from+`,"text":"YES"}`):                                                                                                                               "",
		event("message.received", `{`+from+`,"text":"STOP","to":"+18005550199"}`):                                                                                                          "opt_out keyword_stop",
		event("message.received", `{"type":"WhatsApp","from":"+14155552671","text":"STOP"}`):                                                                                               "",
		event("message.finalized", `{"to":[{"phone_number":"+14155552671"}],"errors":[{"code":40300}]}`):                                                                                   "opt_out provider_suppressed",
		event("message.finalized", `{"to":[{"phone_number":"+14155552671"}],"errors":[{"code":"40001"}]}`):                                                                                 "",
		event("message.finalized", `{"to":[{"phone_number":"+14155552671","status":"delivery_failed"},{"phone_number":"+14155552672","status":"delivered"}],"errors":[{"code":"40300"}]}`): "opt_out provider_suppressed",
		event("message.sent", `{}`): "", event("call.initiated", `{}`): "quarantined", `{}`: "quarantined",
	} {
		if got := summary(post(Telnyx, body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestPlivoMessageBirdAndBirdMeanings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		got  Decoded
		want string
	}{
		{postForm(Plivo, map[string]string{"From": "14155552671", "Text": "stop", "MessageUUID": "u", "Type": "sms"}), "opt_out keyword_stop"},
		{postForm(Plivo, map[string]string{"From": "14155552671", "Text": "stop", "MessageUUID": "u", "Type": "whatsapp"}), ""},
		{postForm(Plivo, map[string]string{"To": "14155552671", "Status": "undelivered", "ErrorCode": "200", "MessageUUID": "u"}), ""},
		{postForm(Plivo, map[string]string{"x": "y"}), "quarantined"},
		{postForm(MessageBird, map[string]string{"id": "i", "originator": "31612345678", "body": "START"}), "opt_in keyword_start"},
		{postForm(MessageBird, map[string]string{"id": "i", "recipient": "31612345678", "status": "delivery_failed"}), ""},
		{postForm(MessageBird, map[string]string{"id": "i"}), "quarantined"},
		{postForm(MessageBird, nil), ""},
		{post(Bird, `{"event":"sms.inbound","payload":{"id":"p","direction":"outgoing"}}`), ""},
		{post(Bird, `{"event":"sms.outbound","payload":{"id":"p"}}`), ""},
		{post(Bird, `{"event":"whatsapp.inbound","payload":{"id":"p","body":{"text":{"text":"STOP"}}}}`), ""},
		{post(Bird, `{"payload":{}}`), "quarantined"},
		{post(Bird, `{"event":"sms.inbound","payload":{"id":"p","body":{"type":"image"}}}`), ""},
	} {
		if got := summary(c.got); got != c.want {
			t.Errorf("%+v: %q, want %q", c.got, got, c.want)
		}
	}
}

func TestArgentineMobilesHaveTwoSpellings(t *testing.T) {
	t.Parallel()
	got := postForm(Twilio, map[string]string{"MessageSid": "SM1", "From": "+5491123456789", "Body": "STOP"})
	if len(got.Events) != 2 || got.Events[0].Address != "+5491123456789" || got.Events[1].Address != "+541123456789" ||
		got.Events[0].DedupID == got.Events[1].DedupID {
		t.Errorf("%+v", got.Events)
	}
}

func TestTimesThatCannotBe(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]time.Time{
		"2026-11-20T02:04:59Z":        snsNow().Add(4*time.Minute + 59*time.Second),
		"2026-11-20T02:05:01Z":        {},
		"1970-01-01T00:00:00Z":        {},
		"yesterday":                   {},
		"2026-11-19T21:00:00.5-05:00": snsNow().Add(500 * time.Millisecond),
	} {
		got := post(Standard, `{"type":"contact.sms.opted_out","timestamp":"`+at+`","data":{"phone":"+14155552671"}}`)
		if len(got.Events) != 1 || !got.Events[0].At.Equal(want) {
			t.Errorf("%s: %+v", at, got)
		}
	}
	for text, want := range map[string]stamp{
		"1795140001.375624": {at: time.Unix(1795140001, 375624000).UTC()}, "1795140001": {at: time.Unix(1795140001, 0).UTC(), whole: true},
		"-1": {}, "1e9": {}, "1.x": {}, "": {}, "99999999999999999999": {},
	} {
		if got := unixTime(text); got != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
	if got := milliTime("1795140001"); !got.at.Equal(time.Unix(1795140001, 0)) || !got.whole {
		t.Errorf("seconds for milliseconds: %+v", got)
	}
}
