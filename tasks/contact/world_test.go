package contact

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// epoch is when the worlds of the tests begin.
var epoch = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// idOf returns a fixed id for a small number.
func idOf(n uint64) uuid.UUID {
	id := uuid.UUID{0: 0x01, 6: 0x70, 8: 0x80}
	binary.BigEndian.PutUint64(id[8:], n|1<<63)
	return id
}

// world stands in for the store: it holds contacts and the change log.
type world struct {
	contacts map[Ref]*Contact
	log      []Outcome
	lock     map[uuid.UUID]bool
	// origins holds, by the id of a retry, when the failed write was accepted.
	origins map[uuid.UUID]time.Time
	// respell makes the world store JSON as jsonb would: spelled anew.
	respell bool
}

func newWorld() *world {
	return &world{contacts: map[Ref]*Contact{}, lock: map[uuid.UUID]bool{}, origins: map[uuid.UUID]time.Time{}}
}

func (w *world) taken(account uuid.UUID, f Field, key string, self uuid.UUID) bool {
	for ref, c := range w.contacts {
		if ref.Account != account || ref.ID == self {
			continue
		}
		if have, ok := uniqueKey(c, true, f); ok && have == key {
			return true
		}
	}
	return false
}

// changedSince does what the store does for the retries of a batch. What a retry
// changed counts as changed when the failed write was accepted.
func (w *world) changedSince(entries []Entry) map[uuid.UUID]map[string]bool {
	changed := map[uuid.UUID]map[string]bool{}
	for i := range entries {
		e := &entries[i]
		if e.RetryOf == uuid.Nil || e.Force {
			continue
		}
		changed[e.ID] = map[string]bool{}
		for _, o := range w.log {
			at := o.AcceptedAt
			if retried, ok := w.origins[o.WriteID]; ok {
				at = retried
			}
			if o.Ref != e.Ref() || !at.After(e.RetryAcceptedAt) {
				continue
			}
			for _, ch := range o.Changes {
				changed[e.ID][ch.Field] = true
			}
		}
	}
	return changed
}

// fold applies the head of the entries and returns what was consumed.
func (w *world) fold(entries []Entry) Folded {
	b := Batch{
		Now: epoch.Add(time.Hour), NotesLimit: 64, Contacts: w.contacts, ConsentLock: w.lock,
		Taken: w.taken, ChangedSince: w.changedSince(entries),
	}
	out := b.Fold(entries)
	for _, fc := range slices.Concat(out.Created, out.Updated) {
		w.store(fc)
	}
	for i := range out.Outcomes {
		if e := &entries[i]; e.RetryOf != uuid.Nil {
			w.origins[e.ID] = e.RetryAcceptedAt
		}
	}
	w.log = append(w.log, out.Outcomes...)
	return out
}

// store writes a row as the store does: large columns that are not set keep
// what was there before.
func (w *world) store(fc FoldedContact) {
	c := *fc.Contact
	if old := w.contacts[c.Ref]; old != nil {
		if !fc.NotesSet {
			c.Text[Notes] = old.Text[Notes]
		}
		if !fc.TagsSet {
			c.Tags = old.Tags
		}
		if !fc.MetadataSet {
			c.Metadata = old.Metadata
		}
		if !fc.CustomFieldsSet {
			c.CustomFields = old.CustomFields
		}
	}
	if w.respell {
		c.Metadata, c.CustomFields = respell(c.Metadata), respell(c.CustomFields)
	}
	w.contacts[c.Ref] = &c
}

// respell spells a JSON value in another way.
func respell(v json.RawMessage) json.RawMessage {
	var any map[string]any
	if json.Unmarshal(v, &any) != nil {
		return v
	}
	out, err := json.MarshalIndent(any, "", "  ")
	if err != nil {
		return v
	}
	return out
}

// run applies all entries, batch after batch, of at most size entries each.
func (w *world) run(entries []Entry, size int) {
	for len(entries) > 0 {
		entries = entries[w.fold(entries[:min(size, len(entries))]).Consumed:]
	}
}

// seen is a contact as two worlds can be compared by it.
func seen(c *Contact) Contact {
	out := *c
	out.Metadata, _ = canonical(c.Metadata)
	out.CustomFields, _ = canonical(c.CustomFields)
	out.Tags = slices.Concat([]string{}, c.Tags)
	return out
}

func (w *world) seen() map[Ref]Contact {
	all := make(map[Ref]Contact, len(w.contacts))
	for ref, c := range w.contacts {
		all[ref] = seen(c)
	}
	return all
}

// outcomes returns the log in a comparable form.
func (w *world) outcomes() []Outcome {
	log := slices.Clone(w.log)
	for i := range log {
		if log[i].Contact != nil {
			c := seen(log[i].Contact)
			log[i].Contact = &c
		}
	}
	return log
}

func diff(t interface{ Fatalf(string, ...any) }, what string, want, got any) {
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Patch{})); d != "" {
		t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

// Generators: few contacts and few values, so that writes meet.

func genText(f Field) *rapid.Generator[*string] {
	pool := map[Field][]string{
		Email:      {"a@x.org", "A@x.org", "b@x.org", "ü@bücher.example"},
		ExternalID: {"e1", "e2", "E2"},
		Phone:      {"+31612345678", "+31687654321"},
		Notes:      {"", "n", "n\nm", "a long note that takes most of the room"},
	}
	values := pool[f]
	if values == nil {
		values = []string{"x", "y \"q\" <&>", ""}
	}
	return rapid.Custom(func(t *rapid.T) *string {
		if f != FirstName && rapid.IntRange(0, 3).Draw(t, "null") == 0 {
			return nil
		}
		return new(rapid.SampledFrom(values).Draw(t, f.String()))
	})
}

func genJSON() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{
		`null`, `1`, `1.0`, `10e-1`, `"s"`, `"\u00e9"`, `"é"`, `{"b":1,"a":[1, 2]}`, `{"a":null}`, `{}`, `[null]`, `{"a":{"c":2}}`,
	})
}

func genObject() *rapid.Generator[json.RawMessage] {
	return rapid.Custom(func(t *rapid.T) json.RawMessage {
		members := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "cc", "d\"d"}), genJSON(), 0, 4).Draw(t, "members")
		out := []byte("{ ")
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if len(out) > 2 {
				out = append(out, ", "...)
			}
			out = append(append(appendString(out, name), " : "...), members[name]...)
		}
		return append(out, '}')
	})
}

func genTags(low int) *rapid.Generator[[]string] {
	return rapid.Custom(func(t *rapid.T) []string {
		drawn := rapid.SliceOfN(rapid.SampledFrom([]string{"vip", "VIP", "new", "été", "ÉTÉ"}), low, 4).Draw(t, "tags")
		return append([]string{}, addTags(nil, drawn)...)
	})
}

// genPatch draws a patch as Validate would leave it, a few spellings aside.
func genPatch() *rapid.Generator[Patch] {
	some := func(t *rapid.T, one int, name string) bool { return rapid.IntRange(1, one).Draw(t, name) == 1 }
	return rapid.Custom(func(t *rapid.T) Patch {
		var p Patch
		for _, f := range []Field{FirstName, Email, Phone, ExternalID, JobTitle, Notes} {
			if some(t, 5, "has") {
				p.SetText(f, genText(f).Draw(t, "value"))
			}
		}
		if _, has := p.Text(Notes); !has && some(t, 3, "append") {
			p.NotesAppend = new(rapid.SampledFrom([]string{"", "t1", "t2\n", "a text of some length"}).Draw(t, "appended"))
		}
		switch rapid.IntRange(0, 7).Draw(t, "tags") {
		case 0:
			p.Tags = genTags(0).Draw(t, "replace")
		case 1:
			p.TagsAdd = genTags(1).Draw(t, "add")
		case 2:
			p.TagsRemove = genTags(1).Draw(t, "remove")
		case 3:
			p.TagsAdd, p.TagsRemove = []string{"new"}, []string{"Vip"}
		}
		switch rapid.IntRange(0, 5).Draw(t, "metadata") {
		case 0:
			p.Metadata = genObject().Draw(t, "replace")
		case 1, 2:
			p.MetadataMerge = genObject().Draw(t, "merge")
		}
		if some(t, 4, "custom") {
			p.CustomFields = map[string]json.RawMessage{}
			for _, name := range []string{"size", "colour"} {
				if some(t, 2, name) {
					p.CustomFields[name] = json.RawMessage(rapid.SampledFrom([]string{`null`, `1`, `1.0`, `"x"`}).Draw(t, "value"))
				}
			}
		}
		if some(t, 5, "email consent") {
			p.EmailUnsubscribed = new(rapid.Bool().Draw(t, "out"))
		}
		if some(t, 5, "sms consent") {
			p.SMSUnsubscribed = new(rapid.Bool().Draw(t, "out"))
		}
		return p
	})
}

// genEntry draws the n-th entry of a lane.
func genEntry(t *rapid.T, n int) Entry {
	accepted := epoch.Add(time.Duration(n) * time.Second)
	w := Write{
		ID: idOf(uint64(1000 + n)), Account: idOf(1), Contact: idOf(uint64(10 + rapid.IntRange(0, 3).Draw(t, "contact"))),
		Kind:       rapid.SampledFrom([]Kind{KindPatch, KindPatch, KindPatch, KindPatch, KindPatch, KindPatch, KindCreate, KindCreate, KindArchive, KindRestore}).Draw(t, "kind"),
		AcceptedAt: accepted, Source: SourcePatch, Actor: "key",
	}
	if w.Kind == KindPatch || w.Kind == KindCreate {
		w.Patch = genPatch().Draw(t, "patch")
	}
	switch rapid.IntRange(0, 11).Draw(t, "terms") {
	case 0:
		w.AsOf = accepted.Add(-time.Duration(rapid.IntRange(0, 5).Draw(t, "age")) * time.Second)
	case 1:
		w.IfMatch = rapid.SampledFrom([][]int64{{}, {1}, {1, 2, 3}}).Draw(t, "if match")
	case 2:
		w.RetryOf, w.RetryAcceptedAt = idOf(5), epoch.Add(time.Duration(rapid.IntRange(0, n).Draw(t, "retried"))*time.Second)
		w.Force = rapid.Bool().Draw(t, "force")
	case 3, 4:
		w.ReplyTo = "api-1"
	}
	return Entry{Offset: Offset{Ms: uint64(n) + 1}, Write: w}
}

func genLane(t *rapid.T) []Entry {
	entries := make([]Entry, rapid.IntRange(1, 30).Draw(t, "entries"))
	for i := range entries {
		entries[i] = genEntry(t, i)
	}
	return entries
}
