package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestCreditsAndLimitsOfProcesses pays at two replicas, through a new figure, a
// restart of a replica and a kill of Redis.
func TestCreditsAndLimitsOfProcesses(t *testing.T) {
	t.Parallel()
	s, redis := newSite(t)
	a, b := s.start("api").ready(), s.start("api").ready()
	s.start("worker").ready()

	var account struct{ ID string }
	s.command(&account, "admin", "account", "create", "--name", "metered")
	var key struct{ Key string }
	s.command(&key, "admin", "key", "create", "--account", account.ID, "--dialect", "trustpager", "--per-day", "100",
		"--scope", "contacts:read", "--scope", "contacts:write")
	s.key = key.Key
	path := a.createAt("/functions/v1/api/v1/contacts")

	credits := func(args ...string) int64 {
		t.Helper()
		var c struct{ Credits int64 }
		s.command(&c, append([]string{"admin", "account", "credits", "--account", account.ID}, args...)...)
		return c.Credits
	}
	if n := credits(); n != 2147483647 {
		t.Errorf("%d credits, none were given", n)
	}
	credits("--set", "20")
	pay := func(n *node, method string, status int, left int64) {
		t.Helper()
		body := ""
		if method == http.MethodPatch {
			body = `{"first_name":"Ada"}`
		}
		r := n.do(method, path, body)
		told := fmt.Sprintf(`"credits_remaining":%d}`, left)
		if r.Status != status || status < 300 && !strings.Contains(string(r.raw), told) {
			t.Errorf("%s: %d %s, want %d %s", method, r.Status, r.raw, status, told)
		}
		if r.Header.Get("X-Ratelimit-Limit") != "100" || credits() != left {
			t.Errorf("%s: limit %q, %d left, want %d", method, r.Header.Get("X-Ratelimit-Limit"), credits(), left)
		}
	}
	pay(a, http.MethodPatch, http.StatusOK, 18)
	pay(b, http.MethodGet, http.StatusOK, 17)
	pay(a, http.MethodPatch, http.StatusOK, 15)
	a.stop()
	a.ended()
	a = s.start("api").ready()
	pay(a, http.MethodPatch, http.StatusOK, 13)
	redis.Kill()
	redis.Restart()
	s.eventually(20*time.Second, "reads are counted again", func() error {
		if r := b.do(http.MethodGet, path, ""); r.Header.Get("X-Ratelimit-Limit") == "" {
			return fmt.Errorf("%d %s", r.Status, r.raw)
		}
		return nil
	})
	a.ready()
	credits("--set", "2")
	pay(a, http.MethodPatch, http.StatusOK, 0)
	pay(b, http.MethodPatch, http.StatusForbidden, 0)
	pay(b, http.MethodGet, http.StatusForbidden, 0)
}

// createAt makes a contact under a vendor's path and returns its path there.
func (n *node) createAt(mount string) string {
	n.site.tb.Helper()
	r := n.do(http.MethodPost, mount, `{"first_name":"Ada"}`)
	if r.Status != http.StatusCreated {
		n.site.tb.Fatalf("create: %d %s", r.Status, r.raw)
	}
	return mount + "/" + r.Data.ID
}
