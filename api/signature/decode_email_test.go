package signature

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// expect runs a table of bodies.
func expect(t *testing.T, p Provider, table map[string]string) {
	t.Helper()
	for body, want := range table {
		if got := summary(post(p, body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestSendGridMeanings(t *testing.T) {
	t.Parallel()
	event := func(rest string) string { return `[{"email":"a@b.example","sg_event_id":"e",` + rest + `}]` }
	expect(t, SendGrid, map[string]string{
		event(`"event":"bounce","type":"bounce"`):                                                        "opt_out hard_bounce",
		event(`"event":"bounce","type":"bounce","bounce_classification":"invalid address"`):              "opt_out hard_bounce",
		event(`"event":"bounce","type":"bounce","bounce_classification":"Reputation"`):                   "review bounce_not_about_address",
		event(`"event":"bounce","type":"bounce","bounce_classification":"Technical"`):                    "review bounce_not_about_address",
		event(`"event":"bounce","type":"bounce","bounce_classification":"Content"`):                      "review bounce_not_about_address",
		event(`"event":"bounce","type":"bounce","bounce_classification":"Frequency or Volume Too High"`): "review bounce_not_about_address",
		event(`"event":"bounce","type":"blocked","bounce_classification":"Invalid Address"`):             "",
		event(`"event":"bounce"`):                                               "review unknown_bounce",
		event(`"event":"dropped","reason":"Unsubscribed Address"`):              "opt_out provider_suppressed",
		event(`"event":"dropped","reason":"spam reporting address"`):            "opt_out provider_suppressed",
		event(`"event":"dropped","reason":"Invalid"`):                           "opt_out provider_suppressed",
		event(`"event":"dropped","reason":"Invalid SMTPAPI header"`):            "",
		event(`"event":"dropped","reason":"Recipient List over Package Quota"`): "",
		event(`"event":"group_unsubscribe","asm_group_id":10`):                  "",
		event(`"event":"delivered"`):                                            "", event(`"event":"open"`): "", event(`"event":"novelty"`): "quarantined",
		`[]`: "", `{"event":"spamreport","email":"a@b.example"}`: "opt_out complaint",
		`[{"event":"spamreport"}]`: "quarantined", ``: "",
	})
}

func TestMixedBatches(t *testing.T) {
	t.Parallel()
	const good = `{"email":"a@b.example","event":"unsubscribe","sg_event_id":"%"}`
	batch := `[` + strings.ReplaceAll(good, "%", "1") + `, 17, {"email":"a@b.example","email":"c@b.example","event":"unsubscribe"},` +
		"{\"email\":\"\xff@b.example\",\"event\":\"unsubscribe\"}," + `{"event":"unsubscribe"},` +
		`{"event":"delivered","email":"x@b.example"},` + strings.ReplaceAll(good, "%", "2") + `, {"email":"cut`
	got := post(SendGrid, batch)
	if len(got.Events) != 2 || len(got.Quarantined) != 5 || len(got.Ignored) != 1 {
		t.Errorf("%d events, %d ignored, quarantined %+v", len(got.Events), len(got.Ignored), got.Quarantined)
	}
	if got.Events[0].ProviderID != "1" || got.Events[1].ProviderID != "2" {
		t.Errorf("%+v", got.Events)
	}
	for name, c := range map[string]Decoded{
		"sparkpost": post(SparkPost, `[{"msys":{"message_event":{"type":"spam_complaint","rcpt_to":"a@b.example","event_id":"1"}}},{"msys":3},7]`),
		"brevo":     post(Brevo, `[{"event":"spam","email":"a@b.example","ts_epoch":1795140001000},{"event":[]},[]]`),
		"mandrill": postForm(Mandrill, map[string]string{
			"mandrill_events": `[{"event":"spam","_id":"1","ts":1795140001,"msg":{"email":"a@b.example"}},{"msg":1},null]`,
		}),
	} {
		if got := summary(c); got != "opt_out complaint, quarantined, quarantined" {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := summary(post(SendGrid, `[{"event":"spamreport","email":"a@b.example"}] trailing`)); got != "opt_out complaint, quarantined" {
		t.Errorf("trailing: %q", got)
	}
	large := post(SendGrid, `[`+strings.Repeat(`"x",`, maxElements)+`1,2]`)
	if len(large.Quarantined) != maxElements+1 {
		t.Errorf("%d elements", len(large.Quarantined))
	}
}

func TestMailgunMeanings(t *testing.T) {
	t.Parallel()
	event := func(rest string) string {
		return `{"event-data":{"id":"i","timestamp":1795140001.5,"recipient":"a@b.example",` + rest + `}}`
	}
	failed := func(severity, reason string) string {
		return event(`"event":"failed","severity":"` + severity + `","reason":"` + reason + `"`)
	}
	expect(t, Mailgun, map[string]string{
		failed("permanent", "bounce"): "opt_out hard_bounce", failed("permanent", "suppress-bounce"): "opt_out provider_suppressed",
		failed("permanent", "suppress-complaint"): "opt_out provider_suppressed", failed("permanent", "old"): "",
		failed("permanent", "generic"): "", failed("permanent", "espblock"): "", failed("permanent", "novelty"): "review unknown_bounce",
		failed("temporary", "bounce"): "", failed("temporary", "greylisted"): "", event(`"event":"delivered"`): "",
		event(`"event":"unsubscribed"`): "opt_out unsubscribe", event(`"event":"novelty"`): "quarantined",
		`{"event-data":{"event":"rejected"}}`: "", `{"event-data":{"event":"complained"}}`: "quarantined", `{}`: "quarantined",
		`{"event-data":{"event":"complained","event":"delivered","recipient":"a@b.example"}}`: "quarantined",
	})
	for want, fields := range map[string]map[string]string{
		"opt_out unsubscribe":         {"event": "unsubscribed", "recipient": "a@b.example", "timestamp": "1795140001"},
		"opt_out complaint":           {"event": "complained", "recipient": "a@b.example"},
		"opt_out hard_bounce":         {"event": "bounced", "recipient": "a@b.example", "code": "550"},
		"opt_out provider_suppressed": {"event": "dropped", "recipient": "a@b.example", "code": "605"},
		"":                            {"event": "dropped", "recipient": "a@b.example", "reason": "old"},
	} {
		if got := summary(postForm(Mailgun, fields)); got != want {
			t.Errorf("%v: %q, want %q", fields, got, want)
		}
	}
}

func TestMailgunMultipart(t *testing.T) {
	t.Parallel()
	const key, stamp, token = "k", "1795140005", "tok"
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for k, v := range map[string]string{
		"event": "unsubscribed", "recipient": "a@b.example", "timestamp": stamp, "token": token,
		"signature": hexMAC(key, stamp+token),
	} {
		if err := w.WriteField(k, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ep := Endpoint{Provider: Mailgun, Secrets: []string{key}}
	req := Request{
		Method: http.MethodPost, Body: body.Bytes(), ReceivedAt: snsNow(),
		Header: http.Header{"Content-Type": {w.FormDataContentType()}},
	}
	if v, err := NewVerifier(nil).Verify(t.Context(), ep, req); err != nil || v.OneTime == nil {
		t.Fatalf("%+v, %v", v, err)
	}
	if got := summary(Decode(ep, req)); got != "opt_out unsubscribe" {
		t.Errorf("%q", got)
	}
	req.Body = req.Body[:len(req.Body)-40]
	if got := refusal(t.Context(), t, NewVerifier(nil), ep, req); got != RefusedUnreadable {
		t.Errorf("cut: refused %q", got)
	}
}

func TestMailgunSignsForTheParentToo(t *testing.T) {
	t.Parallel()
	body := `{"signature":{"timestamp":"1795140005","token":"tok","signature":"` + hexMAC("child", "1795140005tok") +
		`","parent-signature":"` + hexMAC("parent", "1795140005tok") + `"}}`
	for key, want := range map[string]Reason{"child": "", "parent": "", "other": RefusedBadSignature} {
		ep := Endpoint{Provider: Mailgun, Secrets: []string{key}}
		req := Request{Method: http.MethodPost, Body: []byte(body), ReceivedAt: snsNow()}
		if got := refusal(t.Context(), t, NewVerifier(nil), ep, req); got != want {
			t.Errorf("%s: refused %q", key, got)
		}
	}
}

func TestPostmarkMeanings(t *testing.T) {
	t.Parallel()
	bounce := func(kind, inactive string) string {
		return `{"RecordType":"Bounce","ID":1,"Email":"a@b.example","Type":"` + kind + `","Inactive":` + inactive + `}`
	}
	change := func(suppress, why, origin string) string {
		return `{"RecordType":"SubscriptionChange","Recipient":"a@b.example","SuppressSending":` + suppress +
			`,"SuppressionReason":` + why + `,"Origin":"` + origin + `"}`
	}
	expect(t, Postmark, map[string]string{
		bounce("HardBounce", "true"): "opt_out hard_bounce", bounce("BadEmailAddress", "false"): "opt_out hard_bounce",
		bounce("Unsubscribe", "true"): "opt_out unsubscribe", bounce("SpamNotification", "false"): "",
		bounce("SpamNotification", "true"): "opt_out provider_suppressed", bounce("ManuallyDeactivated", "false"): "opt_out provider_suppressed",
		bounce("DnsError", "false"): "", bounce("Blocked", "false"): "", bounce("Novelty", "false"): "",
		change("true", `"ManualSuppression"`, "Recipient"): "opt_out unsubscribe",
		change("true", `"ManualSuppression"`, "Customer"):  "opt_out provider_suppressed",
		change("true", `"ManualSuppression"`, "Admin"):     "opt_out provider_suppressed",
		change("true", `"SpamComplaint"`, "Recipient"):     "opt_out complaint",
		change("true", `"HardBounce"`, "Recipient"):        "opt_out hard_bounce",
		change("false", `null`, "Recipient"):               "opt_in resubscribe",
		change("false", `null`, "Admin"):                   "none provider_reactivated",
		`{"Type":"HardBounce","Email":"a@b.example"}`:      "quarantined",
		`{"RecordType":"Delivery"}`:                        "", `{"FromFull":{},"TextBody":"STOP"}`: "", `{"RecordType":"Novelty"}`: "quarantined",
		`{"RecordType":"SpamComplaint","ID":2,"Email":"no address"}`: "quarantined",
	})
}

func TestSparkPostMeanings(t *testing.T) {
	t.Parallel()
	event := func(kind, class string) string {
		return `[{"msys":{"message_event":{"type":"` + kind + `","bounce_class":` + class + `,"rcpt_to":"a@b.example","event_id":"1"}}}]`
	}
	table := map[string]string{
		event("bounce", `"10"`): "opt_out hard_bounce", event("bounce", `30`): "opt_out hard_bounce",
		event("out_of_band", `"90"`): "opt_out unsubscribe", event("spam_complaint", `null`): "opt_out complaint",
		event("link_unsubscribe", `null`): "opt_out unsubscribe", event("generation_rejection", `null`): "",
		event("policy_rejection", `"25"`): "", event("delay", `"10"`): "", event("novelty", `null`): "quarantined",
		`[{"msys":{}}]`: "", `[{"unknown":1}]`: "quarantined", `[{}]`: "quarantined",
	}
	for _, class := range []string{"1", "20", "21", "22", "23", "24", "25", "40", "50", "51", "52", "53", "54", "60", "70", "80", "100"} {
		table[event("bounce", class)] = ""
	}
	expect(t, SparkPost, table)
	got := post(SparkPost, `[{"msys":{"message_event":{"type":"spam_complaint","raw_rcpt_to":"A@b.example","timestamp":"2026-11-20T01:00:00.000Z"}}}]`)
	if len(got.Events) != 1 || got.Events[0].At.IsZero() || got.Events[0].WholeSeconds {
		t.Errorf("%+v", got)
	}
}

func TestBrevoMeanings(t *testing.T) {
	t.Parallel()
	event := func(kind, reason string) string {
		return `{"event":"` + kind + `","email":"a@b.example","ts_epoch":1795140001,"message-id":"m","reason":"` + reason + `"}`
	}
	expect(t, Brevo, map[string]string{
		event("hard_bounce", ""): "opt_out hard_bounce", event("invalid_email", ""): "opt_out hard_bounce",
		event("complaint", ""): "opt_out complaint", event("unsubscribe", ""): "opt_out unsubscribe",
		event("blocked", "blocked : due to blacklist user"): "opt_out provider_suppressed", event("blocked", "policy"): "",
		event("deferred", "550 5.1.1 User unknown"): "", event("error", ""): "", event("novelty", ""): "quarantined",
		`{"event":"unsubscribe","email":["a@b.example","c@b.example"],"ts":1}`: "opt_out unsubscribe, opt_out unsubscribe",
		`{"event":"spam"}`: "quarantined",
	})
	if got := post(Brevo, event("spam", "")); got.Events[0].At.IsZero() || !got.Events[0].WholeSeconds {
		t.Errorf("seconds in ts_epoch: %+v", got.Events)
	}
}

func TestMandrillMeanings(t *testing.T) {
	t.Parallel()
	sync := func(list, action, reason string) string {
		return `[{"type":"` + list + `","action":"` + action + `","ts":1795140001,"reject":{"email":"a@b.example","reason":"` + reason + `"}}]`
	}
	for body, want := range map[string]string{
		sync("blacklist", "add", "hard-bounce"): "opt_out hard_bounce", sync("denylist", "add", "spam"): "opt_out complaint",
		sync("denylist", "add", "custom"): "opt_out provider_suppressed", sync("denylist", "add", "rule"): "opt_out provider_suppressed",
		sync("denylist", "add", "soft-bounce"): "", sync("denylist", "change", "spam"): "",
		sync("denylist", "remove", "spam"): "none provider_reactivated", sync("whitelist", "add", ""): "", sync("novelty", "add", ""): "quarantined",
		`[{"event":"reject","msg":{"email":"a@b.example"}}]`: "", `[{"event":"novelty","msg":{"email":"a@b.example"}}]`: "quarantined",
		`[]`: "", `{`: "quarantined",
	} {
		if got := summary(postForm(Mandrill, map[string]string{"mandrill_events": body})); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	if got := summary(postForm(Mandrill, url2map("a=b"))); got != "quarantined" {
		t.Errorf("%q", got)
	}
}

// url2map reads a query without repeated fields.
func url2map(query string) map[string]string {
	out := map[string]string{}
	values, _ := url.ParseQuery(query)
	for k := range values {
		out[k] = values.Get(k)
	}
	return out
}

func TestResendMeanings(t *testing.T) {
	t.Parallel()
	mail := func(kind, rest string) string {
		return `{"type":"email.` + kind + `","data":{"to":["a@b.example"]` + rest + `}}`
	}
	expect(t, Resend, map[string]string{
		mail("bounced", `,"bounce":{"type":"Permanent"}`): "opt_out hard_bounce", mail("bounced", `,"bounce":{"type":"Transient"}`): "",
		mail("bounced", `,"bounce":{"type":"Undetermined"}`): "", mail("bounced", ``): "review unknown_bounce",
		mail("complained", ``): "opt_out complaint", mail("suppressed", ``): "opt_out provider_suppressed",
		mail("failed", ``): "", mail("delivery_delayed", ``): "", mail("novelty", ``): "quarantined",
		`{"type":"email.complained","data":{"to":["a@b.example","c@b.example"]}}`:        "review complaint, review complaint",
		`{"type":"email.complained","data":{"to":"a@b.example"}}`:                        "opt_out complaint",
		`{"type":"email.complained","data":{"to":[]}}`:                                   "quarantined",
		`{"type":"contact.updated","data":{"email":"a@b.example","unsubscribed":false}}`: "",
		`{"type":"contact.created","data":{"email":"a@b.example","unsubscribed":false}}`: "",
		`{"type":"suppression.added","data":{"email":"a@b.example","origin":"bounce"}}`:  "opt_out hard_bounce",
		`{"type":"suppression.added","data":{"email":"a@b.example","origin":"manual"}}`:  "opt_out provider_suppressed",
		`{"type":"domain.created","data":{}}`:                                            "",
	})
}

func TestStandardMeanings(t *testing.T) {
	t.Parallel()
	expect(t, Standard, map[string]string{
		`{"type":"contact.sms.opted_out","data":{"phone":"+14155552671"}}`:                         "opt_out keyword_stop",
		`{"type":"contact.sms.opted_out","data":{"phone":"+14155552671","reason":"manual"}}`:       "opt_out manual",
		`{"type":"contact.email.opted_out","data":{"email":"a@b.example"}}`:                        "opt_out unsubscribe",
		`{"type":"contact.email.opted_out","data":{"email":"a@b.example","reason":"hard_bounce"}}`: "opt_out hard_bounce",
		`{"type":"contact.email.opted_out","data":{"email":"a@b.example","reason":"because"}}`:     "opt_out unsubscribe",
		`{"type":"contact.email.opted_out","data":{"email":"a@b.example","scope":"newsletter"}}`:   "",
		`{"type":"contact.email.opted_out","data":{"email":"a@b.example","scope":"global"}}`:       "opt_out unsubscribe",
		`{"type":"contact.email.opted_in","data":{"email":"a@b.example"}}`:                         "opt_in resubscribe",
		`{"type":"contact.sms.opted_out","data":{"email":"a@b.example"}}`:                          "quarantined",
		`{"type":"novelty"}`: "quarantined", `nothing`: "quarantined",
	})
}

func TestBasicAndBearer(t *testing.T) {
	t.Parallel()
	v := NewVerifier(nil)
	auth := func(user, password string) http.Header {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return r.Header
	}
	for _, c := range []struct {
		p      Provider
		header http.Header
		want   Reason
	}{
		{Postmark, auth("u", "p"), ""},
		{Postmark, auth("u", "q"), RefusedBadSignature},
		{Postmark, auth("", ""), RefusedBadSignature},
		{Postmark, http.Header{}, RefusedCredentials},
		{SparkPost, auth("v", "p:q"), ""},
		{Brevo, http.Header{"Authorization": {"Bearer u:p"}}, ""},
		{Brevo, http.Header{"Authorization": {"bearer u:p"}}, ""},
		{Brevo, http.Header{"Authorization": {"Basic u:p"}}, RefusedBadSignature},
		{Brevo, http.Header{"Authorization": {"Bearer "}}, RefusedBadSignature},
		{Brevo, http.Header{}, RefusedCredentials},
	} {
		ep := Endpoint{Provider: c.p, Secrets: []string{"", ":", "u:", ":p", "u:p", "v:p:q"}}
		if got := refusal(t.Context(), t, v, ep, Request{Method: http.MethodPost, Header: c.header}); got != c.want {
			t.Errorf("%s %v: refused %q, want %q", c.p, c.header, got, c.want)
		}
	}
}
