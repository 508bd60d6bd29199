package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// vendorKey makes a key of the site's account for a dialect.
func (s *site) vendorKey(account, dialect string) string {
	s.tb.Helper()
	var key struct{ ID, Key string }
	s.command(&key, "admin", "key", "create", "--account", account, "--dialect", dialect, "--scope", "contacts:read",
		"--scope", "contacts:write", "--scope", "contacts:delete", "--scope", "crm_audit:read", "--scope", "settings:write")
	return key.Key
}

// TestVendorsClientsFromEndToEnd sends the requests of the four documents to
// whole processes, each with a key of its dialect and on its documented path.
func TestVendorsClientsFromEndToEnd(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	var account struct{ ID string }
	s.command(&account, "admin", "account", "create", "--name", t.Name())
	keys := make(map[string]string)
	for dialect, prefix := range map[string]string{
		"native": "pl_", "trustpager": "tp_live_", "routera": "", "leadlex": "wbk_", "callbell": "",
	} {
		keys[dialect] = s.vendorKey(account.ID, dialect)
		if !strings.HasPrefix(keys[dialect], prefix) || (prefix == "" && len(keys[dialect]) != 43) {
			t.Errorf("a key of %s begins with %s", dialect, keys[dialect][:8])
		}
	}
	a := s.start("api", "--callbell-href-base", "https://dash.example.com/contacts").ready()
	s.start("worker").ready()
	as := func(dialect, method, path, body string) (*reply, map[string]any) {
		t.Helper()
		c := &demoClient{http: s.http, url: a.API, key: keys[dialect]}
		r, err := c.do(t.Context(), method, path, body)
		if err != nil {
			t.Fatal(err)
		}
		var all map[string]any
		if len(r.raw) > 0 {
			if err := json.Unmarshal(r.raw, &all); err != nil {
				t.Fatalf("%s: %v", r.raw, err)
			}
		}
		return r, all
	}
	create := func(body string) string {
		t.Helper()
		r, _ := as("native", http.MethodPost, "/v1/contacts", body)
		if r.Status != http.StatusCreated {
			t.Fatalf("create: %d %s", r.Status, r.raw)
		}
		return r.Data.ID
	}
	shows := func(r *reply, got any, want map[string]any) {
		t.Helper()
		all, _ := got.(map[string]any)
		if r.Status != http.StatusOK {
			t.Errorf("%d %s", r.Status, r.raw)
		}
		for name, value := range want {
			if diff := cmp.Diff(value, all[name]); diff != "" {
				t.Errorf("%s:\n%s%s", name, diff, r.raw)
			}
		}
	}

	var credits struct{ Credits int64 }
	s.command(&credits, "admin", "account", "credits", "--account", account.ID, "--set", "9500")
	john := create(`{"full_name":"John Smith","email":"john@example.com","phone":"+61412345678","sms_unsubscribed":true}`)
	r, all := as("trustpager", http.MethodPatch, "/functions/v1/api/v1/contacts/"+john, `{ "sms_unsubscribed": false }`)
	shows(r, all["data"], map[string]any{
		"id": john, "first_name": "John", "last_name": "Smith", "email": "john@example.com", "phone": "+61412345678",
		"email_unsubscribed": false, "sms_unsubscribed": false,
	})
	shows(r, all["meta"], map[string]any{"credits_remaining": 9498.0})
	r, all = as("trustpager", http.MethodGet, "/functions/v1/api/v1/data/crm-logs?contact_id="+john+"&field=sms_unsubscribed", "")
	shows(r, all["meta"], map[string]any{"credits_remaining": 9497.0})
	if rows, _ := all["data"].([]any); len(rows) != 2 {
		t.Errorf("audit: %s", r.raw)
	}

	r, all = as("routera", http.MethodPatch, "/contacts/"+john+"?properties=phone",
		`{"fields":{"external_id":"crm-17","contact_owner":"jane@example.com"}}`)
	shows(r, all, map[string]any{
		"id": john, "first_name": "John", "last_name": "Smith", "email": "john@example.com", "archived": false,
		"contact_owner": "jane@example.com", "external_id": "crm-17", "phone": "+61412345678",
	})
	create(`{"external_id":"crm-18"}`)
	if r, _ = as("routera", http.MethodPatch, "/contacts/"+john, `{"fields":{"external_id":"crm-18"}}`); r.Status != http.StatusConflict {
		t.Errorf("duplicate: %d %s", r.Status, r.raw)
	}

	jane := create(`{"full_name":"Jane Doe","email":"jane@example.com","company_name":"Acme Legal",
		"notes":"Met at conference. Interested in legal automation tools."}`)
	r, all = as("leadlex", http.MethodPatch, "/functions/v1/api-gateway/v1/contacts/"+jane,
		`{"job_title": "Chief Legal Officer","notes": "Promoted to CLO in Q1 2026"}`)
	shows(r, all["data"], map[string]any{
		"id": jane, "full_name": "Jane Doe", "email": "jane@example.com", "job_title": "Chief Legal Officer", "company_name": "Acme Legal",
		"notes": "Met at conference. Interested in legal automation tools.\nPromoted to CLO in Q1 2026",
	})
	r, all = as("leadlex", http.MethodPatch, "/v1/contacts/"+jane, `{"phone": "+1-555-9999"}`)
	shows(r, all["data"], map[string]any{"phone": "+1-555-9999"})

	hex := strings.ReplaceAll(john, "-", "")
	r, all = as("callbell", http.MethodPatch, "/v1/contacts/61412345678", `{"name":"UPDATE Doe"}`)
	list, _ := all["contact"].([]any)
	if len(list) != 1 {
		t.Fatalf("callbell: %s", r.raw)
	}
	shows(r, list[0], map[string]any{
		"uuid": hex, "name": "UPDATE Doe", "phoneNumber": "61412345678", "avatarUrl": nil, "source": nil,
		"href": "https://dash.example.com/contacts/" + hex, "tags": []any{}, "customFields": map[string]any{},
	})
}
