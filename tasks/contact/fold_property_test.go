package contact

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// Folding batches of any size, cut where Fold cuts them, is the same as
// applying the writes one by one: contacts, outcomes and changes.
func TestFoldEqualsOneByOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		entries := genLane(t)
		folded, single := newWorld(), newWorld()
		single.respell = true
		if rapid.Bool().Draw(t, "consent lock") {
			folded.lock[idOf(1)], single.lock[idOf(1)] = true, true
		}
		folded.run(entries, rapid.IntRange(2, len(entries)+1).Draw(t, "batch"))
		single.run(entries, 1)
		diff(t, "outcomes", single.outcomes(), folded.outcomes())
		diff(t, "contacts", single.seen(), folded.seen())
	})
}

// No two active contacts of an account ever share a unique value.
func TestFoldKeepsUniqueValuesUnique(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.run(genLane(t), 30)
		for ref, c := range w.contacts {
			for _, f := range []Field{Email, ExternalID} {
				if key, ok := uniqueKey(c, true, f); ok && w.taken(ref.Account, f, key, ref.ID) {
					t.Fatalf("two active contacts have the same %s", f)
				}
			}
		}
	})
}

// A batch is input: Fold leaves it as it was.
func TestFoldIsPure(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.run(genLane(t), 30)
		before := w.seen()
		entries := genLane(t)
		b := Batch{Now: epoch, Contacts: w.contacts, Taken: w.taken}
		first := b.Fold(entries)
		diff(t, "contacts of the batch", before, w.seen())
		diff(t, "second fold", first, b.Fold(entries))
	})
}

// Versions count the applied writes without a gap, and what did not apply
// leaves no trace.
func TestFoldCountsVersions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.run(genLane(t), 30)
		versions := map[Ref]int64{}
		for _, o := range w.log {
			switch o.State {
			case Applied:
				versions[o.Ref]++
				if len(o.Changes) == 0 && o.Kind != KindCreate {
					t.Fatalf("an applied write has no changes")
				}
			default:
				if len(o.Changes) != 0 {
					t.Fatalf("a write that is %s has changes", o.State)
				}
			}
			if o.State != Failed && o.Version != versions[o.Ref] {
				t.Fatalf("version %d after %d applied writes", o.Version, versions[o.Ref])
			}
		}
	})
}

// Replaying the change log from an empty contact gives the contact, and each
// old value is the new value before it.
func TestChangesReplayToTheContact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.run(genLane(t), 7)
		replayed := map[Ref]*replay{}
		for _, o := range w.log {
			if o.State != Applied {
				continue
			}
			if replayed[o.Ref] == nil {
				replayed[o.Ref] = &replay{values: map[string]string{}}
			}
			for _, ch := range o.Changes {
				replayed[o.Ref].apply(t, ch)
			}
		}
		for ref, c := range w.contacts {
			diff(t, "replayed contact", flatten(c), replayed[ref].values)
		}
	})
}

// replay is a contact as somebody sees it who reads the change log alone: JSON
// values by field, absent for nothing.
type replay struct{ values map[string]string }

func (r *replay) apply(t *rapid.T, ch Change) {
	old, had := r.values[ch.Field]
	if !had {
		old = "null"
	}
	switch {
	case ch.Op == OpAppend:
		text := unquote(ch.New)
		if had {
			text = unquote([]byte(old)) + "\n" + text
		}
		r.values[ch.Field] = string(appendString(nil, text))
		return
	case ch.Field == "tags" && ch.Op == OpAdd:
		r.values[ch.Field] = string(appendStrings(nil, slices.Concat(tagsOf([]byte(old)), tagsOf(ch.New))))
		return
	case ch.Field == "tags" && ch.Op == OpRemove:
		kept, removed := removeTags(tagsOf([]byte(old)), tagsOf(ch.Old))
		if len(removed) != len(tagsOf(ch.Old)) {
			t.Fatalf("removed tags that were not there: %s of %s", ch.Old, old)
		}
		if delete(r.values, ch.Field); len(kept) > 0 {
			r.values[ch.Field] = string(appendStrings(nil, kept))
		}
		return
	}
	// Flags and lists of a contact that says nothing yet read as false and [].
	unset := !had && (string(ch.Old) == "false" || string(ch.Old) == "[]")
	if string(ch.Old) != old && !unset {
		t.Fatalf("%s: old value %s, but the new value before was %s", ch.Field, ch.Old, old)
	}
	if nothing := isNull(ch.New) || string(ch.New) == "false" || string(ch.New) == "[]"; ch.Op == OpRemove || (ch.Op == OpSet && nothing) {
		delete(r.values, ch.Field)
		return
	}
	r.values[ch.Field] = string(ch.New)
}

// flatten shows a contact as replay does.
func flatten(c *Contact) map[string]string {
	values := map[string]string{}
	for f := range NumFields {
		if v := c.Text[f]; v != nil {
			values[f.String()] = string(appendString(nil, *v))
		}
	}
	for prefix, raw := range map[string]json.RawMessage{"metadata.": c.Metadata, "custom_fields.": c.CustomFields} {
		members, _ := parseObject(raw)
		for _, m := range members {
			values[prefix+unquote(m.name)] = string(m.value)
		}
	}
	for name, clock := range map[string]Consent{"email_unsubscribed": c.EmailConsent, "sms_unsubscribed": c.SMSConsent} {
		if cause, _, out := clock.Standing(); out {
			values[name], values[name+"_reason"] = "true", `"`+cause.String()+`"`
		}
	}
	if len(c.Tags) > 0 {
		values["tags"] = string(appendStrings(nil, c.Tags))
	}
	if c.ArchivedAt != nil {
		values["archived_at"] = `"` + c.ArchivedAt.Format(timeForm) + `"`
	}
	if c.ArchivedBy != nil {
		values["archived_by"] = string(appendString(nil, *c.ArchivedBy))
	}
	return values
}

// Rewinding any number of writes gives the contact as it was before them.
func TestRewindInverts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.respell = true
		past := map[Ref]map[int64]map[string]string{}
		for _, e := range genLane(t) {
			w.fold([]Entry{e})
			if c := w.contacts[e.Ref()]; c != nil {
				if past[c.Ref] == nil {
					past[c.Ref] = map[int64]map[string]string{}
				}
				past[c.Ref][c.Version] = sortTags(flatten(c))
			}
		}
		for ref, versions := range past {
			for version, want := range versions {
				c := *w.contacts[ref]
				Rewind(&c, w.later(ref, version))
				if c.Version != version {
					t.Fatalf("version %d, want %d", c.Version, version)
				}
				diff(t, "rewound contact", want, sortTags(flatten(&c)))
			}
		}
	})
}

// later lists the writes above a version, the newest first.
func (w *world) later(ref Ref, version int64) []Record {
	var out []Record
	for _, o := range slices.Backward(w.log) {
		if o.Ref == ref && o.Version > version {
			out = append(out, Record{Outcome: o})
		}
	}
	return out
}

// sortTags drops what the log does not know: the flags of a replay that were
// taken back, and the place of a tag that was removed.
func sortTags(values map[string]string) map[string]string {
	if tags, ok := values["tags"]; ok {
		list := tagsOf([]byte(tags))
		slices.Sort(list)
		values["tags"] = strings.Join(list, ",")
	}
	for name, v := range values {
		if v == "false" {
			delete(values, name)
		}
	}
	return values
}

// Writes of consent commute: the clocks end the same in whatever order they
// were applied, and so does any replay of one.
func TestConsentCommutes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		entries := make([]Entry, rapid.IntRange(1, 8).Draw(t, "entries"))
		for i := range entries {
			e := genEntry(t, i)
			e.Kind, e.Contact, e.IfMatch, e.RetryOf = KindPatch, idOf(10), nil, uuid.Nil
			e.Patch = Patch{SMSUnsubscribed: new(rapid.Bool().Draw(t, "out"))}
			entries[i] = e
		}
		start := Contact{Ref: entries[0].Ref(), Version: 1}
		start.SMSConsent.Out[KeywordStop] = epoch.UnixMicro() + rapid.Int64Range(-9e6, 9e6).Draw(t, "stop")
		final := func(entries []Entry) Consent {
			w := newWorld()
			w.contacts[start.Ref] = &start
			w.run(entries, 4)
			return w.contacts[start.Ref].SMSConsent
		}
		shuffled := rapid.Permutation(entries).Draw(t, "order")
		want := final(entries)
		diff(t, "clock", want, final(shuffled))
		diff(t, "clock after a replay", want, final(append(shuffled, entries[0])))
	})
}
