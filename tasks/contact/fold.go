package contact

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Batch is what the store knows when it applies the head of a lane: all that
// Fold may look at.
type Batch struct {
	// Now is the moment of the application, in the store's transaction.
	Now time.Time
	// NotesLimit is how many bytes notes may have; 0: no limit.
	NotesLimit int
	// Contacts holds every contact that the entries name and that exists. Fold
	// does not change them.
	Contacts map[Ref]*Contact
	// ConsentLock names the accounts in which a PATCH cannot undo a complaint
	// or a hard bounce.
	ConsentLock map[uuid.UUID]bool
	// Taken tells whether an active contact other than self has the e-mail
	// address (key: EmailKey) or external_id, as of before the batch. nil:
	// nothing is taken.
	Taken func(account uuid.UUID, f Field, key string, self uuid.UUID) bool
	// Suppressed holds the suppressed addresses among those that the entries
	// give; nil: none is.
	Suppressed map[Address]Suppression
	// ChangedSince names, by the id of a retry that is not forced, the fields
	// of the change log that changed after the failed write was accepted. It is
	// what was true before the batch, so Fold cuts before such a retry of a
	// contact that an earlier entry names.
	ChangedSince map[uuid.UUID]map[string]bool
	// Definitions holds, by account, at least those definitions that the
	// entries name and that exist. nil: everything counts as defined.
	Definitions map[uuid.UUID]*Definitions
	// Erased names the contacts among those of the entries that were erased.
	Erased map[Ref]bool
}

// Folded is what a batch comes to.
type Folded struct {
	// Consumed is how many entries, from the first, have an outcome. It is at
	// least 1 when there was an entry, and less than all after a cut.
	Consumed int
	// Outcomes has one element for each consumed entry, in order.
	Outcomes []Outcome
	// Created and Updated are the rows to insert and to update, each contact
	// once, in the state after the last consumed entry.
	Created, Updated []FoldedContact
	// Erased is the contact that the only consumed entry erases.
	Erased *Erased
	// Left and Given are the addresses that contacts lost and got, in order.
	Left  []Left
	Given []Given
}

// Given is an address that a write gave to a contact, and when: the same look
// at suppressions is due again after the commit, since an event of the address
// may have been on its way meanwhile.
type Given struct {
	Address
	Contact Ref
	At      int64
}

// FoldedContact is a contact to be written, and which of its large columns
// changed: the others may be left alone.
type FoldedContact struct {
	*Contact
	NotesSet, TagsSet, MetadataSet, CustomFieldsSet bool
}

// AnyField stands in ChangedSince for every field: nobody knows any more which of
// them changed.
const AnyField = "*"

// errCut says that a write has to wait for the next batch.
var errCut = errors.New("cut before this entry")

// Fold applies entries in order and returns what became of each and what is to
// be stored. The result is the same as applying each entry in a batch of its
// own: where folding could make a difference, the batch is cut, and the caller
// folds the rest in a new one. A write that fails changes nothing.
//
// Values are shared between the entries, the batch and the result: none of
// them may be changed in place afterwards.
func (b *Batch) Fold(entries []Entry) Folded {
	f := folder{
		Batch:  b,
		now:    b.Now.UTC().Truncate(time.Microsecond),
		states: make(map[Ref]*state, len(entries)),
		null:   json.RawMessage("null"),
	}
	f.changes = make([]Change, 0, 2*len(entries))
	f.out.Outcomes = make([]Outcome, 0, len(entries))
	for i := range entries {
		o, err := f.entry(&entries[i])
		if errors.Is(err, errCut) {
			break
		}
		f.out.Outcomes = append(f.out.Outcomes, o)
		if o.Kind == KindErase {
			break
		}
	}
	return f.finish()
}

// folder is one fold under way.
type folder struct {
	*Batch
	now    time.Time
	states map[Ref]*state
	order  []*state // those to be written, by their first change
	// touched holds the unique values that a write of this batch took or left.
	touched map[string]struct{}
	// changes and text back the changes of all outcomes: two allocations for a
	// batch instead of two for each change.
	changes []Change
	text    []byte
	null    json.RawMessage
	out     Folded
}

// state is one contact of the batch, as of the last applied entry.
type state struct {
	cur      Contact
	objects  objects
	exists   bool
	existed  bool // before the batch
	queued   bool // is in the folder's order
	touched  bool // an entry of the batch touched what only one may have
	notesSet bool
	tagsSet  bool
	// notes builds the notes while writes append to them, so that a hundred
	// appends cost one copy of the text and not a hundred; nil: not begun.
	notes *strings.Builder
}

// entry applies one entry; errCut if it has to wait.
func (f *folder) entry(e *Entry) (Outcome, error) {
	o := Outcome{
		WriteID: e.ID, Ref: e.Ref(), Kind: e.Kind, AcceptedAt: e.AcceptedAt, AppliedAt: f.now,
	}
	if e.Poison != nil {
		o.fail(fail(CodeUnreadable, "the entry cannot be read"))
		return o, nil //nolint:nilerr // poison is the entry's failure, not the fold's
	}
	if e.Kind == KindErase {
		return f.erase(o)
	}
	if e.RetryOf != uuid.Nil && !e.Force && f.states[o.Ref] != nil {
		return o, errCut
	}
	a := attempt{folder: f, state: f.state(o.Ref), write: &e.Write, from: len(f.changes)}
	a.next, a.objects = a.state.cur, a.state.objects
	switch err := a.run(); {
	case err == nil:
		a.commit()
		a.report(&o)
		return o, nil
	case errors.Is(err, errCut):
		f.changes = f.changes[:a.from]
		return o, errCut
	default:
		f.changes = f.changes[:a.from]
		o.fail(err)
		return o, nil
	}
}

// state returns the contact of the batch that an entry is for.
func (f *folder) state(ref Ref) *state {
	if s := f.states[ref]; s != nil {
		return s
	}
	s := &state{cur: Contact{Ref: ref}}
	if c := f.Contacts[ref]; c != nil {
		s.cur, s.exists, s.existed = *c, true, true
	}
	f.states[ref] = s
	return s
}

// finish lists what is to be stored.
func (f *folder) finish() Folded {
	f.out.Consumed = len(f.out.Outcomes)
	for _, s := range f.order {
		s.write()
		fc := FoldedContact{
			Contact: &s.cur, NotesSet: s.notesSet, TagsSet: s.tagsSet,
			MetadataSet: s.objects.metadata.changed, CustomFieldsSet: s.objects.custom.changed,
		}
		if s.existed {
			f.out.Updated = append(f.out.Updated, fc)
		} else {
			f.out.Created = append(f.out.Created, fc)
		}
	}
	return f.out
}

// write brings the JSON columns up to date with their parsed form.
func (s *state) write() {
	s.objects.metadata.write(&s.cur.Metadata)
	s.objects.custom.write(&s.cur.CustomFields)
}

// fail records why a write failed.
func (o *Outcome) fail(err error) {
	o.State, o.Code, o.Message = Failed, CodeOf(err), ""
	if e, ok := errors.AsType[*Error](err); ok {
		o.Message = e.Message
	}
}

// fail returns the failure of a write.
func fail(code Code, message string) *Error { return &Error{Code: code, Message: message} }
