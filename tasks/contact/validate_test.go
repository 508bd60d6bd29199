package contact

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

// rules are as of the epoch of the tests: 2026-11-22, 03:00 UTC.
func rules() Rules { return Rules{Now: epoch} }

// textPatch returns a patch with one text member.
func textPatch(f Field, v string) *Patch {
	p := new(Patch)
	p.SetText(f, &v)
	return p
}

func TestValidateText(t *testing.T) {
	t.Parallel()
	host63 := strings.Repeat("h", 63)
	long := strings.Repeat("a", 64) + "@" + host63 + "." + host63 + "." + host63[:57] + ".org"
	tests := map[string]struct {
		field Field
		value string
		want  string // stored; "" with code: refused
		code  string
	}{
		"first name is trimmed":            {FirstName, " \tJo Ann ", "Jo Ann", ""},
		"first name empty":                 {FirstName, "", "", ProblemRequired},
		"first name blank":                 {FirstName, " \u00a0 ", "", ProblemRequired},
		"first name with NUL":              {FirstName, "a\x00b", "", ProblemInvalidCharacters},
		"first name not UTF-8":             {FirstName, "a\xff", "", ProblemInvalidCharacters},
		"last name is trimmed":             {LastName, " Doe ", "Doe", ""},
		"email keeps its local part":       {Email, "Jo.Doe+x@EXAMPLE.Org", "Jo.Doe+x@example.org", ""},
		"email international kept":         {Email, "jo@BÜCHER.example", "jo@bücher.example", ""},
		"email punycode":                   {Email, "jo@XN--BCHER-KVA.example", "jo@xn--bcher-kva.example", ""},
		"email empty":                      {Email, "", "", ProblemInvalidFormat},
		"email without at":                 {Email, "jo.example.org", "", ProblemInvalidFormat},
		"email with display name":          {Email, "Jo <jo@example.org>", "", ProblemInvalidFormat},
		"email in brackets":                {Email, "<jo@example.org>", "", ProblemInvalidFormat},
		"email with white space":           {Email, " jo@example.org", "", ProblemInvalidFormat},
		"email with comment":               {Email, "jo@example.org (Jo)", "", ProblemInvalidFormat},
		"two emails":                       {Email, "a@example.org, b@example.org", "", ProblemInvalidFormat},
		"email domain with underscore":     {Email, "jo@ex_ample.org", "", ProblemInvalidFormat},
		"email domain with leading hyphen": {Email, "jo@-example.org", "", ProblemInvalidFormat},
		"email domain bad punycode":        {Email, "jo@xn--0.example", "", ProblemInvalidFormat},
		"email domain literal":             {Email, "jo@[127.0.0.1]", "", ProblemInvalidFormat},
		"email label of 64":                {Email, "jo@" + host63 + "x.org", "", ProblemInvalidFormat},
		"email of 254 bytes":               {Email, long[4:][:254-4] + ".org", "", ""},
		"email of 255 bytes":               {Email, "a" + long[:254], "", ProblemInvalidFormat},
		"email header injection":           {Email, "jo@example.org\r\nBcc: x@y.z", "", ProblemInvalidFormat},
		"owner is an email":                {ContactOwner, "Sales@Example.org", "Sales@example.org", ""},
		"owner is a name":                  {ContactOwner, "Sales", "", ProblemInvalidFormat},
		"mobile":                           {Phone, "+61412345678", "+61412345678", ""},
		"mobile or fixed":                  {Phone, "+12025550123", "+12025550123", ""},
		"fixed line as phone":              {Phone, "+61299991234", "", ProblemInvalidFormat},
		"phone without plus":               {Phone, "61412345678", "", ProblemInvalidFormat},
		"phone with spaces":                {Phone, "+61 412 345 678", "", ProblemInvalidFormat},
		"phone with trunk prefix":          {Phone, "+610412345678", "", ProblemInvalidFormat},
		"phone too short":                  {Phone, "+1555", "", ProblemInvalidFormat},
		"phone with unknown country":       {Phone, "+999123456789", "", ProblemInvalidFormat},
		"phone with wide digits":           {Phone, "+６１４12345678", "", ProblemInvalidFormat},
		"phone with letters":               {Phone, "+1800FLOWERS", "", ProblemInvalidFormat},
		"phone of 16 digits":               {Phone, "+6141234567890123", "", ProblemInvalidFormat},
		"phone empty":                      {Phone, "", "", ProblemInvalidFormat},
		"landline fixed":                   {Landline, "+61299991234", "+61299991234", ""},
		"landline may be a mobile":         {Landline, "+61412345678", "+61412345678", ""},
		"landline invalid":                 {Landline, "+6129999", "", ProblemInvalidFormat},
		"day":                              {DateOfBirth, "1990-02-28", "1990-02-28", ""},
		"leap day":                         {DateOfBirth, "2000-02-29", "2000-02-29", ""},
		"no leap day":                      {DateOfBirth, "2023-02-29", "", ProblemInvalidFormat},
		"impossible day":                   {DateOfBirth, "2026-02-30", "", ProblemInvalidFormat},
		"day with time":                    {DateOfBirth, "1990-02-28T00:00:00Z", "", ProblemInvalidFormat},
		"short day":                        {DateOfBirth, "1990-2-8", "", ProblemInvalidFormat},
		"year zero":                        {DateOfBirth, "0000-01-01", "", ProblemInvalidFormat},
		"today":                            {DateOfBirth, "2026-11-22", "2026-11-22", ""},
		"tomorrow, nowhere yet":            {DateOfBirth, "2026-11-23", "", ProblemInFuture},
		"day empty":                        {DateOfBirth, "", "", ProblemInvalidFormat},
		"job title of 500":                 {JobTitle, strings.Repeat("é", 500), strings.Repeat("é", 500), ""},
		"job title of 501":                 {JobTitle, strings.Repeat("é", 501), "", ProblemTooLong},
		"job title is not trimmed":         {JobTitle, " CEO ", " CEO ", ""},
		"company of 501":                   {CompanyName, strings.Repeat("c", 501), "", ProblemTooLong},
		"source of 100":                    {SourceField, strings.Repeat("ü", 100), strings.Repeat("ü", 100), ""},
		"source of 101":                    {SourceField, strings.Repeat("s", 101), "", ProblemTooLong},
		"external id of 255 bytes":         {ExternalID, strings.Repeat("x", 255), strings.Repeat("x", 255), ""},
		"external id of 256 bytes":         {ExternalID, strings.Repeat("é", 128), "", ProblemTooLong},
		"external id empty":                {ExternalID, "", "", ProblemRequired},
		"url":                              {LinkedinURL, "HTTPS://linkedin.com/in/jo?x=1#y", "HTTPS://linkedin.com/in/jo?x=1#y", ""},
		"url relative":                     {LinkedinURL, "/in/jo", "", ProblemInvalidFormat},
		"url without scheme":               {LinkedinURL, "linkedin.com/in/jo", "", ProblemInvalidFormat},
		"url without host":                 {LinkedinURL, "http:///in/jo", "", ProblemInvalidFormat},
		"url with port alone":              {LinkedinURL, "http://:80/", "", ProblemInvalidFormat},
		"url of a script":                  {AvatarURL, "javascript:alert(1)", "", ProblemInvalidFormat},
		"url of a file":                    {AvatarURL, "file:///etc/passwd", "", ProblemInvalidFormat},
		"url with space":                   {AvatarURL, "https://x.org/a b", "", ProblemInvalidFormat},
		"url with control character":       {AvatarURL, "https://x.org/a\u0085b", "", ProblemInvalidFormat},
		"url of 2048":                      {AvatarURL, "https://x.org/" + strings.Repeat("p", 2034), "https://x.org/" + strings.Repeat("p", 2034), ""},
		"url of 2049":                      {AvatarURL, "https://x.org/" + strings.Repeat("p", 2035), "", ProblemTooLong},
		"notes keep every character":       {Notes, " '); DROP TABLE x; --\n\t\u202e<b>& ", " '); DROP TABLE x; --\n\t\u202e<b>& ", ""},
		"notes with NUL":                   {Notes, "\x00", "", ProblemInvalidCharacters},
		"notes not UTF-8":                  {Notes, "\xed\xa0\x80", "", ProblemInvalidCharacters},
		"notes may be empty":               {Notes, "", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := textPatch(tt.field, tt.value)
			problems := p.Validate(rules())
			if tt.code == "" {
				got, _ := p.Text(tt.field)
				if len(problems) != 0 || got == nil || (tt.want != "" && *got != tt.want) {
					t.Fatalf("problems %v, stored %v, want %q", problems, got, tt.want)
				}
				return
			}
			expectProblem(t, problems, tt.field.String(), tt.code)
			if len(tt.value) > 4 && strings.Contains(problems[0].Message, tt.value) {
				t.Error("the message holds the value")
			}
		})
	}
}

func expectProblem(t *testing.T, problems []FieldError, field, code string) {
	t.Helper()
	for _, p := range problems {
		if p.Field == field && p.Code == code && p.Message != "" {
			return
		}
	}
	t.Fatalf("got %+v, want %s: %s", problems, field, code)
}

func TestValidateNull(t *testing.T) {
	t.Parallel()
	for f := range NumFields {
		p := new(Patch)
		p.SetText(f, nil)
		problems := p.Validate(rules())
		if f == FirstName {
			expectProblem(t, problems, "first_name", ProblemRequired)
		} else if len(problems) != 0 {
			t.Errorf("null %s: %v", f, problems)
		}
	}
	for _, blank := range []string{"", "  ", "\n\t"} {
		p := textPatch(LastName, blank)
		if problems := p.Validate(rules()); len(problems) != 0 {
			t.Errorf("blank last name: %v", problems)
		}
		if v, present := p.Text(LastName); v != nil || !present {
			t.Errorf("blank last name is stored as %v", v)
		}
	}
}

func TestValidateFullName(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ full, first, last string }{
		"two words":   {"Jo Doe", "Jo", "Doe"},
		"three words": {"  Jo\tAnn \n Doe ", "Jo Ann", "Doe"},
		"one word":    {" Madonna ", "Madonna", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &Patch{FullName: &tt.full}
			if problems := p.Validate(rules()); len(problems) != 0 || p.FullName != nil {
				t.Fatalf("problems %v, full name %v", problems, p.FullName)
			}
			var c Contact
			c.Text = p.text
			if got, want := *c.FullName(), strings.Join(strings.Fields(tt.full), " "); got != want {
				t.Errorf("reads back as %q, want %q", got, want)
			}
			last, present := p.Text(LastName)
			if *p.text[FirstName] != tt.first || !present || (last == nil) != (tt.last == "") || (last != nil && *last != tt.last) {
				t.Errorf("split into %q and %v", *p.text[FirstName], last)
			}
		})
	}
	expectProblem(t, (&Patch{FullName: new(" \t")}).Validate(rules()), "full_name", ProblemRequired)
	expectProblem(t, (&Patch{FullName: new("a\x00")}).Validate(rules()), "full_name", ProblemInvalidCharacters)
	for _, f := range []Field{FirstName, LastName} {
		p := textPatch(f, "x")
		p.FullName = new("Jo Doe")
		expectProblem(t, p.Validate(rules()), "full_name", ProblemConflict)
	}
}

func TestValidateMembers(t *testing.T) {
	t.Parallel()
	const id = "0b9e5a3c-1c5e-4e1f-9b1a-2f0f4d3c2b1a"
	deep := strings.Repeat(`{"a":`, 101) + "1" + strings.Repeat("}", 101)
	big := `{"k":"` + strings.Repeat("x", MaxObjectBytes-8) + `"}`
	withNotes := textPatch(Notes, "a")
	withNotes.NotesAppend = new("b")
	many := make([]string, MaxTags+1)
	for i := range many {
		many[i] = strings.Repeat("t", i%200+1) + string(rune('a'+i/200))
	}
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	tests := map[string]struct {
		patch       *Patch
		field, code string // "": accepted
	}{
		"append and notes":             {withNotes, "notes_append", ProblemConflict},
		"append with NUL":              {&Patch{NotesAppend: new("a\x00")}, "notes_append", ProblemInvalidCharacters},
		"append nothing":               {&Patch{NotesAppend: new("")}, "", ""},
		"tags":                         {&Patch{Tags: []string{"a", "b"}}, "", ""},
		"blank tag":                    {&Patch{TagsAdd: []string{"a", " "}}, "tags_add", ProblemRequired},
		"tag with NUL":                 {&Patch{TagsRemove: []string{"a\x00"}}, "tags_remove", ProblemInvalidCharacters},
		"long tag":                     {&Patch{Tags: []string{strings.Repeat("é", 256)}}, "tags", ProblemTooLong},
		"many tags":                    {&Patch{Tags: many}, "tags", ProblemTooMany},
		"tags and tags_add":            {&Patch{Tags: []string{}, TagsAdd: []string{"a"}}, "tags", ProblemConflict},
		"added and removed":            {&Patch{TagsAdd: []string{"a"}, TagsRemove: []string{"A"}}, "tags_remove", ProblemConflict},
		"metadata":                     {&Patch{Metadata: raw(`{"a":{"` + id + `":1}}`)}, "", ""},
		"metadata array":               {&Patch{Metadata: raw(`[]`)}, "metadata", ProblemInvalidType},
		"metadata null":                {&Patch{Metadata: raw(`null`)}, "metadata", ProblemInvalidType},
		"metadata broken":              {&Patch{Metadata: raw(`{"a":}`)}, "metadata", ProblemInvalidFormat},
		"metadata twice":               {&Patch{Metadata: raw(`{"a":1,"\u0061":2}`)}, "metadata", ProblemDuplicate},
		"metadata with escaped NUL":    {&Patch{Metadata: raw(`{"a":"\u0000"}`)}, "metadata", ProblemInvalidCharacters},
		"metadata with NUL in a key":   {&Patch{Metadata: raw(`{"a\u0000":1}`)}, "metadata", ProblemInvalidCharacters},
		"metadata with half a pair":    {&Patch{Metadata: raw(`{"a":"\ud83d"}`)}, "metadata", ProblemInvalidCharacters},
		"metadata not UTF-8":           {&Patch{Metadata: raw("{\"a\":\"\xff\"}")}, "metadata", ProblemInvalidCharacters},
		"metadata number out of range": {&Patch{Metadata: raw(`{"a":1e309}`)}, "metadata", ProblemInvalidFormat},
		"metadata too deep":            {&Patch{Metadata: raw(deep)}, "metadata", ProblemInvalidFormat},
		"metadata of 64 KiB":           {&Patch{Metadata: raw(big)}, "", ""},
		"metadata over 64 KiB":         {&Patch{Metadata: raw(strings.Replace(big, "x", "xx", 1))}, "metadata", ProblemTooLong},
		"metadata with uuid":           {&Patch{Metadata: raw(`{"` + id + `":1}`)}, "metadata", ProblemInvalidFormat},
		"metadata with upper uuid":     {&Patch{Metadata: raw(`{"` + strings.ToUpper(id) + `":1}`)}, "metadata", ProblemInvalidFormat},
		"merge with uuid":              {&Patch{MetadataMerge: raw(`{"` + id + `":null}`)}, "metadata_merge", ProblemInvalidFormat},
		"merge array":                  {&Patch{MetadataMerge: raw(`[1]`)}, "metadata_merge", ProblemInvalidType},
		"merge and metadata":           {&Patch{Metadata: raw(`{}`), MetadataMerge: raw(`{}`)}, "metadata_merge", ProblemConflict},
		"links":                        {&Patch{Metadata: raw(`{"quick_links":{"` + id + `":"https://x.org"}}`)}, "", ""},
		"links with another key":       {&Patch{Metadata: raw(`{"quick_links":{"home":"https://x.org"}}`)}, "metadata.quick_links", ProblemInvalidFormat},
		"links with another value":     {&Patch{Metadata: raw(`{"quick_links":{"` + id + `":"ftp://x.org"}}`)}, "metadata.quick_links", ProblemInvalidFormat},
		"links with a number":          {&Patch{Metadata: raw(`{"quick_links":{"` + id + `":1}}`)}, "metadata.quick_links", ProblemInvalidFormat},
		"links with null":              {&Patch{Metadata: raw(`{"quick_links":{"` + id + `":null}}`)}, "metadata.quick_links", ProblemInvalidFormat},
		"links null":                   {&Patch{Metadata: raw(`{"quick_links":null}`)}, "metadata.quick_links", ProblemInvalidType},
		"merged links with null":       {&Patch{MetadataMerge: raw(`{"quick_links":{"` + id + `":null}}`)}, "", ""},
		"merged links null":            {&Patch{MetadataMerge: raw(`{"quick_links":null}`)}, "", ""},
		"merged links with a number":   {&Patch{MetadataMerge: raw(`{"quick_links":{"` + id + `":1}}`)}, "metadata_merge.quick_links", ProblemInvalidFormat},
		"custom fields":                {&Patch{CustomFields: map[string]json.RawMessage{"a b": raw(`1`), "c": raw(`null`), "d": raw(`true`)}}, "", ""},
		"custom object":                {&Patch{CustomFields: map[string]json.RawMessage{"a": raw(`{}`)}}, "custom_fields.a", ProblemInvalidType},
		"custom broken":                {&Patch{CustomFields: map[string]json.RawMessage{"a": raw(``)}}, "custom_fields.a", ProblemInvalidFormat},
		"custom with NUL":              {&Patch{CustomFields: map[string]json.RawMessage{"a": raw(`"\u0000"`)}}, "custom_fields.a", ProblemInvalidCharacters},
		"custom name with NUL":         {&Patch{CustomFields: map[string]json.RawMessage{"a\x00": raw(`1`)}}, "custom_fields", ProblemInvalidCharacters},
		"custom name empty":            {&Patch{CustomFields: map[string]json.RawMessage{"": raw(`1`)}}, "custom_fields", ProblemInvalidFormat},
		"custom too long":              {&Patch{CustomFields: map[string]json.RawMessage{"k": raw(`"` + strings.Repeat("x", MaxObjectBytes) + `"`)}}, "custom_fields", ProblemTooLong},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			problems := tt.patch.Validate(rules())
			if tt.code != "" {
				expectProblem(t, problems, tt.field, tt.code)
			} else if len(problems) != 0 {
				t.Fatalf("problems %+v", problems)
			}
		})
	}
}

func TestValidateReportsEveryProblem(t *testing.T) {
	t.Parallel()
	p := textPatch(Email, "nope")
	p.SetText(Phone, new("123"))
	p.SetText(DateOfBirth, new("2026-02-30"))
	p.SetText(LinkedinURL, new("x"))
	p.Metadata = json.RawMessage(`[]`)
	p.TagsAdd = []string{""}
	p.CustomFields = map[string]json.RawMessage{"b": json.RawMessage(`[]`), "a": json.RawMessage(`[]`)}
	problems := p.Validate(rules())
	fields := make([]string, 0, len(problems))
	for _, problem := range problems {
		fields = append(fields, problem.Field)
	}
	want := []string{"email", "phone", "date_of_birth", "linkedin_url", "tags_add", "custom_fields.a", "custom_fields.b", "metadata"}
	diff(t, "fields", want, fields)
}

func TestValidateNormalizes(t *testing.T) {
	t.Parallel()
	p := &Patch{
		Tags:         []string{"VIP", "new", "vip", "ÉTÉ", "été"},
		Metadata:     json.RawMessage(` { "bb" : 1.0 , "a" : "\u00e9\/" } `),
		CustomFields: map[string]json.RawMessage{"n": json.RawMessage(` 1e2 `)},
	}
	if problems := p.Validate(rules()); len(problems) != 0 {
		t.Fatalf("problems %v", problems)
	}
	diff(t, "tags", []string{"VIP", "new", "ÉTÉ"}, p.Tags)
	diff(t, "metadata", `{"a":"é/","bb":1}`, string(p.Metadata))
	diff(t, "custom field", `100`, string(p.CustomFields["n"]))

	again := *p
	again.CustomFields = maps.Clone(p.CustomFields)
	again.Tags = slices.Clone(p.Tags)
	if problems := again.Validate(rules()); len(problems) != 0 || again.Digest(nil, epoch) != p.Digest(nil, epoch) {
		t.Errorf("a second validation changes the patch: %v", problems)
	}
}

func TestValidateCreate(t *testing.T) {
	t.Parallel()
	accepted := []*Patch{
		textPatch(Email, "a@x.org"), textPatch(Phone, "+61412345678"), textPatch(FirstName, "Jo"),
		textPatch(LastName, "Doe"), textPatch(ExternalID, "1"),
		{FullName: new("Jo Doe")},
	}
	for _, p := range accepted {
		if problems := p.ValidateCreate(rules()); len(problems) != 0 {
			t.Errorf("problems %v", problems)
		}
	}
	cleared := new(Patch)
	cleared.SetText(Email, nil)
	for _, p := range []*Patch{{}, cleared, textPatch(JobTitle, "CEO"), textPatch(LastName, " ")} {
		expectProblem(t, p.ValidateCreate(rules()), "", ProblemRequired)
	}
}

func TestPatchEmpty(t *testing.T) {
	t.Parallel()
	if !new(Patch).Empty() {
		t.Error("a patch without members is not empty")
	}
	cleared := new(Patch)
	cleared.SetText(Notes, nil)
	for _, p := range []*Patch{cleared, {Tags: []string{}}, {SMSUnsubscribed: new(false)}, {NotesAppend: new("")}} {
		if p.Empty() {
			t.Errorf("%+v is empty", p)
		}
	}
}

func TestEmailKey(t *testing.T) {
	t.Parallel()
	same := [][2]string{
		{"Jo@Example.ORG", "jo@example.org"},
		{"jo@bücher.example", "JO@xn--bcher-kva.example"},
		{"JÖ@x.org", "jö@X.org"},
		{"jo\u0308@x.org", "jö@x.org"},
	}
	for _, pair := range same {
		if EmailKey(pair[0]) != EmailKey(pair[1]) {
			t.Errorf("%q and %q have different keys", pair[0], pair[1])
		}
	}
	if EmailKey("jo+a@x.org") == EmailKey("jo@x.org") || EmailKey("no address") != "no address" {
		t.Error("the key changes more than case")
	}
}

func TestTagKey(t *testing.T) {
	t.Parallel()
	tags := []string{"k", "K", "\u212a", "s", "ſ", "ß", "ẞ", "été", "ÉTÉ", "a", "σ", "ς", "Σ", "ka", "\u212aA"}
	for _, a := range tags {
		for _, b := range tags {
			if (TagKey(a) == TagKey(b)) != strings.EqualFold(a, b) {
				t.Errorf("keys of %q and %q disagree with EqualFold", a, b)
			}
		}
	}
}
