package contact

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// timeForm is how moments are written in the change log.
const timeForm = "2006-01-02T15:04:05.000000Z"

// attempt is one write being tried on a copy of its contact: either all of it
// is committed or nothing.
type attempt struct {
	*folder
	state *state
	write *Write
	// next and objects become the state's when the write is committed.
	next    Contact
	objects objects
	// appended is the text that the notes grow by, "" for none.
	appended string
	touches  []string // unique values that are taken or left
	from     int      // where the write's changes begin
	skipped  []Skip
	// left and given are the addresses that the contact had and has now, sources
	// the events that opted it out with one.
	left    []Left
	given   []Given
	sources []uuid.UUID
	// applied: the write is committed and counts as a version.
	applied bool
}

// run does what the write's kind asks for. It returns an *Error when the write
// fails and errCut when it has to wait for the next batch.
func (a *attempt) run() error {
	if a.Erased[a.write.Ref()] {
		return gone(a.write.Kind)
	}
	switch a.write.Kind {
	case KindPatch:
		return a.patch()
	case KindCreate:
		return a.create()
	case KindArchive:
		return a.archive()
	case KindRestore:
		return a.restore()
	default:
		return fail(CodeUnreadable, "the write is of an unknown kind")
	}
}

func (a *attempt) patch() error {
	switch {
	case !a.state.exists:
		return fail(CodeNotFound, "the contact does not exist")
	case a.next.ArchivedAt != nil:
		return fail(CodeArchived, "the contact is archived")
	case !a.matches():
		return fail(CodePreconditionFailed, "the contact has another version than If-Match names")
	}
	return a.members()
}

func (a *attempt) create() error {
	if a.state.exists {
		return fail(CodeDuplicate, "a contact with this id exists already")
	}
	if a.write.IfMatch != nil {
		return fail(CodePreconditionFailed, "the contact does not exist, so no version of it can match")
	}
	a.next.CreatedAt, a.next.Tags = a.now, []string{}
	a.next.CustomFields, a.next.Metadata = json.RawMessage("{}"), json.RawMessage("{}")
	return a.members()
}

// members applies the members of a patch. The texts come first, because an
// address that leaves takes its bounces along before consent is looked at.
func (a *attempt) members() error {
	if err := a.defined(); err != nil {
		return err
	}
	a.texts()
	if err := a.unique(); err != nil {
		return err
	}
	if err := a.notesAppend(); err != nil {
		return err
	}
	if err := a.tags(); err != nil {
		return err
	}
	if err := a.customFields(); err != nil {
		return err
	}
	if err := a.metadata(); err != nil {
		return err
	}
	return a.consent()
}

func (a *attempt) archive() error {
	if err := a.toggles(); err != nil || a.next.ArchivedAt != nil || a.skips("archived_at") {
		return err
	}
	now := a.now
	a.next.ArchivedAt, a.next.ArchivedBy = &now, nonEmpty(a.write.Actor)
	a.archivedChange(&a.state.cur, &a.next)
	return a.unique()
}

func (a *attempt) restore() error {
	if err := a.toggles(); err != nil || a.next.ArchivedAt == nil || a.skips("archived_at") {
		return err
	}
	a.next.ArchivedAt, a.next.ArchivedBy = nil, nil
	a.archivedChange(&a.state.cur, &a.next)
	return a.unique()
}

// toggles checks what archive and restore have in common.
func (a *attempt) toggles() error {
	if !a.state.exists {
		return fail(CodeNotFound, "the contact does not exist")
	}
	if !a.matches() {
		return fail(CodePreconditionFailed, "the contact has another version than If-Match names")
	}
	return nil
}

// archivedChange logs who archived a contact and when.
func (a *attempt) archivedChange(from, to *Contact) {
	a.change("archived_at", OpSet, a.quoteTime(from.ArchivedAt), a.quoteTime(to.ArchivedAt))
	if from.ArchivedBy != nil || to.ArchivedBy != nil {
		a.change("archived_by", OpSet, a.quote(from.ArchivedBy), a.quote(to.ArchivedBy))
	}
}

// matches tells whether If-Match allows the write.
func (a *attempt) matches() bool {
	return a.write.IfMatch == nil || slices.Contains(a.write.IfMatch, a.next.Version)
}

// skips tells whether a retry has to leave a field of the change log alone,
// and notes it: what somebody changed since the failed write was accepted is
// newer than what the retry carries.
func (a *attempt) skips(field string) bool {
	changed := a.ChangedSince[a.write.ID]
	if a.write.Force || (!changed[field] && !changed[AnyField]) {
		return false
	}
	a.skipped = append(a.skipped, Skip{Field: field, Reason: SkipChangedSince})
	return true
}

// texts sets the text members that differ.
func (a *attempt) texts() {
	for f := range NumFields {
		v, present := a.write.Patch.Text(f)
		old := a.next.Text[f]
		if !present || sameText(old, v) || a.skips(f.String()) {
			continue
		}
		a.change(f.String(), OpSet, a.quote(old), a.quote(v))
		a.next.Text[f] = v
	}
}

func sameText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// notesAppend checks the notes' limit and stages what is appended; the text is
// joined at the commit. Empty notes that are not NULL are logged as set, so
// that the log stays invertible.
func (a *attempt) notesAppend() error {
	old, text := a.next.Text[Notes], a.write.Patch.NotesAppend
	length := 0
	if old != nil {
		length = len(*old)
	}
	if text != nil && *text != "" && !a.skips("notes") {
		a.appended = *text
		if length > 0 {
			length++
		}
		length += len(*text)
		if old != nil && *old == "" {
			a.change("notes", OpSet, a.quote(old), a.quote(text))
		} else {
			a.change("notes", OpAppend, a.null, a.quote(text))
		}
	}
	grown := a.appended != "" || !sameText(old, a.state.cur.Text[Notes])
	if grown && a.NotesLimit > 0 && length > a.NotesLimit {
		return fail(CodeLimitExceeded, "the notes would be longer than their limit")
	}
	return nil
}

// commit makes the attempt the state of the contact.
func (a *attempt) commit() {
	s := a.state
	a.applied = len(a.changes) > a.from || !s.exists
	clocks := a.next.EmailConsent != s.cur.EmailConsent || a.next.SMSConsent != s.cur.SMSConsent
	if !a.applied && !clocks {
		return
	}
	if old, set := s.cur.Text[Notes], a.next.Text[Notes]; !sameText(old, set) {
		s.notes, s.notesSet = nil, true
	}
	if a.applied {
		a.next.Version++
		a.next.UpdatedAt = a.now
	}
	s.tagsSet = s.tagsSet || !slices.Equal(s.cur.Tags, a.next.Tags)
	s.cur, s.objects, s.exists = a.next, a.objects, true
	if a.appended != "" {
		s.appendNotes(a.appended)
	}
	a.out.Left, a.out.Given = append(a.out.Left, a.left...), append(a.out.Given, a.given...)
	if !s.queued {
		s.queued = true
		a.order = append(a.order, s)
	}
	a.keep()
}

// appendNotes joins a text to the notes.
func (s *state) appendNotes(text string) {
	s.notesSet = true
	old := s.cur.Text[Notes]
	if old == nil || *old == "" {
		s.cur.Text[Notes], s.notes = &text, nil
		return
	}
	if s.notes == nil {
		s.notes = new(strings.Builder)
		s.notes.Grow(len(*old) + 1 + len(text))
		s.notes.WriteString(*old)
	}
	s.notes.WriteByte('\n')
	s.notes.WriteString(text)
	joined := s.notes.String()
	s.cur.Text[Notes] = &joined
}

// report completes the outcome of a write that did not fail.
func (a *attempt) report(o *Outcome) {
	o.State, o.Version, o.Skipped = Unchanged, a.state.cur.Version, a.skipped
	o.SourceEvent = joinIDs(a.sources)
	if n := len(a.changes); a.applied {
		o.State, o.Changes = Applied, a.changes[a.from:n:n]
	}
	if a.write.ReplyTo != "" {
		a.state.write()
		c := a.state.cur
		c.Tags = slices.Clone(c.Tags)
		o.Contact = &c
	}
}

// joinIDs writes the events that a write cites, one or two.
func joinIDs(ids []uuid.UUID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return strings.Join(texts, ",")
}

// change logs one changed field.
func (a *attempt) change(field string, op Op, from, to json.RawMessage) {
	a.changes = append(a.changes, Change{Field: field, Op: op, Old: from, New: to})
}

// quote returns a JSON string, null for nil. The result is never changed
// again, though it shares its memory with its neighbours.
func (f *folder) quote(s *string) json.RawMessage {
	if s == nil {
		return f.null
	}
	return f.keepText(len(*s)+len(*s)/8+2, func(dst []byte) []byte { return appendString(dst, *s) })
}

// keepText runs an appender of about n bytes on the memory that all outcomes
// share. A full piece is left to those who use it, never copied.
func (f *folder) keepText(n int, add func([]byte) []byte) json.RawMessage {
	const piece = 16 << 10
	if cap(f.text)-len(f.text) < n {
		f.text = make([]byte, 0, max(piece, n))
	}
	start := len(f.text)
	f.text = add(f.text)
	return f.text[start:len(f.text):len(f.text)]
}

func (f *folder) quoteTime(t *time.Time) json.RawMessage {
	if t == nil {
		return f.null
	}
	s := t.UTC().Format(timeForm)
	return f.quote(&s)
}
