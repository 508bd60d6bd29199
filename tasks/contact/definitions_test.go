package contact

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func definitions() *Definitions {
	return NewDefinitions(Settings{
		Revision: 7,
		Tags:     []Tag{{Name: "VIP"}, {Name: "Été"}},
		Fields: []CustomField{
			{InternalName: "text", Label: "A Text", Type: StringField},
			{InternalName: "number", Label: "Number!", Type: NumberField},
			{InternalName: "flag", Label: "text", Type: BooleanField}, // the label is another's internal name
			{InternalName: "day", Label: "Day of Joining", Type: DateField},
			{InternalName: "site", Label: "Site", Type: URLField},
		},
	})
}

func TestDefinitions(t *testing.T) {
	t.Parallel()
	d := definitions()
	for name, want := range map[string]string{"vip": "VIP", "VIP": "VIP", "ÉTÉ": "Été", "vi": "", "": ""} {
		if got, ok := d.Tag(name); got != want || ok != (want != "") {
			t.Errorf("tag %q: %q, %v", name, got, ok)
		}
	}
	for name, want := range map[string]string{
		"text": "text", "TEXT": "text", "a text": "text", " A Text ": "text", "day of joining": "day", "x": "", "": "",
	} {
		if got, ok := d.Field(name); got.InternalName != want || ok != (want != "") {
			t.Errorf("field %q: %q, %v", name, got.InternalName, ok)
		}
	}
	names := make([]string, 0, 5)
	for _, f := range d.Fields() {
		names = append(names, f.InternalName)
	}
	diff(t, "fields", []string{"day", "flag", "number", "site", "text"}, names)
	if d.Revision() != 7 {
		t.Errorf("revision %d", d.Revision())
	}
	if _, ok := NewDefinitions(Settings{}).Field(""); ok {
		t.Error("an account without settings has a field without a name")
	}
}

func TestCheckValues(t *testing.T) {
	t.Parallel()
	long := `"https://example.com/` + strings.Repeat("x", maxURLCharacters) + `"`
	for _, test := range []struct{ field, good, bad string }{
		{"text", `"" "x" null`, `1 true`},
		{"number", `0 -1.50 1e300 null`, `"1" true`},
		{"flag", `true false null`, `"true" 0 1`},
		{"day", `"2028-02-29" "0001-01-01" null`, `"2026-02-29" "2026-2-9" "0000-01-01" "20260209" "" 20260209 true`},
		{"site", `"http://a" "https://example.com/x?y=1#z" null`, `"/x" "ftp://a" "https://" "javascript:alert(1)" "" 1 ` + long},
	} {
		for value := range strings.FieldsSeq(test.good) {
			p := &Patch{CustomFields: map[string]json.RawMessage{test.field: json.RawMessage(value)}}
			if problems := definitions().Check(p); len(problems) != 0 {
				t.Errorf("%s %s: %v", test.field, value, problems)
			}
		}
		for value := range strings.FieldsSeq(test.bad) {
			p := &Patch{CustomFields: map[string]json.RawMessage{test.field: json.RawMessage(value)}}
			problems := definitions().Check(p)
			if len(problems) != 1 || problems[0].Field != "custom_fields."+test.field {
				t.Errorf("%s %.40s: %v", test.field, value, problems)
				continue
			}
			if inner := strings.Trim(value, `"`); len(inner) > 4 && strings.Contains(problems[0].Message, inner) {
				t.Errorf("%s: the message holds the value", test.field)
			}
		}
	}
}

func TestCheckNames(t *testing.T) {
	t.Parallel()
	p := &Patch{
		Tags: []string{"vip", "Vip", " ", "no"}, TagsAdd: []string{"nil"}, TagsRemove: []string{"whatever"},
		CustomFields: map[string]json.RawMessage{
			"text": json.RawMessage(`"x"`), "A Text": json.RawMessage(`"y"`), "none": json.RawMessage(`null`),
			"number": json.RawMessage(`[1]`), "flag": json.RawMessage(`{`),
			strings.Repeat("é", 300): json.RawMessage(`1`),
		},
	}
	problems := definitions().Check(p)
	got := make([]string, 0, len(problems))
	for _, problem := range problems {
		got = append(got, problem.Field+" "+problem.Code)
	}
	want := []string{
		"tags[3] unknown", "tags_add[0] unknown", "custom_fields.none unknown", "custom_fields.text duplicate",
		"custom_fields." + strings.Repeat("é", 127) + "… unknown",
	}
	diff(t, "problems", want, got)
	many := &Patch{Tags: make([]string, 5000)}
	for i := range many.Tags {
		many.Tags[i] = "x" + strings.Repeat("y", i%100)
	}
	if n := len(definitions().Check(many)); n != maxUndefined {
		t.Errorf("%d problems", n)
	}
	if p.UsesDefinitions() != true || (&Patch{TagsRemove: []string{"a"}}).UsesDefinitions() {
		t.Error("a patch that only removes tags needs no definitions")
	}
	if definitions().Knows(p) || !definitions().Knows(&Patch{Tags: []string{"ÉTÉ"}, CustomFields: map[string]json.RawMessage{"a text": nil}}) {
		t.Error("known and unknown are mixed up")
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	sent := []string{"VIP", "ÉTÉ"}
	p := &Patch{
		Tags: sent, TagsAdd: []string{"VIP"}, TagsRemove: []string{"vip"},
		CustomFields: map[string]json.RawMessage{"A TEXT": json.RawMessage(`"x"`), "number": json.RawMessage(`1`)},
	}
	definitions().Resolve(p)
	diff(t, "tags", []string{"VIP", "Été"}, p.Tags)
	diff(t, "tags_add", []string{"VIP"}, p.TagsAdd)
	diff(t, "tags_remove", []string{"vip"}, p.TagsRemove)
	diff(t, "what was sent", []string{"VIP", "ÉTÉ"}, sent)
	if string(p.CustomFields["text"]) != `"x"` || string(p.CustomFields["number"]) != `1` || len(p.CustomFields) != 2 {
		t.Errorf("custom fields %s", p.CustomFields)
	}
	var none Patch
	if definitions().Resolve(&none); none.CustomFields != nil || none.Tags != nil || !none.Empty() {
		t.Error("an absent member was made present")
	}
}

func TestDefinitionsThatCanBeMade(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"plan": true, "Plan_2-b": true, "a": true, strings.Repeat("a", 100): true, "": false, "9a": false, "_a": false,
		"a b": false, "é": false, "a.b": false, strings.Repeat("a", 101): false, "EMAIL": false, "full_name": false,
		"archived": false, "Updated_Date": false, "a\x00": false,
	} {
		f := CustomField{InternalName: name, Type: URLField}
		if problems := f.Validate(); (len(problems) == 0) != ok {
			t.Errorf("%q: %v", name, problems)
		} else if ok && f.Label != name {
			t.Errorf("%q has the label %q", name, f.Label)
		}
	}
	tag := Tag{Name: "\t VIP gold "}
	if problems := tag.Validate(); len(problems) != 0 || tag.Name != "VIP gold" {
		t.Errorf("%q: %v", tag.Name, problems)
	}
}

// What is not defined any more fails the write alone, after what says more
// about the contact, and changes nothing.
func TestFoldHoldsDefinitions(t *testing.T) {
	t.Parallel()
	account, id := uuid.New(), uuid.New()
	ref := Ref{Account: account, ID: id}
	entry := func(p Patch) Entry {
		return Entry{Write: Write{ID: uuid.New(), Account: account, Contact: id, Kind: KindPatch, Patch: p, ReplyTo: "x"}}
	}
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	title := "CEO"
	withTitle := Patch{Tags: []string{"VIP", "gone"}}
	withTitle.SetText(JobTitle, &title)
	entries := []Entry{
		entry(Patch{TagsAdd: []string{"vip", "été"}}), // defined anew in another spelling
		entry(withTitle),
		entry(Patch{CustomFields: map[string]json.RawMessage{"text": raw(`"x"`), "number": raw(`2`)}}),
		entry(Patch{CustomFields: map[string]json.RawMessage{"text": raw(`1`)}}),
		entry(Patch{CustomFields: map[string]json.RawMessage{"gone": raw(`1`)}}),
		entry(Patch{CustomFields: map[string]json.RawMessage{"gone": raw(`null`)}}),
		entry(Patch{CustomFields: map[string]json.RawMessage{"A Text": raw(`"labels are for the API"`)}}),
		entry(Patch{TagsRemove: []string{"gone", "VIP"}}),
	}
	missing := entry(Patch{Tags: []string{"gone"}})
	missing.Contact = uuid.New()
	b := Batch{
		Contacts:    map[Ref]*Contact{ref: {Ref: ref, Version: 1, Tags: []string{}, CustomFields: raw(`{"gone":5}`)}},
		Definitions: map[uuid.UUID]*Definitions{account: definitions()},
	}
	folded := b.Fold(append(slices.Clone(entries), missing))
	want := []string{
		"applied", "failed tags[1] " + noLonger, "applied", "failed custom_fields.text must be a string or null",
		"failed custom_fields.gone " + noLonger, "applied", "failed custom_fields.A Text " + noLonger, "applied",
		"failed the contact does not exist",
	}
	for i, o := range folded.Outcomes {
		if got := strings.TrimSpace(string(o.State) + " " + o.Message); got != want[i] {
			t.Errorf("write %d: %s, want %s", i, got, want[i])
		}
		if o.State == Failed && i < len(entries) && o.Code != CodeValidationFailed {
			t.Errorf("write %d: code %s", i, o.Code)
		}
	}
	last := folded.Outcomes[7].Contact
	if !slices.Equal(last.Tags, []string{"Été"}) || string(last.CustomFields) != `{"text":"x","number":2}` || last.Text[JobTitle] != nil {
		t.Errorf("contact: %v %s", last.Tags, last.CustomFields)
	}
	if len(entries[0].Patch.TagsAdd) != 2 || entries[0].Patch.TagsAdd[0] != "vip" {
		t.Error("the fold changed an entry")
	}
	// An account without any definition, and a fold that knows of none.
	b.Definitions = map[uuid.UUID]*Definitions{}
	if o := b.Fold(entries[:1]).Outcomes[0]; o.State != Failed {
		t.Errorf("without definitions: %s", o.State)
	}
	b.Definitions = nil
	if o := b.Fold(entries[:1]).Outcomes[0]; o.State != Applied {
		t.Errorf("unchecked: %s", o.State)
	}
}
