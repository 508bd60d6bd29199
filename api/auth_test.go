package api

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

func TestCredentialsThatAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	past := time.Now().Add(-time.Second)
	b.addKey("pl_expired_key", contact.Key{Account: uuid.New(), Scopes: contact.Scopes(), ExpiresAt: &past})
	b.addKey("pl_revoked_key", contact.Key{Account: uuid.New(), Scopes: contact.Scopes(), RevokedAt: &past})
	b.addKey("pl_strange_key", contact.Key{Account: uuid.New(), Scopes: contact.Scopes(), Dialect: "klingon"})
	for _, header := range []string{
		"", "Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "Bearer short", "Bearer pl_unknown_key",
		"Bearer pl_expired_key", "Bearer pl_revoked_key", "Bearer pl_strange_key", secret,
		"Bearer " + strings.Repeat("x", 600),
	} {
		a := b.send(t, b.server, request{
			method: "GET", path: "/v1/contacts", headers: []string{"Authorization: " + header},
		}).want(t, 401, contact.CodeUnauthorized)
		if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%q: no challenge", header)
		}
	}
	b.do(t, "GET", "/v1/contacts", "", "Authorization: bearer "+secret).want(t, 200, "")
}

func TestScopes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := uuid.NewString()
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v1/contacts", ""},
		{"POST", "/v1/contacts", "{}"},
		{"POST", "/v1/contacts/batch", "{}"},
		{"GET", "/v1/contacts/" + id, ""},
		{"PATCH", "/v1/contacts/" + id, "{}"},
		{"DELETE", "/v1/contacts/" + id, ""},
		{"POST", "/v1/contacts/" + id + "/restore", ""},
		{"GET", "/data/crm-logs", ""},
		{"GET", "/v1/writes", ""},
		{"GET", "/v1/writes/" + id, ""},
		{"POST", "/v1/writes/" + id + "/retry", ""},
		{"POST", "/v1/writes/" + id + "/discard", ""},
	} {
		none := b.addKey("pl_none_"+c.method+c.path, contact.Key{Account: b.key.Account, Scopes: []contact.Scope{"x:y"}})
		a := b.send(t, b.server, request{c.method, c.path, c.body, nil, "pl_none_" + c.method + c.path}).
			want(t, 403, contact.CodeInsufficientScope)
		if !strings.Contains(a.str("detail"), ":") || none.Has(contact.ContactsRead) {
			t.Errorf("%s %s: %s", c.method, c.path, a.raw)
		}
	}
}

func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	send := func(method, path, credential string) response {
		return b.send(t, b.server, request{method: method, path: path, secret: credential})
	}
	send("GET", "/v1/nothing", "").want(t, 404, contact.CodeNotFound)
	send("PUT", "/v1/contacts", "").want(t, 401, contact.CodeUnauthorized)
	a := send("PUT", "/v1/contacts", secret).want(t, 405, contact.CodeMethodNotAllowed)
	if a.Header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("allow %q", a.Header.Get("Allow"))
	}
	if a := send("OPTIONS", "/v1/contacts/"+uuid.NewString(), secret); a.Header.Get("Allow") != "DELETE, GET, HEAD, PATCH" {
		t.Errorf("allow %q", a.Header.Get("Allow"))
	}
	send("GET", "/v1/contacts/batch", secret).want(t, 405, contact.CodeMethodNotAllowed)
	send("DELETE", "/livez", "").want(t, 405, contact.CodeMethodNotAllowed)
	for _, path := range []string{
		"/v1/contacts/", "//", "//v1/contacts", "/v1//contacts", "/v1/../v1/contacts", "/v1/contacts/x", "/v1/contacts/%2e%2e",
		"/v1/contacts/" + strings.ReplaceAll(uuid.NewString(), "-", ""), "/v1/contacts/{" + uuid.NewString() + "}",
		"/v1/contacts/00000000-0000-0000-0000-000000000000", "/v1/writes/1", "/", "/v2/contacts", "/V1/contacts",
	} {
		send("GET", path, secret).want(t, 404, contact.CodeNotFound)
	}
}

func TestOtherAccountsSeeNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	write := b.do(t, "PATCH", "/v1/contacts/"+id, `{}`).str("data.write_id")
	b.addKey("pl_other_account", contact.Key{Account: uuid.New(), Scopes: contact.Scopes()})
	for _, c := range []request{
		{method: "GET", path: "/v1/contacts/" + id},
		{method: "PATCH", path: "/v1/contacts/" + id, body: "{}"},
		{method: "DELETE", path: "/v1/contacts/" + id},
		{method: "POST", path: "/v1/contacts/" + id + "/restore"},
		{method: "GET", path: "/v1/writes/" + write},
		{method: "POST", path: "/v1/writes/" + write + "/retry"},
		{method: "POST", path: "/v1/writes/" + write + "/discard"},
		{method: "GET", path: "/v1/contacts/" + id + "?after=" + write},
	} {
		c.secret = "pl_other_account"
		b.send(t, b.server, c).want(t, 404, contact.CodeNotFound)
	}
	if list := b.send(t, b.server, request{method: "GET", path: "/v1/contacts", secret: "pl_other_account"}); list.at("data.0") != nil {
		t.Fatalf("list %s", list.raw)
	}
}

func TestKeyringAsksWhoKnows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.addKey("pl_only_in_store", contact.Key{Account: uuid.New(), Scopes: contact.Scopes()})
	get := func(s *Server, credential string) response {
		return b.send(t, s, request{method: "GET", path: "/v1/contacts", secret: credential})
	}
	b.set(func() { delete(b.mirror, k.Hash); b.storeDown = errAway })
	get(b.server, "pl_only_in_store").want(t, 503, contact.CodeStoreUnavailable)
	get(b.server, "pl_unknown_at_all").want(t, 503, contact.CodeStoreUnavailable)
	b.set(func() { b.storeDown = nil })
	get(b.server, "pl_only_in_store").want(t, 200, "")
	if _, filled := b.mirror[k.Hash]; !filled {
		t.Fatal("the mirror was not refilled")
	}
	b.set(func() { b.mirrorErr = errAway })
	get(b.newServerAlone(t), "pl_only_in_store").want(t, 200, "")

	get(b.server, "pl_made_just_now").want(t, 401, contact.CodeUnauthorized)
	b.addKey("pl_made_just_now", contact.Key{Account: uuid.New(), Scopes: contact.Scopes()})
	get(b.server, "pl_made_just_now").want(t, 200, "")
}

func TestARedisThatHangsLeavesTimeForTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.redisHangs.Store(true)
		a, took := b.took(t, "GET", "/v1/contacts", "")
		if a.want(t, 200, ""); took != mirrorTimeout {
			t.Errorf("took %v", took)
		}
	})
}

func TestARevokedKeyIsDeadWithinTenSeconds(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(w *world, k contact.Key){
		"in the mirror":     func(w *world, k contact.Key) { w.mirror[k.Hash] = k },
		"in the store only": func(w *world, k contact.Key) { w.changed = []contact.Key{k} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				ended := make(chan error, 1)
				ctx := t.Context()
				go func() { ended <- b.server.Run(ctx) }()
				t.Cleanup(func() {
					if err := <-ended; err != nil {
						t.Error(err)
					}
				})
				b.do(t, "GET", "/v1/contacts", "").want(t, 200, "")
				now := time.Now()
				k := b.key
				k.RevokedAt = &now
				b.set(func() { b.keys[k.Hash] = k; revoke(b.world, k) })
				<-time.After(10 * time.Second)
				b.do(t, "GET", "/v1/contacts", "").want(t, 401, contact.CodeUnauthorized)
			})
		})
	}
}

func TestKeysAndPersonalDataStayOutOfLogs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"very.private@example.com","phone":"+61412345678"}`)
	b.do(t, "GET", "/v1/contacts?email=very.private@example.com", "").want(t, 200, "")
	b.do(t, "PATCH", "/v1/contacts/"+id, `{"email":"very.private"}`).want(t, 400, "")
	b.do(t, "GET", "/very.private@example.com", "").want(t, 404, "")
	b.set(func() { b.storeDown = errAway })
	down := b.do(t, "GET", "/v1/contacts/"+id, "").want(t, 503, contact.CodeStoreUnavailable)
	if strings.Contains(string(down.raw), "10.0.0.7") {
		t.Error("inner text reached the client")
	}
	lines := b.log.String()
	for _, private := range []string{secret, "very.private", "61412345678"} {
		if strings.Contains(lines, private) {
			t.Errorf("%q is in the log", private)
		}
	}
	if n := strings.Count(lines, "\n"); n != 5 {
		t.Errorf("%d lines for 5 requests:\n%s", n, lines)
	}
	families, err := b.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := slices.ContainsFunc(families, func(f *metricFamily) bool {
		return f.GetName() == "patchlane_api_accepts_total" && len(f.GetMetric()) == 4*len(dialect.All())
	})
	if !found {
		t.Error("accepts are not counted, or not from zero")
	}
}
