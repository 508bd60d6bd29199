package api

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// curl is a request as a document spells it for a shell.
type curl struct {
	method, url, body string
	headers           []string
}

// document reads a verbatim example of a vendor's document.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("dialect/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documentedCurl reads an example in curl.
func documentedCurl(t *testing.T, name string) curl {
	t.Helper()
	var c curl
	words := shellWords(document(t, name))
	for i := 1; i < len(words); i++ {
		next := func() string { i++; return words[i] }
		switch w := words[i]; w {
		case "-X", "--request":
			c.method = next()
		case "--url":
			c.url = next()
		case "-H", "--header":
			c.headers = append(c.headers, next())
		case "-d", "--data":
			c.body = next()
		default:
			c.url = w
		}
	}
	return c
}

// shellWords splits a command as a shell does, as far as the documents go.
func shellWords(s string) []string {
	var words []string
	var word strings.Builder
	begun := false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\n':
			end()
		case '\\':
			if i++; s[i] != '\n' {
				begun = true
				word.WriteByte(s[i])
			}
		case '\'', '"':
			begun = true
			for i++; s[i] != c; i++ {
				word.WriteByte(s[i])
			}
		default:
			begun = true
			word.WriteByte(c)
		}
	}
	end()
	return words
}

// run sends a documented request to another host, with an id and a key that
// exist there.
func (b *bench) run(t *testing.T, c curl, id, key string) response {
	t.Helper()
	_, path, _ := strings.Cut(strings.TrimPrefix(c.url, "https://"), "/")
	if id != "" {
		path = path[:strings.LastIndex(path, "/")+1] + id
	}
	headers := c.headers
	if key != "" {
		headers = append(headers, "Authorization: Bearer "+key)
	}
	return b.send(t, b.server, request{c.method, "/" + path, c.body, headers, ""})
}

// documented compares a reply with that of a document, member by member, but
// for those that differ from run to run, whose form alone is compared. More
// members than the documented ones are right only if more is allowed.
func (a response) documented(t *testing.T, name string, more bool, varying ...string) {
	t.Helper()
	var want any
	if err := json.Unmarshal([]byte(document(t, name)), &want); err != nil {
		t.Fatal(err)
	}
	vary := make(map[string]bool)
	for _, v := range varying {
		vary[v] = true
	}
	agree(t, "", want, any(a.json), more, vary)
}

func agree(t *testing.T, path string, want, got any, more bool, vary map[string]bool) {
	t.Helper()
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s: got %v, want an object", path, got)
			return
		}
		for name, value := range w {
			if _, found := g[name]; !found {
				t.Errorf("%s: no member %s", path, name)
			}
			inner := strings.TrimPrefix(path+"."+name, ".")
			agree(t, inner, value, g[name], more, vary)
		}
		for name := range g {
			if _, found := w[name]; !found && (!more || path != "data") {
				t.Errorf("%s: the document has no member %s", path, name)
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			t.Errorf("%s: got %v, want %v", path, got, want)
			return
		}
		for i := range w {
			agree(t, path, w[i], g[i], more, vary)
		}
	default:
		if vary[path] {
			if got == nil {
				t.Errorf("%s: got null", path)
			}
			return
		}
		if got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}

func TestTrustPagerDocument(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	id := b.create(t, `{"first_name":"John","last_name":"Smith","email":"john@example.com",
		"phone":"+61412345678","sms_unsubscribed":true}`)
	c := documentedCurl(t, "trustpager/document.curl")
	a := b.run(t, c, id, trustpagerKey).status(t, 200)
	a.documented(t, "trustpager/document.reply.json", true, "data.id", "data.updated_at", "meta.credits_remaining")
	a.equal(t, map[string]any{"data.id": id, "data.version": 2})
	if !strings.HasSuffix(a.str("data.updated_at"), "Z") {
		t.Errorf("updated_at %s", a.raw)
	}
	// As it stands in the document, with a path that names no contact.
	b.run(t, c, "", trustpagerKey).status(t, 404).equal(t, map[string]any{"error.code": "NOT_FOUND"})
	b.run(t, c, id, "").status(t, 401).equal(t, map[string]any{"error.code": "UNAUTHORIZED"})
}

func TestLeadLexDocument(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	const id = "123e4567-e89b-12d3-a456-426614174000"
	c := documentedCurl(t, "leadlex/document.curl")
	b.run(t, c, "", "").status(t, 404).equal(t, map[string]any{"error.code": "not_found"})
	b.create(t, `{"id":"`+id+`","full_name":"Jane Doe","email":"jane@example.com","company_name":"Acme Legal",
		"notes":"Met at conference. Interested in legal automation tools."}`)
	a := b.run(t, c, "", "").status(t, 200)
	a.documented(t, "leadlex/document.reply.json", true, "data.updated_date")
	if a.at("meta") != nil || a.at("data.updated_at") != nil || !strings.HasSuffix(a.str("data.updated_date"), "Z") {
		t.Errorf("reply %s", a.raw)
	}
	single := documentedCurl(t, "leadlex/single.curl")
	b.run(t, single, "", "").status(t, 404).equal(t, map[string]any{"error.code": "not_found"})
	b.run(t, single, id, "").status(t, 200).equal(t, map[string]any{
		"data.phone": "+1-555-9999", "data.job_title": "Chief Legal Officer", "data.full_name": "Jane Doe",
	})
	// The generic example has placeholders for values: what cannot be one is
	// refused, all of it at once.
	generic := b.run(t, documentedCurl(t, "leadlex/generic.curl"), id, leadlexKey).status(t, 400)
	if got := generic.keys("error.details.fields"); strings.Join(got, " ") != "email linkedin_url phone" {
		t.Errorf("fields %v", got)
	}
	b.as(t, leadlexKey, "PATCH", "/v1/contacts/"+id, `{"email":"not an address"}`).status(t, 400).
		documented(t, "leadlex/document.error.json", false)
}

func TestCallbellDocument(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	id := b.create(t, `{"full_name":"John Doe","source":"whatsapp"}`)
	b.as(t, leadlexKey, "PATCH", "/v1/contacts/"+id, `{"phone":"+123456789"}`).status(t, 200)
	a := b.as(t, callbellKey, "PATCH", callbellPath+hexID(id), `{"name":"UPDATE Doe","tags":[],"custom_fields":{}}`).status(t, 200)
	a.documented(t, "callbell/document.reply.json", false, "contact.uuid", "contact.createdAt", "contact.href")
	a.equal(t, map[string]any{
		"contact.0.uuid": hexID(id), "contact.0.href": "https://dash.callbell.eu/contacts/" + hexID(id),
	})
	if created := a.str("contact.0.createdAt"); len(created) != len("2020-11-13T21:08:53Z") {
		t.Errorf("createdAt %s", created)
	}
}

// TestRouteraDocument holds the default properties of Routera's document, which
// has no example.
func TestRouteraDocument(t *testing.T) {
	t.Parallel()
	b := vendors(t)
	id := b.create(t, `{"full_name":"Jane Doe","email":"jane.doe@example.com"}`)
	a := b.as(t, routeraKey, "PATCH", routeraPath+id,
		`{"fields":{"contact_owner":"jane@example.com","external_id":"crm-17","first_name":"Janet"}}`).status(t, 200)
	want := "archived contact_owner created_at email external_id first_name id last_name updated_at"
	if got := strings.Join(a.keys(""), " "); got != want {
		t.Errorf("properties %s", got)
	}
	a.equal(t, map[string]any{
		"id": id, "first_name": "Janet", "last_name": "Doe", "email": "jane.doe@example.com",
		"contact_owner": "jane@example.com", "external_id": "crm-17", "archived": false,
	})
	for _, name := range []string{"created_at", "updated_at"} {
		if got := a.str(name); len(got) != len("2026-05-28T12:00:00.000Z") || !strings.HasSuffix(got, "Z") {
			t.Errorf("%s %s", name, got)
		}
	}
	b.as(t, "", "PATCH", routeraPath+uuid.NewString(), `{"fields":{}}`).status(t, 401).equal(t, map[string]any{
		"message": "Unauthorized: missing account context", "error": true,
	})
}
