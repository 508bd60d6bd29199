package store_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"patchlane/tasks/contact"
)

// step is one write of a generated history, for one of a few contacts.
type step struct {
	contact int
	kind    contact.Kind
	edit    func(*contact.Patch)
	ifMatch []int64
}

func genStep(t *rapid.T) step {
	s := step{
		contact: rapid.IntRange(0, 3).Draw(t, "contact"),
		kind: rapid.SampledFrom([]contact.Kind{
			contact.KindPatch, contact.KindPatch, contact.KindPatch, contact.KindPatch,
			contact.KindCreate, contact.KindArchive, contact.KindRestore,
		}).Draw(t, "kind"),
	}
	if rapid.IntRange(0, 9).Draw(t, "conditional") == 0 {
		s.ifMatch = []int64{rapid.Int64Range(1, 4).Draw(t, "version")}
	}
	value := rapid.SampledFrom([]string{"a", "a", "b", ""}).Draw(t, "value")
	member := rapid.IntRange(0, 6).Draw(t, "member")
	s.edit = func(p *contact.Patch) {
		if s.kind != contact.KindPatch && s.kind != contact.KindCreate {
			return
		}
		name := "n" + value
		p.SetText(contact.LastName, &name)
		var unique *string
		if value != "" {
			unique = &value
		}
		switch member {
		case 0, 1:
			p.SetText(contact.Email, unique)
		case 2, 3:
			p.SetText(contact.ExternalID, unique)
		case 4:
			p.NotesAppend = &name
		case 5:
			p.TagsAdd = []string{name}
		case 6:
			out := value < "b"
			p.SMSUnsubscribed = &out
		}
	}
	return s
}

// TestBatchesEqualOneByOne applies one history twice, to two accounts: in
// batches as they come, and each write in a batch of its own. Contacts,
// outcomes and audit must be the same, and no batch may be refused.
func TestBatchesEqualOneByOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rapid.Check(t, func(rt *rapid.T) {
		// The contacts exist before most of the writes: else all would fail.
		steps := make([]step, 0, 3+24)
		for i := range 3 {
			steps = append(steps, step{contact: i, kind: contact.KindCreate})
		}
		steps = append(steps, rapid.SliceOfN(rapid.Custom(genStep), 4, 24).Draw(rt, "steps")...)
		size := rapid.IntRange(2, 24).Draw(rt, "batch size")
		start := time.Now().UTC().Truncate(time.Millisecond)
		var worlds [2]string
		var ids [4]uuid.UUID
		for i := range ids {
			ids[i] = uuid.New()
		}
		for w := range worlds {
			account := b.tenant(rt)
			entries := make([]contact.Entry, len(steps))
			b.clock = start
			for i, s := range steps {
				entries[i] = b.entry(s.kind, ids[s.contact], s.edit)
				entries[i].Account, entries[i].IfMatch = account, s.ifMatch
			}
			limit := size
			if w == 1 {
				limit = 1
			}
			worlds[w] = b.world(rt, entries, limit, ids[:], account)
		}
		if diff := cmp.Diff(worlds[1], worlds[0]); diff != "" {
			rt.Fatalf("batches differ from one by one:\n%s", diff)
		}
	})
}

// tenant makes an account that has defined two of the three tags of genStep.
func (b *bundle) tenant(rt *rapid.T) uuid.UUID {
	a, err := b.Store.CreateAccount(b.t.Context(), "Acme")
	for _, name := range []string{"na", "nb"} {
		if err == nil {
			_, _, err = b.Store.DefineTag(b.t.Context(), a.ID, contact.Tag{Name: name})
		}
	}
	if err != nil {
		rt.Fatal(err)
	}
	return a.ID
}

// world applies entries in batches and tells all that came of it.
func (b *bundle) world(rt *rapid.T, entries []contact.Entry, limit int, ids []uuid.UUID, account uuid.UUID) string {
	told := ""
	var times []any
	for done := 0; done < len(entries); {
		out, err := b.Store.Apply(b.t.Context(), lane0, entries[done:min(done+limit, len(entries))])
		if err != nil || out.Consumed < 1 {
			rt.Fatalf("apply: consumed %d: %v", out.Consumed, err)
		}
		done += out.Consumed
		ledger := b.ledger(rt, out.Outcomes)
		for _, o := range out.Outcomes {
			told += fmt.Sprintf("%s %s v%d %v\n", o.State, o.Code, o.Version, o.Skipped)
			if diff := cmp.Diff(ledger[o.WriteID], o, cmpopts.EquateEmpty(), cmp.Transformer("json", compact)); diff != "" {
				rt.Fatalf("ledger differs from the outcome:\n%s", diff)
			}
			for _, c := range o.Changes {
				if c.Field == "archived_at" {
					times = append(times, c.New)
					continue
				}
				told += fmt.Sprintf("  %s %s %s -> %s\n", c.Field, c.Op, c.Old, c.New)
			}
		}
	}
	for i, id := range ids {
		c, err := b.Store.Contact(b.t.Context(), contact.Ref{Account: account, ID: id})
		if contact.CodeOf(err) == contact.CodeNotFound {
			continue
		}
		told += fmt.Sprintf("contact %d v%d archived %t:", i, c.Version, c.ArchivedAt != nil)
		for f := range contact.NumFields {
			told += fmt.Sprintf(" %q", text(c, f))
		}
		_, _, out := c.SMSConsent.Standing()
		told += fmt.Sprintf(" %q %s %t\n", c.Tags, c.Metadata, out)
	}
	return told + fmt.Sprintf("%d archivings", len(times))
}

// compact takes the spaces of jsonb out, so that both spellings are equal.
func compact(v json.RawMessage) string {
	var out bytes.Buffer
	if json.Compact(&out, v) != nil {
		return string(v)
	}
	return out.String()
}

// ledger reads what is recorded of some outcomes.
func (b *bundle) ledger(rt *rapid.T, outcomes []contact.Outcome) map[uuid.UUID]contact.Outcome {
	refs := make([]contact.WriteRef, len(outcomes))
	for i, o := range outcomes {
		refs[i] = contact.WriteRef{Account: o.Account, ID: o.WriteID}
	}
	records, err := b.Store.WritesByID(b.t.Context(), refs)
	if err != nil {
		rt.Fatal(err)
	}
	found := make(map[uuid.UUID]contact.Outcome, len(records))
	for _, r := range records {
		found[r.WriteID] = r.Outcome
	}
	return found
}
