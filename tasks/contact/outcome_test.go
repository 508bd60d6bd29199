package contact

import (
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// Outcomes cross the reply channel as JSON and come out as they went in.
func TestOutcomeJSONRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.run(genLane(t), 10)
		for _, o := range w.outcomes() {
			b, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			var got Outcome
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			// encoding/json escapes for HTML, which is another spelling only.
			for i := range got.Changes {
				got.Changes[i].Old, _ = canonical(got.Changes[i].Old)
				got.Changes[i].New, _ = canonical(got.Changes[i].New)
			}
			diff(t, "outcome", o, got)
		}
	})
}

func TestContactJSONKeepsNothing(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(Contact{})
	if err != nil {
		t.Fatal(err)
	}
	var got Contact
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	diff(t, "contact", Contact{}, got)
}

func TestAppendChanges(t *testing.T) {
	t.Parallel()
	changes := []Change{
		{Field: "job_title", Op: OpSet, Old: json.RawMessage(`null`), New: json.RawMessage(`"a\"<"`)},
		{Field: `metadata.k"é`, Op: OpAdd, Old: json.RawMessage(`1`), New: nil},
		{Field: "notes", Op: OpAppend, Old: json.RawMessage(`null`), New: json.RawMessage(`"n"`)},
	}
	got := string(AppendChanges([]byte("x"), changes))
	want := `x[{"field":"job_title","old":null,"new":"a\"<"},` +
		`{"field":"metadata.k\"é","op":"add","old":1,"new":null},{"field":"notes","op":"append","old":null,"new":"n"}]`
	diff(t, "changes", want, got)
	var back []Change
	if err := json.Unmarshal([]byte(got[1:]), &back); err != nil {
		t.Fatal(err)
	}
	changes[1].New = json.RawMessage(`null`)
	diff(t, "read back", changes, back)
	if string(AppendChanges(nil, nil)) != "[]" {
		t.Error("no changes are not an empty list")
	}
}

func ExamplePatch() {
	var p Patch
	p.FullName = new("Ada  King Lovelace")
	p.SetText(Email, new("Ada@Example.ORG"))
	p.SetText(JobTitle, nil) // null clears; what is not named stays
	fmt.Println("problems:", p.Validate(Rules{Now: epoch}))

	first, _ := p.Text(FirstName)
	last, _ := p.Text(LastName)
	email, _ := p.Text(Email)
	_, phone := p.Text(Phone)
	fmt.Printf("%q, %q, %s, phone named: %v\n", *first, *last, *email, phone)

	ref := Ref{}
	ada := &Contact{Ref: ref, Version: 1}
	batch := Batch{Now: epoch, Contacts: map[Ref]*Contact{ref: ada}}
	out := batch.Fold([]Entry{{Write: Write{Kind: KindPatch, Patch: p, AcceptedAt: epoch}}})
	for _, ch := range out.Outcomes[0].Changes {
		fmt.Printf("%s: %s -> %s\n", ch.Field, ch.Old, ch.New)
	}
	fmt.Println("version", out.Updated[0].Version)
	// Output:
	// problems: []
	// "Ada King", "Lovelace", Ada@example.org, phone named: false
	// first_name: null -> "Ada King"
	// last_name: null -> "Lovelace"
	// email: null -> "Ada@example.org"
	// version 2
}
