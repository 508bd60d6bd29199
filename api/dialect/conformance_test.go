package dialect

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

var update = flag.Bool("update", false, "write the golden files anew")

// settings are what the account of the tests has defined.
func settings(...string) (*contact.Definitions, error) {
	return contact.NewDefinitions(contact.Settings{
		Revision: 1,
		Tags:     []contact.Tag{{Name: "VIP"}},
		Fields: []contact.CustomField{
			{InternalName: "billing_address", Label: "Billing Address", Type: contact.StringField},
			{InternalName: "score", Label: "Score", Type: contact.NumberField},
			{InternalName: "live", Label: "Live", Type: contact.BooleanField},
		},
	}), nil
}

// wrapped puts members where the bodies of a dialect have them.
func wrapped(d Dialect, members string) string {
	if d.Traits().Name == "routera" {
		return `{"fields":{` + members + `}}`
	}
	return "{" + members + "}"
}

func decode(d Dialect, body string) (Body, error) {
	return d.Decode(contact.KindPatch, Request{Body: []byte(body), Definitions: settings})
}

func TestEveryDialectReadsStrictly(t *testing.T) {
	t.Parallel()
	for _, d := range All() {
		t.Run(d.Traits().Name, func(t *testing.T) {
			t.Parallel()
			if b, err := decode(d, wrapped(d, "")); err != nil || len(b.Fields) > 0 || !b.Patch.Empty() {
				t.Errorf("an empty body: %v %v %+v", err, b.Fields, b.Patch)
			}
			for body, code := range map[string]contact.Code{
				"": contact.CodeInvalidJSON, " ": contact.CodeInvalidJSON, "{": contact.CodeInvalidJSON,
				"{} x": contact.CodeInvalidJSON, "{}{}": contact.CodeInvalidJSON, "{\"a\":\"\xff\"}": contact.CodeInvalidJSON,
				"\ufeff{}": contact.CodeInvalidJSON, `{"a":1,}`: contact.CodeInvalidJSON, `{"a":'b'}`: contact.CodeInvalidJSON,
				"[]": contact.CodeInvalidBody, "null": contact.CodeInvalidBody, `"x"`: contact.CodeInvalidBody, "7": contact.CodeInvalidBody,
			} {
				if _, err := decode(d, body); contact.CodeOf(err) != code {
					t.Errorf("%q: %v, want %s", body, err, code)
				}
			}
			for _, members := range []string{
				`"nonsense":"private"`, `"":1`, `"First_Name":"private"`, `"email ":"private"`, `"__proto__":{}`,
				`"archived_at":null`, `"version":7`, `"created_at":"private"`,
			} {
				b, err := decode(d, wrapped(d, members))
				// Which custom fields are defined is settled behind the decoders.
				if err != nil || (len(b.Fields) == 0 && b.Patch.CustomFields == nil) {
					t.Errorf("%s is taken: %v", members, err)
				}
				for _, f := range b.Fields {
					if strings.Contains(f.Message, "private") {
						t.Errorf("%s: the error repeats a value: %s", members, f.Message)
					}
				}
			}
		})
	}
}

func TestEveryDialectNamesEveryProblem(t *testing.T) {
	t.Parallel()
	members := map[string]string{
		"native": `"email":7,"tags":"x","tags_add":[1,"a",null],"as_of":"now"`, "trustpager": `"email":null,"metadata":[],"sms_unsubscribed":"no"`,
		"routera": `"email":7,"id":"x","first_name":null`, "leadlex": `"email":7,"notes":null,"full_name":[]`,
		"callbell": `"name":7,"tags":{},"custom_fields":"x"`,
	}
	count := map[string]int{"native": 5, "trustpager": 3, "routera": 3, "leadlex": 3, "callbell": 3}
	for _, d := range All() {
		t.Run(d.Traits().Name, func(t *testing.T) {
			t.Parallel()
			name := d.Traits().Name
			b, err := decode(d, wrapped(d, members[name]))
			if err != nil || len(b.Fields) != count[name] || !b.Patch.Empty() && b.Patch.CustomFields == nil {
				t.Errorf("%v, problems %v", err, b.Fields)
			}
		})
	}
}

// aContact is a contact with everything.
func aContact() *contact.Contact {
	c := &contact.Contact{
		Ref:          contact.Ref{ID: uuid.MustParse("414a6d69-2bd6-45ed-803f-2e7ce360d4c8")},
		Tags:         []string{"VIP"},
		CustomFields: json.RawMessage(`{"billing_address":"Main Street 1","score":1.5}`),
		Metadata:     json.RawMessage(`{"a":[1,null]}`),
		Version:      7,
		CreatedAt:    time.Date(2020, 11, 13, 21, 8, 53, 123456000, time.UTC),
		UpdatedAt:    time.Date(2026, 2, 24, 15, 0, 0, 120000000, time.UTC),
	}
	for f, text := range map[contact.Field]string{
		contact.FirstName: "Jane", contact.LastName: "Doe", contact.Email: "jane@example.com", contact.Phone: "+61412345678",
		contact.Landline: "+61299991234", contact.DateOfBirth: "1990-02-28", contact.JobTitle: "CLO", contact.CompanyName: "Acme <Legal>",
		contact.LinkedinURL: "https://linkedin.com/in/jane", contact.AvatarURL: "https://example.com/a.png", contact.Notes: "one\ntwo",
		contact.ContactOwner: "owner@example.com", contact.ExternalID: "crm-17", contact.SourceField: "whatsapp",
	} {
		c.Text[f] = &text
	}
	c.SMSConsent.Out[contact.Manual] = 1
	return c
}

// answers are what a dialect writes, each for a situation.
func answersOf(t *testing.T, d Dialect) map[string][]byte {
	t.Helper()
	frame := Frame{Definitions: settings, Credits: 9498, HrefBase: "https://dash.callbell.eu/contacts/", Query: url.Values{}}
	all := make(map[string][]byte)
	put := func(name string, body []byte, err error) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		all[name] = body
	}
	full, bare := aContact(), &contact.Contact{Ref: contact.Ref{ID: uuid.UUID{15: 1}}, Tags: []string{}}
	gone := aContact()
	gone.ArchivedAt, gone.ArchivedBy = &gone.UpdatedAt, new("0194")
	outcome := &contact.Outcome{WriteID: uuid.UUID{15: 2}, State: contact.Applied, Version: 7, Contact: full}
	body, err := d.Contact(View{Frame: frame, Contact: full})
	put("contact", body, err)
	body, err = d.Contact(View{Frame: frame, Contact: full, Outcome: outcome})
	put("written", body, err)
	body, err = d.Contact(View{Frame: frame, Contact: bare})
	put("bare", body, err)
	body, err = d.Contact(View{Frame: frame, Contact: gone})
	put("archived", body, err)
	asked := frame
	asked.Query = url.Values{"properties": {"phone,email,score"}, "fields": {"email,phone"}, "expand": {"employers"}}
	body, err = d.Contact(View{Frame: asked, Contact: full})
	put("asked", body, err)
	body, err = d.Queued(Accepted{Frame: frame, WriteID: uuid.UUID{15: 2}, Contact: full.ID, AcceptedAt: full.UpdatedAt})
	put("queued", body, err)
	body, err = d.List(Page{Frame: frame, Limit: 25})
	put("none", body, err)
	body, err = d.List(Page{Frame: frame, Contacts: []contact.Contact{*bare}, Limit: 1, Next: "after", Prev: "before"})
	put("page", body, err)
	log := contact.LogPage{Next: "after", Rows: []contact.LogRow{{ID: "a", Field: "notes", Old: json.RawMessage(`"one"`)}}}
	body, err = d.Log(LogPage{Frame: frame, LogPage: &log, Limit: 1})
	put("log", body, err)
	for name, p := range map[string]*Problem{
		"problem": {
			Status: 400, Code: contact.CodeValidationFailed, Title: "Validation failed", Detail: "The request has 3 problems.",
			Fix: "Correct them.", RequestID: "r-1", Fields: []contact.FieldError{
				{Field: "email", Code: contact.ProblemInvalidFormat, Message: "must be one e-mail address without a display name"},
				{Field: "full_name", Code: contact.ProblemRequired, Message: "cannot be blank"},
				{Field: "notes_append", Code: contact.ProblemInvalidCharacters, Message: "must be valid UTF-8"},
				{Field: "custom_fields.score", Code: contact.ProblemInvalidType, Message: "must be a number or null"},
				{Field: "tags[1]", Code: contact.ProblemUnknown, Message: "is not defined in the account's settings"},
			},
		},
		"unauthorized": {Status: 401, Code: contact.CodeUnauthorized, Title: "Unauthorized", Detail: "The key is not known.", Fix: "Send a key."},
		"unwritable":   {Status: 400, Code: "x", Detail: "bad \xff bytes", Fields: []contact.FieldError{{Field: "\xff"}}},
	} {
		body, media := d.Problem(p)
		if !strings.HasSuffix(media, "json") {
			t.Errorf("%s: media type %s", name, media)
		}
		all[name] = body
	}
	return all
}

func TestEveryDialectAnswersInItsEnvelope(t *testing.T) {
	t.Parallel()
	for _, d := range All() {
		t.Run(d.Traits().Name, func(t *testing.T) {
			t.Parallel()
			answers := answersOf(t, d)
			var text strings.Builder
			names := make([]string, 0, len(answers))
			for name := range answers {
				names = append(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				body := answers[name]
				if !json.Valid(body) || !bytes.HasSuffix(body, []byte("\n")) {
					t.Errorf("%s is no line of JSON: %s", name, body)
				}
				fmt.Fprintf(&text, "%s: %s\n", name, body)
			}
			if !bytes.Contains(answers["none"], []byte("[]")) || bytes.Contains(answers["none"], []byte(`"data":null`)) {
				t.Errorf("an empty list: %s", answers["none"])
			}
			golden(t, d.Traits().Name+"/answers.golden", text.String())
		})
	}
}

// TestEveryDialectReadsItsRequests holds what each body means, as the golden
// file says it: "> body" and what it is read as.
func TestEveryDialectReadsItsRequests(t *testing.T) {
	t.Parallel()
	for _, d := range All() {
		t.Run(d.Traits().Name, func(t *testing.T) {
			t.Parallel()
			name := d.Traits().Name + "/requests.golden"
			requests, err := os.ReadFile("testdata/" + name)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			for line := range strings.Lines(string(requests)) {
				body, isRequest := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "> ")
				if !isRequest {
					continue
				}
				b, err := decode(d, body)
				fmt.Fprintf(&text, "> %s\n%s\n", body, meaning(b, err))
			}
			golden(t, name, text.String())
		})
	}
}

// meaning says what a body was read as.
func meaning(b Body, err error) string {
	if e, refused := errors.AsType[*contact.Error](err); refused {
		return "  refused: " + e.Error() + "\n"
	}
	var s strings.Builder
	p := &b.Patch
	for f := range contact.NumFields {
		if v, present := p.Text(f); present {
			fmt.Fprintf(&s, "  %s = %s\n", f, asJSON(v))
		}
	}
	for _, v := range []struct {
		name string
		tags []string
	}{{"tags", p.Tags}, {"tags_add", p.TagsAdd}, {"tags_remove", p.TagsRemove}} {
		if v.tags != nil {
			fmt.Fprintf(&s, "  %s = %s\n", v.name, asJSON(v.tags))
		}
	}
	for _, v := range []struct {
		name  string
		value *string
	}{{"full_name", p.FullName}, {"notes_append", p.NotesAppend}} {
		if v.value != nil {
			fmt.Fprintf(&s, "  %s = %s\n", v.name, asJSON(v.value))
		}
	}
	if p.CustomFields != nil {
		fmt.Fprintf(&s, "  custom_fields = %s\n", asJSON(p.CustomFields))
	}
	if p.Metadata != nil {
		fmt.Fprintf(&s, "  metadata = %s\n", p.Metadata)
	}
	if p.EmailUnsubscribed != nil {
		fmt.Fprintf(&s, "  email_unsubscribed = %t\n", *p.EmailUnsubscribed)
	}
	if p.SMSUnsubscribed != nil {
		fmt.Fprintf(&s, "  sms_unsubscribed = %t\n", *p.SMSUnsubscribed)
	}
	for _, f := range b.Fields {
		fmt.Fprintf(&s, "  problem: %s %s: %s\n", f.Field, f.Code, f.Message)
	}
	return s.String()
}

func asJSON(v any) string {
	b, err := marshal(v)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// golden compares a text with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s:\n%s", name, diff)
	}
}
