package api

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// The keys of the vendors' clients, all of one account.
const (
	trustpagerKey = "tp_live_0123456789abcdef"
	routeraKey    = "routera-0123456789abcdef"
	leadlexKey    = "wbk_your_api_key_here"
	callbellKey   = "callbell-0123456789abcdef"
)

// The documented paths, up to the id.
const (
	trustpagerPath = "/functions/v1/api/v1/contacts/"
	routeraPath    = "/contacts/"
	leadlexPath    = "/functions/v1/api-gateway/v1/contacts/"
	callbellPath   = "/v1/contacts/"
)

// vendors is a bench with a key for every vendor's dialect.
func vendors(t *testing.T) *bench {
	t.Helper()
	b := setup(t)
	for dialect, key := range map[string]string{
		"trustpager": trustpagerKey, "routera": routeraKey, "leadlex": leadlexKey, "callbell": callbellKey,
	} {
		b.addKey(key, contact.Key{Account: b.key.Account, Dialect: dialect, Scopes: contact.Scopes()})
	}
	return b
}

// as sends a request with a key.
func (b *bench) as(t *testing.T, key, method, path, body string, headers ...string) response {
	t.Helper()
	return b.send(t, b.server, request{method, path, body, headers, key})
}

// status checks the status alone.
func (a response) status(t *testing.T, want int) response {
	t.Helper()
	if a.StatusCode != want {
		t.Fatalf("got %d, want %d\n%s", a.StatusCode, want, a.raw)
	}
	return a
}

// keys are the names of an object's members, sorted.
func (a response) keys(path string) []string {
	node, _ := a.at(path).(map[string]any)
	if path == "" {
		node = a.json
	}
	names := make([]string, 0, len(node))
	for name := range node {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// absent is what equal wants of a member that must not be there.
type absent struct{}

// equal checks the values at paths; nil is null, and must be there.
func (a response) equal(t *testing.T, want map[string]any) {
	t.Helper()
	for path, value := range want {
		got, there := a.find(path)
		if _, none := value.(absent); none || !there {
			if none == there {
				t.Errorf("%s is there: %t\n%s", path, there, a.raw)
			}
			continue
		}
		w, _ := json.Marshal(value)
		if g, _ := json.Marshal(got); string(g) != string(w) {
			t.Errorf("%s is %s, want %s\n%s", path, g, w, a.raw)
		}
	}
}

// says checks that an error's text has all of the parts, wherever.
func (a response) says(t *testing.T, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(string(a.raw), part) {
			t.Errorf("the error does not say %q: %s", part, a.raw)
		}
	}
}

func hexID(id string) string { return strings.ReplaceAll(id, "-", "") }

func TestTheCredentialDecidesTheDialect(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	id := b.create(t, `{"full_name":"Jane Doe"}`)
	for _, mount := range []string{trustpagerPath, routeraPath, leadlexPath, callbellPath} {
		for key, path := range map[string]string{
			secret: "data.version", trustpagerKey: "meta.credits_remaining", routeraKey: "archived",
			leadlexKey: "data.updated_date", callbellKey: "contact.0.uuid",
		} {
			a := b.as(t, key, "GET", mount+id, "").status(t, 200)
			if a.at(path) == nil {
				t.Errorf("%s with %s: no %s in %s", mount, key, path, a.raw)
			}
		}
	}
}

func TestMissingCredentialsAnswerInThePathsShape(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	id := uuid.NewString()
	for _, c := range []struct{ path, key, at, want string }{
		{trustpagerPath + id, "", "error.code", "UNAUTHORIZED"},
		{trustpagerPath + id, "pl_unknown_key", "error.code", "UNAUTHORIZED"},
		{routeraPath + id, "", "message", "Unauthorized: missing account context"},
		{"/contacts", "unknown-key", "message", "Unauthorized: missing account context"},
		{leadlexPath + id, "", "error.code", "invalid_key"},
		{"/v1/contacts/" + id, "wbk_unknown_key", "error.code", "invalid_key"},
		{"/v1/contacts/" + id, "", "code", "unauthorized"},
		{"/v1/contacts/" + id, "unknown-key", "code", "unauthorized"},
		{"/functions/v1/api/v1/data/crm-logs", "", "error.code", "UNAUTHORIZED"},
	} {
		for _, method := range []string{"GET", "PATCH"} {
			a := b.as(t, c.key, method, c.path, "").status(t, 401)
			if a.str(c.at) != c.want || a.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with %q: %s", method, c.path, c.key, a.raw)
			}
		}
	}
}

func TestVendorsWaitByDefault(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	id := b.create(t, `{"full_name":"Jane Doe"}`)
	b.set(func() { b.paused = true })
	for _, c := range []struct{ key, path, body, at string }{
		{trustpagerKey, trustpagerPath + id, `{}`, "data.write_id"},
		{routeraKey, routeraPath + id, `{"fields":{}}`, "write_id"},
		{leadlexKey, leadlexPath + id, `{}`, "data.write_id"},
		{callbellKey, callbellPath + hexID(id), `{}`, "contact.0.writeId"},
	} {
		for _, prefer := range []string{"respond-async", "wait=0"} {
			a := b.as(t, c.key, "PATCH", c.path, c.body, "Prefer: "+prefer).status(t, 202)
			write := a.str(c.at)
			if a.Header.Get("Location") != "/v1/writes/"+write || len(write) != 36 {
				t.Errorf("%s: %v %s", c.path, a.Header, a.raw)
			}
			b.as(t, c.key, "GET", a.Header.Get("Location"), "").status(t, 200)
		}
	}
	b.resume()
	for _, c := range []struct{ key, path, body, at string }{
		{trustpagerKey, trustpagerPath + id, `{}`, "data.id"},
		{routeraKey, routeraPath + id, `{"fields":{}}`, "id"},
		{leadlexKey, leadlexPath + id, `{}`, "data.id"},
		{callbellKey, callbellPath + hexID(id), `{}`, "contact.0.uuid"},
	} {
		a := b.as(t, c.key, "PATCH", c.path, c.body).status(t, 200)
		if got := a.str(c.at); hexID(got) != hexID(id) {
			t.Errorf("%s: %s", c.path, a.raw)
		}
	}
}

func TestABodyOfAnotherDialectIsToldSo(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	id := b.create(t, `{"full_name":"Jane Doe"}`)
	bodies := map[string]string{
		"native": `{"notes_append":"x"}`, "trustpager": `{"landline":"+61299991234"}`,
		"routera": `{"fields":{"first_name":"J"}}`, "leadlex": `{"linkedin_url":"https://x.example/j"}`,
		"callbell": `{"name":"J"}`,
	}
	for speaks, key := range map[string]string{
		"native": secret, "trustpager": trustpagerKey, "routera": routeraKey, "leadlex": leadlexKey, "callbell": callbellKey,
	} {
		for of, body := range bodies {
			if of == speaks || (speaks == "native" && (of == "trustpager" || of == "leadlex")) {
				continue
			}
			a := b.as(t, key, "PATCH", "/v1/contacts/"+id, body).status(t, 400)
			a.says(t, "in the bodies of "+speaks+", which this key speaks", of)
		}
	}
	if n := len(b.appended); n != 1 {
		t.Errorf("%d writes were accepted", n-1)
	}
}

// TestEveryEnvelopeForEveryError holds each dialect's envelope for the errors
// that are made before and after its decoder.
func TestEveryEnvelopeForEveryError(t *testing.T) {
	t.Parallel()
	for _, d := range []struct {
		dialect, key, path, body, code string
		// codes of: bad JSON, no object, a bad value, no scope, no contact,
		// wrong method, archived, if-match, too large, media type, reused key.
		codes [11]string
	}{
		{"trustpager", trustpagerKey, trustpagerPath, `{"email":%}`, "error.code", [11]string{
			"INVALID_BODY", "INVALID_BODY", "VALIDATION_ERROR", "INSUFFICIENT_SCOPE", "NOT_FOUND",
			"NOT_FOUND", "CONFLICT", "CONFLICT", "INVALID_BODY", "INVALID_BODY", "CONFLICT",
		}},
		{"routera", routeraKey, routeraPath, `{"fields":{"email":%}}`, "code", [11]string{
			"invalid_json", "invalid_body", "validation_failed", "insufficient_scope", "not_found",
			"method_not_allowed", "archived", "precondition_failed", "payload_too_large", "unsupported_media_type", "idempotency_key_reused",
		}},
		{"leadlex", leadlexKey, leadlexPath, `{"email":%}`, "error.code", [11]string{
			"validation_error", "validation_error", "validation_error", "insufficient_permissions", "not_found",
			"not_found", "conflict", "precondition_failed", "payload_too_large", "unsupported_media_type", "idempotency_key_reused",
		}},
		{"callbell", callbellKey, callbellPath, `{"name":%}`, "error.code", [11]string{
			"invalid_json", "invalid_body", "validation_failed", "insufficient_scope", "not_found",
			"method_not_allowed", "archived", "precondition_failed", "payload_too_large", "unsupported_media_type", "idempotency_key_reused",
		}},
	} {
		t.Run(d.path, func(t *testing.T) {
			t.Parallel()
			b := vendors(t)
			reader := d.key + "-reader"
			b.addKey(reader, contact.Key{Account: b.key.Account, Dialect: d.dialect, Scopes: []contact.Scope{contact.ContactsRead}})
			id := b.create(t, `{"full_name":"Jane Doe"}`)
			gone := b.create(t, `{"full_name":"Old Doe"}`)
			b.do(t, "DELETE", "/v1/contacts/"+gone, "").status(t, 204)
			good := strings.ReplaceAll(d.body, "%", `"jane@example.com"`)
			b.as(t, d.key, "PATCH", d.path+id, good, "Idempotency-Key: k").status(t, 200)
			for i, c := range []struct {
				key, method, path, body string
				headers                 []string
				status                  int
			}{
				{d.key, "PATCH", d.path + id, `{`, nil, 400},
				{d.key, "PATCH", d.path + id, `[]`, nil, 400},
				{d.key, "PATCH", d.path + id, strings.ReplaceAll(d.body, "%", "7"), nil, 400},
				{reader, "PATCH", d.path + id, good, nil, 403},
				{d.key, "PATCH", d.path + uuid.NewString(), good, nil, 404},
				{d.key, "PUT", d.path + id, good, nil, 405},
				{d.key, "PATCH", d.path + gone, good, nil, 409},
				{d.key, "PATCH", d.path + id, good, []string{`If-Match: "9"`}, 412},
				{d.key, "PATCH", d.path + id, strings.ReplaceAll(d.body, "%", `"`+strings.Repeat("x", 1<<20)+`"`), nil, 413},
				{d.key, "PATCH", d.path + id, good, []string{"Content-Type: text/plain"}, 415},
				{d.key, "PATCH", d.path + id, strings.ReplaceAll(d.body, "%", `"other@example.com"`), []string{"Idempotency-Key: k"}, 422},
			} {
				a := b.as(t, c.key, c.method, c.path, c.body, c.headers...).status(t, c.status)
				if a.str(d.code) != d.codes[i] {
					t.Errorf("%d is %q, want %q: %s", c.status, a.str(d.code), d.codes[i], a.raw)
				}
			}
		})
	}
}
