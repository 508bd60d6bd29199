package faults

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// ammunition is one request of an abuser, as bytes.
type ammunition struct {
	raw []byte
	// head: the answer has no body whatever its length says.
	head bool
}

// arsenal makes bad requests. It belongs to one goroutine.
type arsenal struct {
	dice *rand.Rand
	// keys are good ones, one of each dialect; hooks and contacts are there.
	keys, hooks, contacts []string
}

func (a *arsenal) pick(list ...string) string { return list[a.dice.IntN(len(list))] }

// one is true in one of n cases.
func (a *arsenal) one(n int) bool { return a.dice.IntN(n) == 0 }

// bytes are random, without those that would end a line.
func (a *arsenal) bytes(most int) string {
	b := make([]byte, a.dice.IntN(most)+1)
	for i := range b {
		b[i] = byte(a.dice.IntN(255) + 1)
		if b[i] == '\r' || b[i] == '\n' || b[i] == 0x7f || b[i] < ' ' {
			b[i] = '\t'
		}
	}
	return string(b)
}

// id is one that is there, one that is not, or none at all.
func (a *arsenal) id() string {
	switch a.dice.IntN(8) {
	case 0:
		return a.pick(a.contacts...)
	case 1:
		return uuid.NewString()
	case 2:
		return a.pick("00000000-0000-0000-0000-000000000000", "..%2f..%2fetc%2fpasswd", "%00", "'%20OR%201=1--", "%ff%fe", "-1", "9223372036854775808")
	case 3:
		return strings.Repeat("a", a.dice.IntN(3000)+1)
	case 4:
		return a.pick(a.contacts...)[:a.dice.IntN(36)]
	default:
		return strconv.FormatUint(a.dice.Uint64(), 36)
	}
}

// target is a path of the API, or nearly one.
func (a *arsenal) target() string {
	mount := a.pick("/v1", "/v1", "", "/functions/v1/api/v1", "/functions/v1/api-gateway/v1", "/v2")
	path := a.pick("/contacts", "/contacts/"+a.id(), "/contacts/"+a.id(), "/contacts/"+a.id(), "/contacts/batch",
		"/contacts/"+a.id()+"/restore", "/data/crm-logs", "/writes/"+a.id(), "/writes", "/writes/"+a.id()+"/retry", "/writes/"+a.id()+"/discard",
		"/tags", "/tags/"+a.id(), "/custom-fields", "/custom-fields/"+a.id(), "/webhook-endpoints", "/webhook-endpoints/"+a.id(),
		"/suppressions", "/optout-reviews", "/optout-reviews/"+a.id()+"/accept", "/quarantined-events", "/unsubscribe-links",
		"/unsubscribe/"+a.id(), "/webhooks/"+a.id())
	switch a.dice.IntN(12) {
	case 0:
		mount, path = "", a.pick(a.hooks...)
	case 1:
		mount, path = "", a.pick("/oauth2/token", "/.well-known/jwks.json", "/livez", "/", "//", "/v1//contacts", "/v1/../v1/contacts", "/metrics", "/debug/pprof/", "/ops")
	}
	switch a.dice.IntN(6) {
	case 0:
		path += "?" + a.pick("limit=0", "limit=101", "limit=x", "cursor="+a.id(), "after=x", "email=%00", "phone=%2B", "properties=__proto__", "a;b", "%zz", "state="+a.id())
	case 1:
		path += "?" + strings.Repeat("a=b&", a.dice.IntN(200))
	}
	return mount + path
}

// authorization is a good credential, a bad one, or none.
func (a *arsenal) authorization() string {
	switch a.dice.IntN(12) {
	case 0, 1:
		return ""
	case 2:
		if a.one(4) {
			return "Authorization: Bearer pl_" + strconv.FormatUint(a.dice.Uint64(), 36) + "\r\n"
		}
		return "Authorization: Basic " + a.bytes(40) + "\r\n"
	case 3, 4, 5:
		return "Authorization: Bearer " + a.pick("x", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJwYXRjaGxhbmUifQ.AAAA", "a.b.c", "") + "\r\n"
	default:
		return "Authorization: Bearer " + a.pick(a.keys...) + "\r\n"
	}
}

// headers are wrong in one place or another.
func (a *arsenal) headers() string {
	var b strings.Builder
	b.WriteString(a.authorization())
	b.WriteString("Content-Type: " + a.pick("application/json", "application/json", "application/json", "application/json; charset=latin1",
		"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", a.bytes(20)) + "\r\n")
	for range a.dice.IntN(4) {
		b.WriteString(a.pick(
			"Content-Encoding: gzip", "Content-Encoding: br, gzip", "Idempotency-Key: "+a.bytes(300), "If-Match: "+a.bytes(10), "If-Match: \"-1\"",
			"If-Match: *", "Prefer: respond-async", "Prefer: respond-async", "Prefer: wait=-1", "Prefer: "+a.bytes(30), "X-As-Of: "+a.bytes(20), "X-As-Of: 9999-99-99T99:99:99Z",
			"X-Request-Id: "+a.bytes(300), "traceparent: "+a.bytes(60), "X-Twilio-Signature: "+a.bytes(30),
			"webhook-signature: v1,"+a.bytes(40), "webhook-id: "+a.bytes(10), "webhook-timestamp: "+a.bytes(10), "X-Forwarded-For: 127.0.0.1",
			"Range: bytes=0-18446744073709551615", "Cookie: "+a.bytes(500), "Authorization: Bearer twice", "X-Method-Override: DELETE",
		) + "\r\n")
	}
	return b.String()
}

// body is mostly no good patch.
func (a *arsenal) body() string {
	good := a.pick(`{"first_name":"Ada","metadata":{"a":[1,2,{"b":null}]}}`, `{"fields":{"firstName":"Ada"}}`, `{"name":"Ada","custom_fields":{"x":"y"}}`,
		`{"writes":[{"id":"x","patch":{"notes":"n"}},{"patch":{}},7]}`, `{"provider":"twilio","secret":"x"}`, `{"contact_id":"x"}`, `{"notes_append":"x","if_match":1}`)
	switch a.dice.IntN(14) {
	case 0, 1:
		return ""
	case 2:
		depth := a.dice.IntN(3000)
		return strings.Repeat(a.pick("[", `{"a":`, `{"metadata":{"a":[`), depth)
	case 3:
		depth := a.dice.IntN(500)
		return `{"metadata":{"a":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + "}}"
	case 4:
		return `{"first_name":"a","first_name":"b","FIRST_NAME":"c"}`
	case 5:
		return `{"metadata":{"n":` + a.pick("1e999999", "-", "00", "1e400", strings.Repeat("9", 400), "NaN") + "}}"
	case 6:
		return `{"notes":"` + a.pick("\x00", `\u0000`, "\xff\xfe", `\ud800`, "\xc0\xaf", "\u202e", "'; DROP TABLE contacts; --") + `"}`
	case 7:
		return "{" + strings.Repeat(`"x":1,`, a.dice.IntN(500)) + `"x":1}`
	case 8:
		return `{"notes":"` + strings.Repeat("n", a.dice.IntN(20_000)) + `"`
	case 9:
		return a.bytes(400)
	default: // a good one with some bytes wrong
		b := []byte(good)
		for range a.dice.IntN(4) {
			b[a.dice.IntN(len(b))] = byte(a.dice.IntN(256))
		}
		return string(b[:len(b)-a.dice.IntN(2)*a.dice.IntN(len(b))])
	}
}

// request is one that leaves its connection usable.
func (a *arsenal) request() ammunition {
	method := a.pick("PATCH", "PATCH", "PATCH", "POST", "POST", "GET", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "BREW")
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: a\r\n%s", method, a.target(), a.headers())
	body := a.body()
	if a.one(5) {
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for body != "" {
			n := a.dice.IntN(len(body)) + 1
			fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		b.WriteString("0\r\n\r\n")
	} else {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	}
	return ammunition{raw: b.Bytes(), head: method == "HEAD"}
}

// breaker is one after which the connection is of no use.
func (a *arsenal) breaker() ammunition {
	post := "POST /v1/contacts HTTP/1.1\r\nHost: a\r\n"
	raw := a.pick(
		post+"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/contacts HTTP/1.1\r\n\r\n",
		post+"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", post+"Content-Length: -1\r\n\r\n", post+"X: y\n\r\n", post+" folded: x\r\n\r\n",
		post+"Transfer-Encoding: "+a.pick("gzip", "chunked, chunked", "\x0bchunked")+"\r\n\r\n", post+"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		post+"X: "+strings.Repeat("x", 40_000)+"\r\n\r\n", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /\r\n\r\n", "\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET http://169.254.169.254/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", a.bytes(300)+"\r\n\r\n", post+"Content-Length: 99999999999\r\nConnection: close\r\n\r\nx",
		post+"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx", post+"Expect: x\r\n\r\n",
		post+"Upgrade: h2c\r\nConnection: upgrade, close\r\n\r\n", "GET /openapi.yaml HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	)
	return ammunition{raw: []byte(raw)}
}
