package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// batch is what one transaction knows about the entries it was given.
type batch struct {
	lane    contact.Lane
	entries []contact.Entry
	limits  limits
	metrics *metrics
	spell   func([]contact.Address) spellings

	// Read under the lane's lock.
	old         contact.Offset
	oldText     string
	now         time.Time
	known       map[contact.WriteRef]contact.Record
	contacts    map[contact.Ref]*contact.Contact
	consentLock map[uuid.UUID]bool
	taken       map[takenKey]uuid.UUID
	definitions map[uuid.UUID]*contact.Definitions
	changed     map[uuid.UUID]map[string]bool
	suppressed  map[contact.Address]contact.Suppression
	// stale are entries that are older than the ledger reaches back.
	stale []uuid.UUID
	// erased are the contacts of the entries that were erased.
	erased map[contact.Ref]bool
	// recheck is what an earlier batch of the lane gave to contacts.
	recheck []byte

	// work are the entries that are neither in the ledger nor a twin of an
	// earlier one; at[i] is the place of work[i] among the entries.
	work   []contact.Entry
	at     []int
	folded contact.Folded
}

// limits are what a fold is told about the configuration.
type limits struct{ notes int }

// takenKey is a value that is unique among the active contacts of an account.
type takenKey struct {
	account uuid.UUID
	field   contact.Field
	key     string
}

func (s *Store) newBatch(lane contact.Lane, entries []contact.Entry) *batch {
	b := &batch{
		lane:        lane,
		entries:     slices.Clone(entries),
		limits:      limits{notes: s.notesLimit},
		metrics:     s.metrics,
		spell:       s.spell,
		known:       map[contact.WriteRef]contact.Record{},
		contacts:    map[contact.Ref]*contact.Contact{},
		consentLock: map[uuid.UUID]bool{},
		taken:       map[takenKey]uuid.UUID{},
		definitions: map[uuid.UUID]*contact.Definitions{},
	}
	for i := range b.entries {
		identify(lane, &b.entries[i])
	}
	return b
}

// dropKnown leaves the entries that are new: what the ledger has, and what
// stands a second time in the batch, is not folded again.
func (b *batch) dropKnown() {
	seen := make(map[contact.WriteRef]bool, len(b.entries))
	for i := range b.entries {
		e := &b.entries[i]
		ref := contact.WriteRef{Account: e.Account, ID: e.ID}
		_, known := b.known[ref]
		if fenced && (known || seen[ref]) {
			continue
		}
		seen[ref] = true
		b.work = append(b.work, *e)
		b.at = append(b.at, i)
	}
}

// fold applies the work in memory.
func (b *batch) fold() error {
	defer func(since time.Time) {
		b.metrics.step.WithLabelValues(stepFold).Observe(time.Since(since).Seconds())
	}(time.Now())
	if len(b.work) == 0 {
		return nil
	}
	in := contact.Batch{
		Now:          b.now,
		NotesLimit:   b.limits.notes,
		Contacts:     b.contacts,
		ConsentLock:  b.consentLock,
		Taken:        b.isTaken,
		ChangedSince: b.changed,
		Definitions:  b.definitions,
		Suppressed:   b.suppressed,
		Erased:       b.erased,
	}
	b.folded = in.Fold(b.work)
	if n := b.folded.Consumed; n < 1 || n > len(b.work) || n != len(b.folded.Outcomes) {
		return errors.New("fold: it consumed no entry, or not as many as it has outcomes for")
	}
	for i := range b.folded.Outcomes {
		complete(&b.folded.Outcomes[i], &b.work[i], b.now)
	}
	return nil
}

// isTaken tells whether another active contact of the account has the value.
func (b *batch) isTaken(account uuid.UUID, f contact.Field, key string, self uuid.UUID) bool {
	if f == contact.Email {
		key = contact.EmailKey(key)
	}
	owner, ok := b.taken[takenKey{account, f, key}]
	return ok && owner != self
}

// complete puts what identifies a write into its outcome.
func complete(o *contact.Outcome, e *contact.Entry, now time.Time) {
	o.WriteID, o.Ref, o.Kind = e.ID, e.Ref(), e.Kind
	o.AcceptedAt, o.AppliedAt = e.AcceptedAt, now
}

// consumed is how many entries, from the first, the transaction settles.
func (b *batch) consumed() int {
	if n := b.folded.Consumed; n < len(b.work) {
		return b.at[n]
	}
	return len(b.entries)
}

// last is the offset that the transaction leaves: it never goes back, because
// entries may carry lower ids than the offset after Redis lost its newest.
func (b *batch) last() contact.Offset {
	last := b.old
	for _, e := range b.entries[:b.consumed()] {
		if e.Compare(last) > 0 {
			last = e.Offset
		}
	}
	return last
}

// applied reports the outcome of every consumed entry.
func (b *batch) applied() contact.AppliedBatch {
	out := contact.AppliedBatch{Consumed: b.consumed()}
	out.Outcomes = make([]contact.Outcome, 0, out.Consumed)
	first := make(map[contact.WriteRef]contact.Outcome, out.Consumed)
	folded := 0
	for i := range b.entries[:out.Consumed] {
		ref := contact.WriteRef{Account: b.entries[i].Account, ID: b.entries[i].ID}
		if folded < len(b.at) && b.at[folded] == i {
			o := b.folded.Outcomes[folded]
			folded++
			out.Outcomes = append(out.Outcomes, o)
			o.Contact = nil
			first[ref] = o
			continue
		}
		out.Replays++
		o, twin := first[ref]
		if !twin {
			o = b.known[ref].Outcome
		}
		out.Outcomes = append(out.Outcomes, o)
	}
	return out
}

// identify gives an entry that cannot be read an identity that is the same at
// every reading, so that the ledger knows it again. If the head of the entry
// is whole, it is the write's own: its owner can then ask what became of it.
// Else it belongs to nobody (the nil account) and its id is made of lane and
// offset. Times outside of what Postgres holds are replaced.
func identify(lane contact.Lane, e *contact.Entry) {
	if e.Poison == nil {
		return
	}
	if e.ID == uuid.Nil || e.Account == uuid.Nil {
		id, account, target, ok := readHead(lane, e.Raw)
		if !ok {
			id, account, target = poisonID(lane, e.Offset), uuid.Nil, uuid.Nil
		}
		e.ID, e.Account, e.Contact = id, account, target
	}
	tidy(e)
}

// The head of every version of the codec: version, write id, account, contact.
const headBytes = 1 + 3*16

// readHead takes the ids out of an entry's head. It believes them only if the
// write id is one of ours for this lane.
func readHead(lane contact.Lane, raw []byte) (id, account, target uuid.UUID, ok bool) {
	if len(raw) < headBytes {
		return id, account, target, false
	}
	copy(id[:], raw[1:17])
	copy(account[:], raw[17:33])
	copy(target[:], raw[33:49])
	l, ours := contact.LaneOfWrite(id)
	return id, account, target, ours && l == lane && account != uuid.Nil
}

// poisonID makes the id of an entry without one: a UUIDv7 at the time of its
// offset, so that it falls into the partition of its month.
func poisonID(lane contact.Lane, at contact.Offset) uuid.UUID {
	sum := sha256.Sum256([]byte(lane.String() + " " + at.String()))
	var id uuid.UUID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], at.Ms<<16)
	copy(id[:6], ms[:6])
	copy(id[6:], sum[:])
	bits := uint16(lane.N) & 0x07ff //nolint:gosec // a lane number has 11 bits
	if lane.Kind == 'a' {
		bits |= 1 << 11
	}
	binary.BigEndian.PutUint16(id[6:8], 0x7000|bits)
	id[8] = id[8]&0x3f | 0x80
	return id
}
