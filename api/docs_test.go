package api

import (
	"strings"
	"testing"
)

// The page shows every operation of the specification, and needs nothing from
// anywhere else.
func TestDocsShowEveryOperation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.do(t, "GET", "/docs", "").want(t, 200, "")
	for _, r := range b.server.routes() {
		if r.method == "HEAD" {
			continue
		}
		if !strings.Contains(string(a.raw), "<code>"+r.pattern+"</code>") {
			t.Errorf("%s %s is not on the page", r.method, r.pattern)
		}
	}
	for _, outside := range []string{"<script", "http-equiv", "src=", "@import", "url("} {
		if strings.Contains(string(a.raw), outside) {
			t.Errorf("the page has %s", outside)
		}
	}
	if policy := a.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("policy %q", policy)
	}
}

func TestDocsOfABrokenSpecification(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"\t", "components: {responses: 3}", "paths: {/x: {get: {operationId: [1]}}}"} {
		if _, err := renderDocs([]byte(spec)); err == nil {
			t.Errorf("%q was rendered", spec)
		}
	}
}
