package store_test

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// define makes tags and string fields of the bundle's account.
func (b *bundle) define(tags []string, fields ...string) {
	b.t.Helper()
	for _, name := range tags {
		if _, _, err := b.Store.DefineTag(b.t.Context(), b.account, contact.Tag{Name: name}); err != nil {
			b.t.Fatalf("define tag: %v", err)
		}
	}
	for _, name := range fields {
		f := contact.CustomField{InternalName: name, Label: name, Type: contact.StringField}
		if _, _, err := b.Store.DefineField(b.t.Context(), b.account, f); err != nil {
			b.t.Fatalf("define field: %v", err)
		}
	}
}

func (b *bundle) settings() contact.Settings {
	b.t.Helper()
	all, err := b.Store.Settings(b.t.Context(), []uuid.UUID{b.account, uuid.New()})
	if err != nil || len(all) != 1 || all[0].Account != b.account {
		b.t.Fatalf("settings: %+v, %v", all, err)
	}
	return all[0]
}

func (b *bundle) tagged(id uuid.UUID, tags ...string) contact.Entry {
	return b.entry(contact.KindPatch, id, func(p *contact.Patch) { p.TagsAdd = tags })
}

func (b *bundle) custom(id uuid.UUID, name, value string) contact.Entry {
	return b.entry(contact.KindPatch, id, func(p *contact.Patch) {
		p.CustomFields = map[string]json.RawMessage{name: json.RawMessage(value)}
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if s := b.settings(); s.Revision != 0 || len(s.Tags)+len(s.Fields) != 0 {
		t.Errorf("a new account has %+v", s)
	}
	start := time.Now().Add(-time.Minute)
	tag, first, err := b.Store.DefineTag(t.Context(), b.account, contact.Tag{Name: "VIP"})
	if err != nil || tag.CreatedAt.IsZero() || first.Revision == 0 || len(first.Tags) != 1 || first.Tags[0] != tag {
		t.Fatalf("define tag: %+v, %+v, %v", tag, first, err)
	}
	field, second, err := b.Store.DefineField(t.Context(), b.account,
		contact.CustomField{InternalName: "due", Label: "Due Date", Type: contact.DateField})
	if err != nil || second.Revision <= first.Revision || len(second.Fields) != 1 || second.Fields[0] != field {
		t.Fatalf("define field: %+v, %+v, %v", field, second, err)
	}
	if got := b.settings(); got.Revision != second.Revision || got.Tags[0] != tag || got.Fields[0] != field {
		t.Errorf("settings %+v, want %+v", got, second)
	}
	for _, name := range []string{"vip", "VIP"} {
		if _, _, err := b.Store.DefineTag(t.Context(), b.account, contact.Tag{Name: name}); contact.CodeOf(err) != contact.CodeDuplicate {
			t.Errorf("tag %s twice: %v", name, err)
		}
	}
	for _, f := range []contact.CustomField{
		{InternalName: "DUE", Label: "x"}, {InternalName: "x", Label: " due date"}, {InternalName: "x", Label: "Due"},
	} {
		f.Type = contact.StringField
		if _, _, err := b.Store.DefineField(t.Context(), b.account, f); contact.CodeOf(err) != contact.CodeDuplicate {
			t.Errorf("field %+v: %v", f, err)
		}
	}
	if got := b.settings(); got.Revision != second.Revision {
		t.Error("a refused change raised the revision")
	}
	changed, err := b.Store.SettingsChangedSince(t.Context(), start)
	if err != nil || len(changed) != 1 || changed[b.account] != second.Revision {
		t.Errorf("changed: %v, %v", changed, err)
	}
	if changed, err = b.Store.SettingsChangedSince(t.Context(), time.Time{}); err != nil || len(changed) != 1 {
		t.Errorf("ever changed: %v, %v", changed, err)
	}
	if changed, err = b.Store.SettingsChangedSince(t.Context(), time.Now().Add(time.Hour)); err != nil || len(changed) != 0 {
		t.Errorf("changed in the future: %v, %v", changed, err)
	}
	third, err := b.Store.DropTag(t.Context(), b.account, "vIp", false)
	if err != nil || len(third.Tags) != 0 || third.Revision <= second.Revision {
		t.Errorf("drop: %+v, %v", third, err)
	}
	for _, name := range []string{"VIP", "a\x00b", "\xff"} {
		if _, err := b.Store.DropTag(t.Context(), b.account, name, false); contact.CodeOf(err) != contact.CodeNotFound {
			t.Errorf("drop %q: %v", name, err)
		}
		if _, err := b.Store.DropField(t.Context(), b.account, name, true); contact.CodeOf(err) != contact.CodeNotFound {
			t.Errorf("drop field %q: %v", name, err)
		}
	}
	if _, _, err := b.Store.DefineTag(t.Context(), uuid.New(), contact.Tag{Name: "a"}); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("tag of no account: %v", err)
	}
}

// Changes of one account at once all happen, each seen by the next.
func TestSettingsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 12
	var mu sync.Mutex
	var wg sync.WaitGroup
	revisions := map[int64]int{}
	duplicates := 0
	for i := range 2 * n {
		wg.Go(func() {
			_, after, err := b.Store.DefineTag(t.Context(), b.account, contact.Tag{Name: string(rune('a' + i/2))})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case contact.CodeOf(err) == contact.CodeDuplicate:
				duplicates++
			case err != nil:
				t.Errorf("define: %v", err)
			default:
				revisions[after.Revision] = len(after.Tags)
			}
		})
	}
	wg.Wait()
	if s := b.settings(); len(s.Tags) != n || duplicates != n || len(revisions) != n || revisions[s.Revision] != n {
		t.Errorf("%d tags, %d duplicates, revisions %v", len(s.Tags), duplicates, revisions)
	}
}

func TestDropWhatIsInUse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.define([]string{"VIP", "free"}, "plan", "unused")
	id := b.contactsNamed("Ada")[0]
	b.mustApply(b.tagged(id, "VIP"), b.custom(id, "plan", `"x"`))
	b.mustApply(b.entry(contact.KindArchive, id, nil))
	if _, err := b.Store.DropTag(t.Context(), b.account, "vip", false); contact.CodeOf(err) != contact.CodeInUse {
		t.Errorf("tag in use: %v", err)
	}
	if _, err := b.Store.DropField(t.Context(), b.account, "plan", false); contact.CodeOf(err) != contact.CodeInUse {
		t.Errorf("field in use: %v", err)
	}
	if _, err := b.Store.DropTag(t.Context(), b.account, "free", false); err != nil {
		t.Errorf("free tag: %v", err)
	}
	if _, err := b.Store.DropField(t.Context(), b.account, "unused", false); err != nil {
		t.Errorf("free field: %v", err)
	}
	if _, err := b.Store.DropTag(t.Context(), b.account, "VIP", true); err != nil {
		t.Errorf("forced tag: %v", err)
	}
	if s, err := b.Store.DropField(t.Context(), b.account, "plan", true); err != nil || len(s.Tags)+len(s.Fields) != 0 {
		t.Errorf("forced field: %+v, %v", s, err)
	}
	// What is gone is not said to be in use, though a contact keeps it.
	if _, err := b.Store.DropTag(t.Context(), b.account, "VIP", false); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("gone tag: %v", err)
	}
	if c := b.contact(id); !slices.Equal(c.Tags, []string{"VIP"}) || string(c.CustomFields) != `{"plan": "x"}` {
		t.Errorf("the contact lost what it had: %v %s", c.Tags, c.CustomFields)
	}
}

// Apply refuses what is not defined, by account, and costs the other writes of
// the batch nothing.
func TestApplyHoldsDefinitions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.define([]string{"VIP"}, "plan")
	other, err := b.Store.CreateAccount(t.Context(), "Other")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Store.DefineTag(t.Context(), other.ID, contact.Tag{Name: "foreign"}); err != nil {
		t.Fatal(err)
	}
	id := b.contactsNamed("Ada")[0]
	out := b.mustApply(
		b.tagged(id, "vip"), b.tagged(id, "VIP", "foreign"), b.custom(id, "plan", `"x"`), b.custom(id, "plan", `1`),
		b.custom(id, "gone", `"x"`), b.custom(id, "gone", `null`),
		b.entry(contact.KindCreate, uuid.New(), func(p *contact.Patch) { p.Tags = []string{"nil"} }),
		b.entry(contact.KindPatch, id, func(p *contact.Patch) { p.Tags, p.TagsRemove = nil, []string{"nil"} }),
		b.note(id, "fine"),
	)
	want := []contact.State{
		contact.Applied, contact.Failed, contact.Applied, contact.Failed, contact.Failed, contact.Unchanged,
		contact.Failed, contact.Unchanged, contact.Applied,
	}
	for i, o := range out {
		if o.State != want[i] || (o.State == contact.Failed && o.Code != contact.CodeValidationFailed) {
			t.Errorf("write %d: %s %s (%s), want %s", i, o.State, o.Code, o.Message, want[i])
		}
	}
	c := b.contact(id)
	if !slices.Equal(c.Tags, []string{"VIP"}) || string(c.CustomFields) != `{"plan": "x"}` || text(c, contact.Notes) != "fine" {
		t.Errorf("contact has %v %s %q", c.Tags, c.CustomFields, text(c, contact.Notes))
	}
}
