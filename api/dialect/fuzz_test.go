package dialect

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"patchlane/tasks/contact"
)

func FuzzTrustPager(f *testing.F) { fuzzDecoder(f, TrustPager{}) }
func FuzzRoutera(f *testing.F)    { fuzzDecoder(f, Routera{}) }
func FuzzLeadLex(f *testing.F)    { fuzzDecoder(f, LeadLex{}) }
func FuzzCallbell(f *testing.F)   { fuzzDecoder(f, Callbell{}) }

// fuzzDecoder: nothing makes a decoder panic or grow an answer without end, no
// member of an accepted body is dropped, and reading twice reads the same.
func fuzzDecoder(f *testing.F, d Dialect) {
	f.Helper()
	for _, seed := range []string{
		`{}`, `[]`, `{"fields":{}}`, `{"fields":{"first_name":"J","score":1,"live":null}}`, `{"fields":{"a":1,"a":2}}`,
		`{"sms_unsubscribed":false,"metadata":{"a":{}}}`, `{"last_name":null,"phone":"+61412345678"}`,
		`{"full_name":"J D","notes":"x","phone":"+1-555-9999"}`, `{"name":"J","tags":"a, b","custom_fields":{"Score":" 1"}}`,
		`{"tags":["a",1],"custom_fields":{"Billing Address":"x","billing_address":null}}`, "{\"notes\":\"\xff\"}", `{"notes":"\ud800"}`,
		`{"custom_fields":{"Score":"1e400","Live":"TRUE"}}`, `{"":{}}`, `{} x`, "\ufeff{}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := slices.Clone(body)
		b, err := d.Decode(contact.KindPatch, Request{Body: body, Definitions: settings})
		if !bytes.Equal(before, body) {
			t.Fatal("the body was changed")
		}
		again, errAgain := d.Decode(contact.KindPatch, Request{Body: body, Definitions: settings})
		if meaning(b, err) != meaning(again, errAgain) {
			t.Fatal("read differently the second time")
		}
		if err != nil {
			if code := contact.CodeOf(err); code != contact.CodeInvalidJSON && code != contact.CodeInvalidBody {
				t.Fatalf("code %s", code)
			}
			return
		}
		if len(b.Fields) > MaxProblems {
			t.Fatalf("%d problems", len(b.Fields))
		}
		answer, _ := d.Problem(&Problem{Status: 400, Code: contact.CodeValidationFailed, Fields: b.Fields})
		if !json.Valid(answer) {
			t.Fatalf("the answer is no JSON: %s", answer)
		}
		if len(b.Fields) > 0 {
			return
		}
		if want, got := membersOf(t, d, body), membersIn(&b.Patch); want != got {
			t.Fatalf("%d members were read as %d", want, got)
		}
		if len(b.Patch.Validate(contact.Rules{Now: time.Unix(1, 0), LaxPhone: b.LaxPhone})) == 0 {
			_ = contact.Encode(&contact.Write{Patch: b.Patch})
		}
	})
}

// membersOf counts the members of an accepted body; those of fields and of
// custom_fields each count.
func membersOf(t *testing.T, d Dialect, body []byte) int {
	t.Helper()
	var top map[string]json.RawMessage
	if err := json.Unmarshal(body, &top); err != nil {
		t.Fatalf("accepted what is no JSON object: %v", err)
	}
	n := len(top)
	for name, nested := range map[string]string{"routera": "fields", "callbell": "custom_fields"} {
		raw, there := top[nested]
		if !there || d.Traits().Name != name {
			continue
		}
		var inner map[string]json.RawMessage
		if err := json.Unmarshal(raw, &inner); err != nil {
			t.Fatalf("%s is no object: %v", nested, err)
		}
		n += len(inner) - 1
	}
	return n
}

// membersIn counts what a patch changes.
func membersIn(p *contact.Patch) int {
	n := len(p.CustomFields)
	for f := range contact.NumFields {
		if _, present := p.Text(f); present {
			n++
		}
	}
	for _, there := range []bool{
		p.FullName != nil, p.NotesAppend != nil, p.Tags != nil, p.TagsAdd != nil, p.TagsRemove != nil,
		p.Metadata != nil, p.MetadataMerge != nil, p.EmailUnsubscribed != nil, p.SMSUnsubscribed != nil,
	} {
		if there {
			n++
		}
	}
	return n
}

// FuzzLocate: whatever a path names, it is an id or a number, or refused.
func FuzzLocate(f *testing.F) {
	for _, seed := range []string{
		"414a6d692bd645ed803f2e7ce360d4c8", "414a6d69-2bd6-45ed-803f-2e7ce360d4c8", "+61412345678", "61412345678", "", "{}", "００００００",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		for _, d := range All() {
			at, err := d.Locate(id)
			var none Location
			if named := at.ID != none.ID || len(at.Phones) > 0; named != (err == nil) {
				t.Fatalf("%s: %q is %+v, %v", d.Traits().Name, id, at, err)
			}
			if code := contact.CodeOf(err); err != nil && code != contact.CodeNotFound && code != contact.CodeValidationFailed {
				t.Fatalf("code %s", code)
			}
		}
	})
}
