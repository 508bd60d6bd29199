package api

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// limitHeaders are those of every reply of a limited key.
func limitHeaders() []string {
	return []string{"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
}

// Every route that asks for a credential counts a request of a limited key, and says
// so, whether it has done what it was asked for or refused it.
func TestLimitHeadersOnEveryRoute(t *testing.T) {
	t.Parallel()
	l := setupTill(t)
	secret := l.limited(contact.Key{PerDay: 1000})
	left := 1000
	paths := strings.NewReplacer("{id}", uuid.NewString(), "{name}", "x", "{token}", "x")
	for _, r := range l.server.routes() {
		for _, mount := range r.mounts {
			body := ""
			if r.method == http.MethodPost || r.method == http.MethodPatch {
				body = `{}`
			}
			a := l.ask(t, secret, r.method, mount+paths.Replace(r.pattern), body)
			if len(r.scopes) == 0 {
				if a.Header.Get("RateLimit") != "" {
					t.Errorf("%s %s: a limit is told where nobody is known", r.method, r.pattern)
				}
				continue
			}
			left--
			for _, name := range limitHeaders() {
				if len(a.Header.Values(name)) != 1 {
					t.Errorf("%s %s%s: %d without one %s", r.method, mount, r.pattern, a.StatusCode, name)
				}
			}
			if got := a.Header.Get("X-RateLimit-Remaining"); got != strconv.Itoa(left) {
				t.Errorf("%s %s%s: %d: %s left, want %d", r.method, mount, r.pattern, a.StatusCode, got, left)
			}
		}
	}
}

// The specification names the headers for every reply of those routes.
func TestLimitHeadersAreSpecified(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(specification)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range setup(t).server.routes() {
		operation := doc.Paths.Value(r.pattern).GetOperation(r.method)
		for status, response := range operation.Responses.Map() {
			for _, name := range limitHeaders() {
				if _, found := response.Value.Headers[name]; !found && len(r.scopes) > 0 {
					t.Errorf("%s %s: %s has no %s", r.method, r.pattern, status, name)
				}
			}
		}
	}
}
