package contact

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// bundle is a fold of writes to one contact.
type bundle struct {
	*world
	ref Ref
	n   int
}

// setup returns a world that holds one contact: Jo Doe, version 1.
func setup() *bundle {
	b := &bundle{world: newWorld(), ref: Ref{Account: idOf(1), ID: idOf(10)}}
	c := &Contact{
		Ref: b.ref, Version: 1, Tags: []string{"VIP", "old"},
		Metadata: json.RawMessage(`{"a": 1, "bb": {"x": 1.0}}`), CustomFields: json.RawMessage(`{"size": "XL"}`),
		CreatedAt: epoch, UpdatedAt: epoch,
	}
	c.Text[FirstName], c.Text[LastName], c.Text[Email] = new("Jo"), new("Doe"), new("jo@x.org")
	c.Text[Phone], c.Text[ExternalID] = new("+31612345678"), new("E1")
	b.contacts[b.ref] = c
	return b
}

// patch makes the next entry of the lane, a PATCH of the contact.
func (b *bundle) patch(change func(w *Write)) Entry {
	b.n++
	w := Write{
		ID: idOf(uint64(100 + b.n)), Account: b.ref.Account, Contact: b.ref.ID, Kind: KindPatch,
		AcceptedAt: epoch.Add(time.Duration(b.n) * time.Minute), Actor: "key-1", ReplyTo: "api-1",
	}
	change(&w)
	return Entry{Offset: Offset{Ms: uint64(b.n)}, Write: w}
}

// apply folds one PATCH and returns its outcome.
func (b *bundle) apply(change func(w *Write)) Outcome {
	return b.fold([]Entry{b.patch(change)}).Outcomes[0]
}

// changesOf prints changes, one a line.
func changesOf(o Outcome) []string {
	lines := make([]string, 0, len(o.Changes))
	for _, ch := range o.Changes {
		lines = append(lines, fmt.Sprintf("%s %s %s %s", ch.Field, ch.Op, ch.Old, ch.New))
	}
	return lines
}

func TestFoldChanges(t *testing.T) {
	t.Parallel()
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	tests := map[string]struct {
		write func(w *Write)
		want  []string
	}{
		"text":              {func(w *Write) { w.Patch.SetText(JobTitle, new(`C"O<`)) }, []string{`job_title set null "C\"O<"`}},
		"text cleared":      {func(w *Write) { w.Patch.SetText(LastName, nil) }, []string{`last_name set "Doe" null`}},
		"same text":         {func(w *Write) { w.Patch.SetText(FirstName, new("Jo")) }, []string{}},
		"nothing":           {func(*Write) {}, []string{}},
		"append":            {func(w *Write) { w.Patch.NotesAppend = new("n") }, []string{`notes append null "n"`}},
		"append nothing":    {func(w *Write) { w.Patch.NotesAppend = new("") }, []string{}},
		"tags":              {func(w *Write) { w.Patch.Tags = []string{"new"} }, []string{`tags set ["VIP","old"] ["new"]`}},
		"same tags":         {func(w *Write) { w.Patch.Tags = []string{"VIP", "old"} }, []string{}},
		"tags cleared":      {func(w *Write) { w.Patch.Tags = []string{} }, []string{`tags set ["VIP","old"] []`}},
		"tags added":        {func(w *Write) { w.Patch.TagsAdd = []string{"vip", "new", "x"} }, []string{`tags add null ["new","x"]`}},
		"tags removed":      {func(w *Write) { w.Patch.TagsRemove = []string{"vip", "none"} }, []string{`tags remove ["VIP"] null`}},
		"tags both":         {func(w *Write) { w.Patch.TagsAdd, w.Patch.TagsRemove = []string{"n"}, []string{"OLD"} }, []string{`tags remove ["old"] null`, `tags add null ["n"]`}},
		"metadata":          {func(w *Write) { w.Patch.Metadata = raw(`{"a":2,"c":null}`) }, []string{`metadata.a set 1 2`, `metadata.c add null null`, `metadata.bb set {"x":1} null`}},
		"same metadata":     {func(w *Write) { w.Patch.Metadata = raw(`{"bb":{"x":1e0},"a":1.0}`) }, []string{}},
		"merge":             {func(w *Write) { w.Patch.MetadataMerge = raw(`{"bb":{"y":2},"a":null,"z":null}`) }, []string{`metadata.a set 1 null`, `metadata.bb set {"x":1} {"x":1,"y":2}`}},
		"same merge":        {func(w *Write) { w.Patch.MetadataMerge = raw(`{"bb":{"x":1},"q":null}`) }, []string{}},
		"custom fields":     {func(w *Write) { w.Patch.CustomFields = map[string]json.RawMessage{"size": raw(`null`), "b": raw(`1`)} }, []string{`custom_fields.b set null 1`, `custom_fields.size set "XL" null`}},
		"same custom field": {func(w *Write) { w.Patch.CustomFields = map[string]json.RawMessage{"size": raw(`"\u0058L"`)} }, []string{}},
		"opt out":           {func(w *Write) { w.Patch.SMSUnsubscribed = new(true) }, []string{`sms_unsubscribed set false true`, `sms_unsubscribed_reason set null "manual"`}},
		"opt in":            {func(w *Write) { w.Patch.SMSUnsubscribed = new(false) }, []string{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup()
			before := *b.contacts[b.ref]
			o := b.apply(tt.write)
			diff(t, "changes", tt.want, changesOf(o))
			state, version, updated := Unchanged, int64(1), epoch
			if len(tt.want) > 0 {
				state, version, updated = Applied, 2, epoch.Add(time.Hour)
			}
			after := b.contacts[b.ref]
			if o.State != state || o.Version != version || after.Version != version || !after.UpdatedAt.Equal(updated) {
				t.Errorf("outcome %s, version %d, contact's %d, updated %s", o.State, o.Version, after.Version, after.UpdatedAt)
			}
			diff(t, "contact of the outcome", seen(after), seen(o.Contact))
			Rewind(after, []Record{{Outcome: o}})
			diff(t, "rewound", sortTags(flatten(&before)), sortTags(flatten(after)))
		})
	}
}

func TestFoldFailures(t *testing.T) {
	t.Parallel()
	locked := func(b *bundle) {
		b.lock[b.ref.Account] = true
		b.contacts[b.ref].EmailConsent.Out[Complaint] = epoch.UnixMicro()
	}
	tests := map[string]struct {
		prepare func(b *bundle)
		write   func(w *Write)
		want    Code
	}{
		"missing":         {nil, func(w *Write) { w.Contact = idOf(99) }, CodeNotFound},
		"other account":   {nil, func(w *Write) { w.Account = idOf(99) }, CodeNotFound},
		"archive missing": {nil, func(w *Write) { w.Contact, w.Kind = idOf(99), KindArchive }, CodeNotFound},
		"restore missing": {nil, func(w *Write) { w.Contact, w.Kind = idOf(99), KindRestore }, CodeNotFound},
		"archived":        {func(b *bundle) { b.contacts[b.ref].ArchivedAt = new(epoch) }, func(*Write) {}, CodeArchived},
		"version":         {nil, func(w *Write) { w.IfMatch = []int64{2, 3} }, CodePreconditionFailed},
		"no version":      {nil, func(w *Write) { w.IfMatch = []int64{} }, CodePreconditionFailed},
		"archive version": {nil, func(w *Write) { w.Kind, w.IfMatch = KindArchive, []int64{2} }, CodePreconditionFailed},
		"create twice":    {nil, func(w *Write) { w.Kind = KindCreate }, CodeDuplicate},
		"create archived": {func(b *bundle) { b.contacts[b.ref].ArchivedAt = new(epoch) }, func(w *Write) { w.Kind = KindCreate }, CodeDuplicate},
		"create version":  {nil, func(w *Write) { w.Kind, w.Contact, w.IfMatch = KindCreate, idOf(99), []int64{1} }, CodePreconditionFailed},
		"email taken":     {other, func(w *Write) { w.Patch.SetText(Email, new("OTHER@x.org")) }, CodeDuplicate},
		"id taken":        {other, func(w *Write) { w.Patch.SetText(ExternalID, new("E2")) }, CodeDuplicate},
		"id case differs": {other, func(w *Write) { w.Patch.SetText(ExternalID, new("e2")) }, ""},
		"create taken": {other, func(w *Write) {
			w.Kind, w.Contact = KindCreate, idOf(99)
			w.Patch.SetText(Email, new("other@x.org"))
		}, CodeDuplicate},
		"restore taken": {func(b *bundle) {
			other(b)
			b.contacts[b.ref].ArchivedAt = new(epoch)
			b.contacts[b.ref].Text[Email] = new("other@x.org")
		}, func(w *Write) { w.Kind = KindRestore }, CodeDuplicate},
		"notes too long":  {nil, func(w *Write) { w.Patch.SetText(Notes, new(strings.Repeat("é", 33))) }, CodeLimitExceeded},
		"append too long": {func(b *bundle) { b.contacts[b.ref].Text[Notes] = new("n") }, func(w *Write) { w.Patch.NotesAppend = new(strings.Repeat("a", 63)) }, CodeLimitExceeded},
		"append fits":     {func(b *bundle) { b.contacts[b.ref].Text[Notes] = new("n") }, func(w *Write) { w.Patch.NotesAppend = new(strings.Repeat("a", 62)) }, ""},
		"metadata too long": {nil, func(w *Write) {
			w.Patch.MetadataMerge = json.RawMessage(`{"z":"` + strings.Repeat("x", MaxObjectBytes-20) + `"}`)
		}, CodeLimitExceeded},
		"fields too long": {nil, func(w *Write) {
			w.Patch.CustomFields = map[string]json.RawMessage{"z": json.RawMessage(`"` + strings.Repeat("x", MaxObjectBytes) + `"`)}
		}, CodeLimitExceeded},
		"too many tags":       {func(b *bundle) { b.contacts[b.ref].Tags = manyTags(MaxTags) }, func(w *Write) { w.Patch.TagsAdd = []string{"more"} }, CodeLimitExceeded},
		"complaint locked":    {locked, func(w *Write) { w.Patch.EmailUnsubscribed = new(false) }, CodeConsentLocked},
		"opt out is free":     {locked, func(w *Write) { w.Patch.EmailUnsubscribed = new(true) }, ""},
		"other channel":       {locked, func(w *Write) { w.Patch.SMSUnsubscribed = new(false) }, ""},
		"older than the lock": {locked, func(w *Write) { w.Patch.EmailUnsubscribed, w.AsOf = new(false), epoch }, ""},
		"stop is not locked": {func(b *bundle) {
			b.lock[b.ref.Account] = true
			b.contacts[b.ref].EmailConsent.Out[Unsubscribe] = epoch.UnixMicro()
		}, func(w *Write) { w.Patch.EmailUnsubscribed = new(false) }, ""},
		"bounce leaves with the address": {func(b *bundle) {
			b.lock[b.ref.Account] = true
			b.contacts[b.ref].EmailConsent.Out[HardBounce] = epoch.UnixMicro()
		}, func(w *Write) {
			w.Patch.EmailUnsubscribed = new(false)
			w.Patch.SetText(Email, new("new@x.org"))
		}, ""},
		"unknown kind": {nil, func(w *Write) { w.Kind = 77 }, CodeUnreadable},
		"broken column": {func(b *bundle) { b.contacts[b.ref].Metadata = json.RawMessage(`{`) }, func(w *Write) {
			w.Patch.MetadataMerge = json.RawMessage(`{"a":1}`)
		}, CodeDataError},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup()
			if tt.prepare != nil {
				tt.prepare(b)
			}
			before := b.seen()
			o := b.apply(func(w *Write) {
				w.Patch.SetText(JobTitle, new("CEO"))
				tt.write(w)
			})
			if tt.want == "" {
				if o.State != Applied {
					t.Fatalf("%s: %s %s", o.State, o.Code, o.Message)
				}
				return
			}
			if o.State != Failed || o.Code != tt.want || o.Message == "" || o.Version != 0 || o.Contact != nil || len(o.Changes) > 0 {
				t.Errorf("outcome %+v, want %s", o, tt.want)
			}
			if CodeOf(o.Err()) != tt.want {
				t.Errorf("error %v", o.Err())
			}
			diff(t, "contacts after a failure", before, b.seen())
		})
	}
}

// other puts a second contact into the account.
func other(b *bundle) {
	c := &Contact{Ref: Ref{Account: b.ref.Account, ID: idOf(11)}, Version: 1}
	c.Text[Email], c.Text[ExternalID] = new("other@X.org"), new("E2")
	b.contacts[c.Ref] = c
}

func manyTags(n int) []string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprint("tag ", i)
	}
	return tags
}

func TestFoldPoison(t *testing.T) {
	t.Parallel()
	b := setup()
	write := func(w *Write) { w.Patch.NotesAppend = new("n") }
	out := b.fold([]Entry{b.patch(write), {Offset: Offset{Ms: 9}, Poison: errors.New("bad")}, b.patch(write)})
	if out.Consumed != 3 || out.Outcomes[1].Code != CodeUnreadable || out.Outcomes[1].WriteID != uuid.Nil {
		t.Fatalf("folded %+v", out)
	}
	diff(t, "notes", "n\nn", *b.contacts[b.ref].Text[Notes])
}

func TestFoldCreateArchiveRestore(t *testing.T) {
	t.Parallel()
	b := setup()
	b.ref.ID = idOf(20)
	created := b.apply(func(w *Write) {
		w.Kind = KindCreate
		w.Patch.SetText(Email, new("new@x.org"))
		w.Patch.SetText(LastName, nil)
		w.Patch.Tags = []string{"a"}
		w.Patch.Metadata = json.RawMessage(`{"k":true}`)
		w.Patch.EmailUnsubscribed, w.Patch.SMSUnsubscribed = new(true), new(false)
	})
	diff(t, "create", []string{
		`email set null "new@x.org"`, `tags set null ["a"]`, `metadata.k set null true`,
		`email_unsubscribed set null true`, `email_unsubscribed_reason set null "manual"`,
	}, changesOf(created))
	c := created.Contact
	if created.State != Applied || c.Version != 1 || !c.CreatedAt.Equal(epoch.Add(time.Hour)) || string(c.CustomFields) != "{}" {
		t.Errorf("created %+v", c)
	}
	archive := func(w *Write) { w.Kind = KindArchive }
	restore := func(w *Write) { w.Kind = KindRestore }
	diff(t, "archive", []string{
		`archived_at set null "2026-11-22T04:00:00.000000Z"`, `archived_by set null "key-1"`,
	}, changesOf(b.apply(archive)))
	if o := b.apply(archive); o.State != Unchanged || o.Version != 2 {
		t.Errorf("second archive: %s, version %d", o.State, o.Version)
	}
	diff(t, "restore", []string{
		`archived_at set "2026-11-22T04:00:00.000000Z" null`, `archived_by set "key-1" null`,
	}, changesOf(b.apply(restore)))
	if o := b.apply(restore); o.State != Unchanged || o.Version != 3 || o.Contact.ArchivedAt != nil {
		t.Errorf("second restore: %s, version %d", o.State, o.Version)
	}
}

// What belongs together is written once, and only the columns that changed are
// marked.
func TestFoldWritesEachContactOnce(t *testing.T) {
	t.Parallel()
	b := setup()
	fresh := func(w *Write) { w.Contact = idOf(30) }
	out := b.fold([]Entry{
		b.patch(func(w *Write) { w.Patch.NotesAppend = new("1") }),
		b.patch(func(w *Write) { fresh(w); w.Kind = KindCreate; w.Patch.SetText(FirstName, new("A")) }),
		b.patch(func(w *Write) { w.Patch.NotesAppend = new("2") }),
		b.patch(func(w *Write) { fresh(w); w.Patch.MetadataMerge = json.RawMessage(`{"a":1}`) }),
		b.patch(func(w *Write) { w.Patch.MetadataMerge = json.RawMessage(`{"a":1}`) }),
	})
	if out.Consumed != 5 || len(out.Created) != 1 || len(out.Updated) != 1 {
		t.Fatalf("consumed %d, created %d, updated %d", out.Consumed, len(out.Created), len(out.Updated))
	}
	u, c := out.Updated[0], out.Created[0]
	if !u.NotesSet || u.TagsSet || u.MetadataSet || u.CustomFieldsSet || u.Version != 3 || *u.Text[Notes] != "1\n2" {
		t.Errorf("updated %+v", u)
	}
	if c.Version != 2 || string(c.Metadata) != `{"a":1}` || *out.Outcomes[0].Contact.Text[Notes] != "1" {
		t.Errorf("created %+v", c)
	}
}

func TestFoldCuts(t *testing.T) {
	t.Parallel()
	email := func(id uint64, v string) func(w *Write) {
		return func(w *Write) { w.Contact = idOf(id); w.Patch.SetText(Email, &v) }
	}
	kind := func(id uint64, k Kind) func(w *Write) { return func(w *Write) { w.Contact, w.Kind = idOf(id), k } }
	retry := func(w *Write) { w.RetryOf, w.RetryAcceptedAt = idOf(5), epoch }
	tests := map[string]struct {
		writes []func(w *Write)
		want   int
	}{
		"data alone":                 {[]func(w *Write){func(*Write) {}, func(*Write) {}}, 2},
		"two emails of a contact":    {[]func(w *Write){email(10, "a@x.org"), email(10, "b@x.org")}, 1},
		"the same email again":       {[]func(w *Write){email(10, "a@x.org"), email(10, "a@x.org")}, 2},
		"email unchanged":            {[]func(w *Write){email(10, "jo@x.org"), email(11, "a@x.org")}, 2},
		"email left, then taken":     {[]func(w *Write){email(10, "a@x.org"), email(11, "jo@X.org")}, 1},
		"email taken twice":          {[]func(w *Write){email(10, "a@x.org"), email(11, "A@x.org")}, 1},
		"archived, then email taken": {[]func(w *Write){kind(10, KindArchive), email(11, "jo@x.org")}, 1},
		"archived and restored":      {[]func(w *Write){kind(10, KindArchive), kind(10, KindRestore)}, 1},
		"archived twice":             {[]func(w *Write){kind(10, KindArchive), kind(10, KindArchive)}, 2},
		"created and archived":       {[]func(w *Write){kind(40, KindCreate), kind(40, KindArchive)}, 1},
		"created and changed":        {[]func(w *Write){kind(40, KindCreate), func(w *Write) { w.Contact = idOf(40) }}, 2},
		"failed, then email":         {[]func(w *Write){kind(10, KindCreate), email(10, "a@x.org")}, 2},
		"retry behind":               {[]func(w *Write){func(*Write) {}, retry}, 1},
		"retry behind a failure":     {[]func(w *Write){kind(10, KindCreate), retry}, 1},
		"two retries of a contact":   {[]func(w *Write){retry, retry}, 1},
		"retries of two contacts": {[]func(w *Write){retry, func(w *Write) {
			retry(w)
			w.Contact = idOf(11)
		}}, 2},
		"retry first":  {[]func(w *Write){retry, func(*Write) {}}, 2},
		"forced retry": {[]func(w *Write){func(*Write) {}, func(w *Write) { retry(w); w.Force = true }}, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup()
			other(b)
			entries := make([]Entry, 0, len(tt.writes))
			for _, w := range tt.writes {
				entries = append(entries, b.patch(w))
			}
			if got := b.fold(entries).Consumed; got != tt.want {
				t.Errorf("consumed %d, want %d", got, tt.want)
			}
		})
	}
}

func TestFoldRetrySkipsWhatChangedSince(t *testing.T) {
	t.Parallel()
	retry := func(w *Write) {
		w.RetryOf, w.RetryAcceptedAt = idOf(5), epoch.Add(30*time.Second)
		w.Patch.SetText(JobTitle, new("old title"))
		w.Patch.SetText(CompanyName, new("company"))
		w.Patch.SetText(Email, new("old@x.org"))
		w.Patch.NotesAppend = new("old note")
		w.Patch.TagsAdd = []string{"old tag"}
		w.Patch.MetadataMerge = json.RawMessage(`{"a":"old","new":1}`)
		w.Patch.CustomFields = map[string]json.RawMessage{"size": json.RawMessage(`"old"`)}
		w.Patch.SMSUnsubscribed = new(false)
	}
	later := func(w *Write) {
		w.Patch.SetText(JobTitle, new("new title"))
		w.Patch.SetText(Email, new("new@x.org"))
		w.Patch.NotesAppend = new("new note")
		w.Patch.TagsAdd = []string{"new tag"}
		w.Patch.MetadataMerge = json.RawMessage(`{"a":"new"}`)
		w.Patch.CustomFields = map[string]json.RawMessage{"size": json.RawMessage(`"new"`)}
		w.Patch.SMSUnsubscribed = new(true)
	}
	b := setup()
	b.apply(later)
	o := b.apply(retry)
	diff(t, "changes", []string{`company_name set null "company"`, `metadata.new set null 1`}, changesOf(o))
	skipped := []Skip{
		{"email", SkipChangedSince},
		{"job_title", SkipChangedSince},
		{"notes", SkipChangedSince},
		{"tags", SkipChangedSince},
		{"custom_fields.size", SkipChangedSince},
		{"metadata.a", SkipChangedSince},
		{"sms_unsubscribed", SkipNewerConsent},
	}
	diff(t, "skipped", skipped, o.Skipped)

	b = setup()
	b.apply(later)
	o = b.apply(func(w *Write) { retry(w); w.Force = true })
	diff(t, "skipped by force", []Skip{{"sms_unsubscribed", SkipNewerConsent}}, o.Skipped)
	diff(t, "notes", "new note\nold note", *o.Contact.Text[Notes])

	b = setup()
	b.apply(func(w *Write) { w.Kind = KindArchive })
	o = b.apply(func(w *Write) { w.Kind, w.RetryOf, w.RetryAcceptedAt = KindRestore, idOf(5), epoch })
	if o.State != Unchanged || len(o.Skipped) != 1 || o.Skipped[0].Field != "archived_at" {
		t.Errorf("retried restore: %s, skipped %v", o.State, o.Skipped)
	}
}

// Appends share one growing text; what replaces it begins another, and a
// contact handed out earlier keeps what it showed.
func TestFoldAppendsAfterASet(t *testing.T) {
	t.Parallel()
	b := setup()
	add := func(s string) Entry { return b.patch(func(w *Write) { w.Patch.NotesAppend = &s }) }
	set := func(s *string) Entry { return b.patch(func(w *Write) { w.Patch.SetText(Notes, s) }) }
	tooLong := strings.Repeat("z", 64)
	out := b.fold([]Entry{
		add("1"), add("2"), add("3"), add(tooLong), add("4"), set(new("x")), add("5"), add("6"), set(nil), add("7"), set(new("")), add("8"),
	})
	want := []string{"1", "1\n2", "1\n2\n3", "", "1\n2\n3\n4", "x", "x\n5", "x\n5\n6", "", "7", "", "8"}
	for i, o := range out.Outcomes {
		got := ""
		if o.Contact != nil && o.Contact.Text[Notes] != nil {
			got = *o.Contact.Text[Notes]
		}
		if got != want[i] {
			t.Errorf("notes after write %d: %q, want %q", i, got, want[i])
		}
	}
}
