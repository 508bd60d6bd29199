package signature

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"strings"
)

// twilioSign signs a text as Twilio and Mandrill do.
func twilioSign(key, text string) string {
	return base64.StdEncoding.EncodeToString(mac(sha1.New, key, []byte(text)))
}

// summary names actions and reasons of what was decoded.
func summary(d Decoded) string {
	out := make([]string, 0, len(d.Events)+len(d.Quarantined))
	for _, e := range d.Events {
		out = append(out, string(e.Action)+" "+e.Reason)
	}
	for range d.Quarantined {
		out = append(out, "quarantined")
	}
	return strings.Join(out, ", ")
}

// post decodes a JSON body for a provider.
func post(p Provider, body string) Decoded {
	return Decode(Endpoint{Provider: p}, Request{
		Method: http.MethodPost, Body: []byte(body), ReceivedAt: snsNow(),
		Header: http.Header{
			"Content-Type": {"application/json"}, "Svix-Id": {"msg_1"}, "Webhook-Id": {"msg_1"},
		},
	})
}

// postForm decodes a form for a provider.
func postForm(p Provider, fields map[string]string) Decoded {
	return Decode(Endpoint{Provider: p}, Request{
		Method: http.MethodPost, Body: []byte(encode(fields)), ReceivedAt: snsNow(), Header: formHeader(),
	})
}

// pemOf returns a certificate as PEM.
func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// hexMAC signs a text as Mailgun does.
func hexMAC(key, text string) string { return hex.EncodeToString(mac(sha256.New, key, []byte(text))) }
