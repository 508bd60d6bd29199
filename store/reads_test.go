package store_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"patchlane/store"
	"patchlane/tasks/contact"
)

func TestOtherAccountSeesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, other := t.Context(), uuid.New()
	id := b.contactsNamed("Ada")[0]
	out := b.mustApply(b.patch(id, contact.Email, "a@b.example"), b.patch(uuid.New(), contact.Email, "c@d.example"))
	notFound := map[string]error{}
	_, notFound["contact"] = b.Store.Contact(ctx, contact.Ref{Account: other, ID: id})
	_, notFound["as of"] = b.Store.ContactAsOf(ctx, contact.Ref{Account: other, ID: id}, 1)
	_, notFound["write"] = b.Store.Write(ctx, other, out[0].WriteID)
	_, notFound["claim"] = b.Store.ClaimRetry(ctx, other, out[1].WriteID, uuid.New())
	notFound["discard"] = b.Store.Discard(ctx, other, out[1].WriteID)
	for name, err := range notFound {
		if contact.CodeOf(err) != contact.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	email := "a@b.example"
	contacts, err := b.Store.Contacts(ctx, contact.ContactQuery{Account: other, Email: &email, Limit: 10})
	if err != nil || len(contacts.Contacts) != 0 {
		t.Errorf("contacts: %+v, %v", contacts, err)
	}
	writes, err := b.Store.Writes(ctx, contact.WriteQuery{Account: other, Limit: 10})
	if err != nil || len(writes.Writes) != 0 {
		t.Errorf("writes: %+v, %v", writes, err)
	}
	log, err := b.Store.ChangeLog(ctx, contact.LogQuery{Account: other, Contact: id, Limit: 10})
	if err != nil || len(log.Rows) != 0 {
		t.Errorf("log: %+v, %v", log, err)
	}
	there, err := b.Store.Existence(ctx, []contact.Ref{{Account: other, ID: id}, b.ref(id), b.ref(uuid.New())})
	if err != nil || !cmp.Equal(there, []contact.Existence{contact.Missing, contact.Active, contact.Missing}) {
		t.Errorf("existence: %v, %v", there, err)
	}
	// A write of another account to this contact finds nobody.
	e := b.patch(id, contact.Email, "stolen@b.example")
	e.Account = other
	if o := b.mustApply(e)[0]; o.Code != contact.CodeNotFound {
		t.Errorf("write of another account: %+v", o)
	}
	// The same id may live in another account.
	e = b.create(id, "Eve")
	e.Account = other
	if o := b.mustApply(e)[0]; o.State != contact.Applied {
		t.Errorf("create under another account: %+v", o)
	}
	if c := b.contact(id); text(c, contact.FirstName) != "Ada" {
		t.Errorf("the contact is now %q", text(c, contact.FirstName))
	}
}

func TestContactsLookUpAndPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	names := make([]string, 7)
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i)
	}
	ids := b.contactsNamed(names...)
	b.mustApply(b.patch(ids[0], contact.Email, "Ada@b.example"), b.patch(ids[1], contact.Phone, "+491701234567"),
		b.patch(ids[2], contact.ExternalID, "x-1"))
	b.mustApply(b.entry(contact.KindArchive, ids[0], nil))
	find := func(q contact.ContactQuery) []uuid.UUID {
		q.Account, q.Limit = b.account, 100
		page, err := b.Store.Contacts(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		found := make([]uuid.UUID, 0, len(page.Contacts))
		for _, c := range page.Contacts {
			found = append(found, c.ID)
		}
		return found
	}
	email, phone, external := "ADA@b.example", "+491701234567", "x-1"
	for name, tc := range map[string]struct {
		q    contact.ContactQuery
		want []uuid.UUID
	}{
		"archived is hidden": {contact.ContactQuery{Email: &email}, []uuid.UUID{}},
		"archived is asked":  {contact.ContactQuery{Email: &email, IncludeArchived: true}, ids[:1]},
		"phone":              {contact.ContactQuery{Phone: &phone}, ids[1:2]},
		"external id":        {contact.ContactQuery{ExternalID: &external}, ids[2:3]},
		"both must match":    {contact.ContactQuery{ExternalID: &external, Phone: &phone}, []uuid.UUID{}},
	} {
		if diff := cmp.Diff(tc.want, find(tc.q)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	seen := map[uuid.UUID]bool{}
	q := contact.ContactQuery{Account: b.account, Limit: 4}
	for pages := 0; ; pages++ {
		page, err := b.Store.Contacts(ctx, q)
		if err != nil || pages > 3 {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, c := range page.Contacts {
			seen[c.ID] = true
		}
		if q.After = page.Next; !page.HasMore {
			break
		}
	}
	if len(seen) != 6 {
		t.Errorf("pages hold %d contacts, want 6", len(seen))
	}
}

func TestContactsPagesBothWays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.contactsNamed("a", "b", "c", "d", "e")
	read := func(cursor string) contact.ContactPage {
		page, err := b.Store.Contacts(t.Context(), contact.ContactQuery{Account: b.account, Limit: 2, After: cursor})
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	first := read("")
	second := read(first.Next)
	third := read(second.Next)
	if first.Prev != "" || third.Next != "" || third.HasMore || len(third.Contacts) != 1 {
		t.Errorf("ends: first %+v, third %+v", first, third)
	}
	for _, back := range []struct {
		from contact.ContactPage
		want contact.ContactPage
	}{{third, second}, {second, first}} {
		got := read(back.from.Prev)
		if diff := cmp.Diff(back.want, got); diff != "" {
			t.Errorf("the page before is another:\n%s", diff)
		}
	}
}

func TestBadCursor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.contactsNamed("a", "b")
	page, err := b.Store.Contacts(t.Context(), contact.ContactQuery{Account: b.account, Limit: 1})
	if err != nil || page.Next == "" {
		t.Fatalf("%+v, %v", page, err)
	}
	for _, cursor := range []string{"?", "AAAA", page.Next + "A", page.Next} {
		_, err := b.Store.Writes(t.Context(), contact.WriteQuery{Account: b.account, Limit: 1, After: cursor})
		if contact.CodeOf(err) != contact.CodeValidationFailed {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

func TestWritesList(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	b.mustApply(b.note(id, "1"), b.patch(id, contact.FirstName, "Ada"), b.note(uuid.New(), "2"), b.note(id, "3"))
	list := func(q contact.WriteQuery) string {
		q.Account, q.Limit = b.account, 2
		s := ""
		for range 5 {
			page, err := b.Store.Writes(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Writes {
				s += string(r.State[0])
			}
			if q.After = page.Next; !page.HasMore {
				break
			}
		}
		return s
	}
	for _, tc := range []struct {
		q    contact.WriteQuery
		want string
	}{
		{contact.WriteQuery{}, "afuaa"},
		{contact.WriteQuery{Contact: id}, "auaa"},
		{contact.WriteQuery{State: contact.Failed}, "f"},
		{contact.WriteQuery{State: contact.Unchanged}, "u"},
		{contact.WriteQuery{Code: contact.CodeNotFound}, "f"},
		{contact.WriteQuery{Code: contact.CodeArchived}, ""},
		{contact.WriteQuery{State: contact.Queued}, ""},
		{contact.WriteQuery{State: contact.Retried}, ""},
		{contact.WriteQuery{State: contact.Discarded}, ""},
	} {
		if got := list(tc.q); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.q, got, tc.want)
		}
	}
}

func TestChangeLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.contactsNamed("Ada", "Bob")
	start := time.Now()
	both := b.entry(contact.KindPatch, ids[0], func(p *contact.Patch) {
		title, company := "CEO", "Acme"
		p.SetText(contact.JobTitle, &title)
		p.SetText(contact.CompanyName, &company)
	})
	b.mustApply(both, b.note(ids[1], "n"), b.note(ids[0], "m"))
	read := func(q contact.LogQuery) []string {
		q.Account, q.Limit = b.account, 1
		lines := []string{}
		ids := map[string]bool{}
		for range 20 {
			page, err := b.Store.ChangeLog(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Rows {
				lines = append(lines, fmt.Sprintf("%d %s %s %s->%s", r.Version, r.Op, r.Field, r.Old, r.New))
				ids[r.ID] = true
			}
			if q.After = page.Next; !page.HasMore {
				break
			}
		}
		if len(ids) != len(lines) {
			t.Errorf("%d ids in %d rows", len(ids), len(lines))
		}
		return lines
	}
	ada := []string{
		`3 append notes null->"m"`, `2 set job_title null->"CEO"`,
		`2 set company_name null->"Acme"`, `1 set first_name null->"Ada"`,
	}
	for name, tc := range map[string]struct {
		q    contact.LogQuery
		want []string
	}{
		"contact": {contact.LogQuery{Contact: ids[0]}, ada},
		"all": {contact.LogQuery{}, []string{
			ada[0], `2 append notes null->"n"`, ada[1], ada[2], `1 set first_name null->"Bob"`, ada[3],
		}},
		"field":         {contact.LogQuery{Contact: ids[0], Field: "job_title"}, ada[1:2]},
		"write":         {contact.LogQuery{WriteID: both.ID}, ada[1:3]},
		"since":         {contact.LogQuery{Contact: ids[0], From: start}, ada[:3]},
		"until":         {contact.LogQuery{Contact: ids[0], To: start}, ada[3:]},
		"unknown field": {contact.LogQuery{Field: "job"}, []string{}},
	} {
		if diff := cmp.Diff(tc.want, read(tc.q)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestContactAsOf(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.define([]string{"a", "b"})
	id := b.contactsNamed("Ada")[0]
	later := []contact.Entry{
		b.note(id, "one"), b.patch(id, contact.JobTitle, "CEO"), b.note(id, "two"),
		b.entry(contact.KindPatch, id, func(p *contact.Patch) {
			p.Tags = []string{"a", "b"}
			p.Metadata = json.RawMessage(`{"k": {"n": 1.50}}`)
		}),
		b.entry(contact.KindArchive, id, nil), b.entry(contact.KindRestore, id, nil),
	}
	want := make([]contact.Contact, 0, len(later)+1)
	want = append(want, b.contact(id))
	for _, e := range later {
		b.mustApply(e)
		want = append(want, b.contact(id))
	}
	for i, w := range want {
		got, err := b.Store.ContactAsOf(t.Context(), b.ref(id), int64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(w, got); diff != "" {
			t.Errorf("version %d:\n%s", i+1, diff)
		}
	}
	for _, v := range []int64{0, -1, int64(len(want) + 1)} {
		if _, err := b.Store.ContactAsOf(t.Context(), b.ref(id), v); contact.CodeOf(err) != contact.CodeNotFound {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

func TestTricksComeBackByteForByte(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tricks := []string{
		`'; DROP TABLE contacts; --`, `$1 $2 ? ?? :name @p`, `\'; \\ \x00 \u0000`, `{"a":"b"}`,
		`{NULL,"a,b"}`, `NULL`, ``, "tab\tnewline\ncr\r\u2028", `"quoted"`,
		"\u202ertl \U0001F600 e\u0301", `<script>&amp;</script>`, `%s%n`, `E'\n'`, " lead and trail ",
	}
	b.define(nil, "c")
	for _, trick := range tricks {
		b.define([]string{trick + "t"})
		id := uuid.New()
		value, _ := json.Marshal(map[string]string{"k": trick})
		e := b.entry(contact.KindCreate, id, func(p *contact.Patch) {
			for f := range contact.NumFields {
				if v := trick; f != contact.DateOfBirth && f != contact.Email && f != contact.ExternalID {
					p.SetText(f, &v)
				}
			}
			mail, external := trick+id.String(), trick+id.String()
			p.SetText(contact.Email, &mail)
			p.SetText(contact.ExternalID, &external)
			p.Tags = []string{trick + "t"}
			p.Metadata = value
			p.CustomFields = map[string]json.RawMessage{"c": json.RawMessage(`"x"`)}
		})
		e.Actor = trick
		o := b.mustApply(e)[0]
		if o.State != contact.Applied {
			t.Errorf("%q: %+v", trick, o)
			continue
		}
		c := b.contact(id)
		for f := range contact.NumFields {
			want := trick
			if f == contact.Email || f == contact.ExternalID {
				want = trick + id.String()
			}
			if f == contact.DateOfBirth {
				want = ""
			}
			if got := text(c, f); got != want {
				t.Errorf("%s: %q, want %q", f, got, want)
			}
		}
		var metadata map[string]string
		if err := json.Unmarshal(c.Metadata, &metadata); err != nil || metadata["k"] != trick {
			t.Errorf("metadata %s: %v", c.Metadata, err)
		}
		if !cmp.Equal(c.Tags, []string{trick + "t"}) {
			t.Errorf("tags %q", c.Tags)
		}
		external := trick + id.String()
		page, err := b.Store.Contacts(t.Context(), contact.ContactQuery{Account: b.account, ExternalID: &external, Limit: 2})
		if err != nil || len(page.Contacts) != 1 {
			t.Errorf("%q is found %d times: %v", external, len(page.Contacts), err)
		}
		r, err := b.Store.Write(t.Context(), b.account, o.WriteID)
		if err != nil || r.Actor != trick {
			t.Errorf("actor %q: %v", r.Actor, err)
		}
		var logged string
		for _, ch := range r.Changes {
			if ch.Field == "job_title" {
				_ = json.Unmarshal(ch.New, &logged)
			}
		}
		if logged != trick && trick != "" {
			t.Errorf("audit has %q of %q", logged, trick)
		}
		log, err := b.Store.ChangeLog(t.Context(), contact.LogQuery{Account: b.account, Field: trick, Limit: 1})
		if err != nil || (len(log.Rows) != 0 && trick != "") {
			t.Errorf("field %q: %+v, %v", trick, log, err)
		}
	}
}

func TestExecModeOfPoolers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s, err := store.Open(t.Context(), store.Config{URL: b.URL + "&default_query_exec_mode=exec"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	b.Store = s
	id := uuid.New()
	b.mustApply(b.create(id, "Ada"), b.note(id, "x"), b.note(uuid.New(), "y"))
	b.mustApply(b.patch(id, contact.Email, "a@b.example"), b.patch(id, contact.DateOfBirth, "2000-02-29"))
	if c := b.contact(id); c.Version != 4 || text(c, contact.DateOfBirth) != "2000-02-29" {
		t.Errorf("version %d, born %q", c.Version, text(c, contact.DateOfBirth))
	}
	if log, err := s.ChangeLog(t.Context(), contact.LogQuery{Account: b.account, Limit: 10}); err != nil || len(log.Rows) != 4 {
		t.Errorf("log: %+v, %v", log, err)
	}
	if _, err := s.Existence(t.Context(), []contact.Ref{b.ref(id)}); err != nil {
		t.Error(err)
	}
}

func TestLookUpsOfWhatCannotBeStored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, v := range []string{"a\x00b", "\xff"} {
		contacts, err := b.Store.Contacts(t.Context(), contact.ContactQuery{Account: b.account, Phone: &v, Limit: 1})
		if err != nil || len(contacts.Contacts) != 0 {
			t.Errorf("contacts: %+v, %v", contacts, err)
		}
		log, err := b.Store.ChangeLog(t.Context(), contact.LogQuery{Account: b.account, Field: v, Limit: 1})
		if err != nil || len(log.Rows) != 0 {
			t.Errorf("log: %+v, %v", log, err)
		}
		writes, err := b.Store.Writes(t.Context(), contact.WriteQuery{Account: b.account, Code: contact.Code(v), Limit: 1})
		if err != nil || len(writes.Writes) != 0 {
			t.Errorf("writes: %+v, %v", writes, err)
		}
	}
}
