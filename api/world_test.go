package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// errAway is an outage of Redis or Postgres.
var errAway = errors.New("connection refused by 10.0.0.7")

// world is everything behind the API in one lock: lanes, worker, store and
// mirror. Writes are folded by the real rules as soon as they are appended,
// unless it is paused.
type world struct {
	mu sync.Mutex

	paused, mute       bool // no worker; no replies
	storeDown, laneErr error
	mirrorErr          error
	appendErr          error
	existenceErr       error

	contacts map[contact.Ref]*contact.Contact
	asOf     map[contact.Ref]map[int64]contact.Contact
	ledger   map[contact.WriteRef]contact.Record
	failed   map[contact.WriteRef]*contact.FailedWrite
	queue    []contact.Entry
	appended []contact.Write
	sent     []uuid.UUID // failed writes whose retry was noted as sent
	idem     map[string]contact.Write
	created  map[string]uuid.UUID
	waiters  map[uuid.UUID]chan contact.Outcome
	keys     map[[32]byte]contact.Key
	mirror   map[[32]byte]contact.Key
	changed  []contact.Key
	clock    time.Time
	looks    int // existence round trips
	polls    int
	keyReads int
	panics   bool

	settings, settingsCopy    map[uuid.UUID]contact.Settings
	settingReads, mirrorReads int
	mirrorPutErr              error

	// hangs: the existence look never answers; redisHangs: the mirror does not.
	hangs, redisHangs atomic.Bool
}

func newWorld() *world {
	return &world{
		contacts: map[contact.Ref]*contact.Contact{}, asOf: map[contact.Ref]map[int64]contact.Contact{},
		ledger: map[contact.WriteRef]contact.Record{}, failed: map[contact.WriteRef]*contact.FailedWrite{},
		idem: map[string]contact.Write{}, created: map[string]uuid.UUID{},
		waiters: map[uuid.UUID]chan contact.Outcome{},
		keys:    map[[32]byte]contact.Key{}, mirror: map[[32]byte]contact.Key{},
		settings: map[uuid.UUID]contact.Settings{}, settingsCopy: map[uuid.UUID]contact.Settings{},
		clock: time.Date(2026, 11, 22, 3, 0, 0, 123456000, time.UTC),
	}
}

// set changes the world under its lock.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) addKey(secret string, k contact.Key) contact.Key {
	k.ID, k.Hash = uuid.New(), sha256.Sum256([]byte(secret))
	k.Dialect = cmp.Or(k.Dialect, "native")
	w.set(func() { w.keys[k.Hash], w.mirror[k.Hash] = k, k })
	return k
}

func (w *world) Append(_ context.Context, write *contact.Write) (contact.Receipt, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.append(write)
}

func (w *world) AppendAll(_ context.Context, writes []*contact.Write) ([]contact.Receipt, []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	receipts, errs := make([]contact.Receipt, len(writes)), make([]error, len(writes))
	for i, write := range writes {
		receipts[i], errs[i] = w.append(write)
	}
	return receipts, errs
}

func (w *world) append(write *contact.Write) (contact.Receipt, error) {
	if w.panics {
		panic("a secret value")
	}
	if w.appendErr != nil {
		return contact.Receipt{}, w.appendErr
	}
	if r, found, err := w.known(write); found || err != nil {
		return r, err
	}
	w.clock = w.clock.Add(time.Microsecond)
	write.AcceptedAt = w.clock
	if write.Idempotency != nil {
		w.idem[idemName(write)] = *write
	}
	w.appended = append(w.appended, *write)
	w.queue = append(w.queue, contact.Entry{Write: *write, Raw: contact.Encode(write)})
	if !w.paused {
		w.drain()
	}
	return contact.Receipt{WriteID: write.ID, AcceptedAt: write.AcceptedAt}, nil
}

func idemName(w *contact.Write) string {
	return w.Account.String() + w.Contact.String() + string(w.Idempotency.Key[:])
}

// known looks an idempotency key up.
func (w *world) known(write *contact.Write) (contact.Receipt, bool, error) {
	if write.Idempotency == nil {
		return contact.Receipt{}, false, nil
	}
	earlier, found := w.idem[idemName(write)]
	if !found {
		return contact.Receipt{}, false, nil
	}
	if earlier.Idempotency.Body != write.Idempotency.Body {
		return contact.Receipt{}, false, &contact.Error{Code: contact.CodeKeyReused, Message: "Another body."}
	}
	return contact.Receipt{WriteID: earlier.ID, AcceptedAt: earlier.AcceptedAt, Replayed: true}, true, nil
}

// resume lets the worker run again.
func (w *world) resume() {
	w.set(func() {
		w.paused = false
		w.drain()
	})
}

// drain applies what is queued, by the real fold.
func (w *world) drain() {
	for _, e := range w.queue {
		b := contact.Batch{Now: w.clock.Add(time.Millisecond), NotesLimit: 1000, Contacts: w.contacts, Taken: w.taken, Definitions: w.definitions()}
		e.ReplyTo = cmp.Or(e.ReplyTo, "asked for the contact")
		folded := b.Fold([]contact.Entry{e})
		o := folded.Outcomes[0]
		for _, c := range slices.Concat(folded.Created, folded.Updated) {
			w.contacts[c.Ref] = c.Contact
		}
		if o.Contact != nil {
			if w.asOf[e.Ref()] == nil {
				w.asOf[e.Ref()] = map[int64]contact.Contact{}
			}
			w.asOf[e.Ref()][o.Version] = *o.Contact
		}
		ref := contact.WriteRef{Account: e.Account, ID: e.ID}
		record := contact.Record{Outcome: o, Source: e.Source, Actor: e.Actor, RetryOf: e.RetryOf}
		record.Contact = nil
		w.ledger[ref] = record
		if o.State == contact.Failed {
			w.failed[ref] = &contact.FailedWrite{WriteRef: ref, Raw: e.Raw, AcceptedAt: e.AcceptedAt}
		}
		if ch := w.waiters[e.ID]; ch != nil && !w.mute {
			ch <- o
		}
	}
	w.queue = nil
}

func (w *world) taken(account uuid.UUID, f contact.Field, key string, self uuid.UUID) bool {
	for ref, c := range w.contacts {
		v := c.Text[f]
		if ref.Account != account || ref.ID == self || c.ArchivedAt != nil || v == nil {
			continue
		}
		if *v == key || (f == contact.Email && contact.EmailKey(*v) == key) {
			return true
		}
	}
	return false
}

func (w *world) FixCreateID(
	_ context.Context, account uuid.UUID, key [32]byte, id uuid.UUID,
) (uuid.UUID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.laneErr != nil {
		return uuid.Nil, w.laneErr
	}
	name := account.String() + string(key[:])
	if fixed, found := w.created[name]; found {
		return fixed, nil
	}
	w.created[name] = id
	return id, nil
}

func (w *world) Born(_ context.Context, ref contact.Ref) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.queue {
		if e.Ref() == ref && (e.Kind == contact.KindCreate || e.Kind == contact.KindRestore) {
			return true, w.laneErr
		}
	}
	return false, w.laneErr
}

func (w *world) Find(_ context.Context, account, id uuid.UUID) (contact.Entry, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.queue {
		if e.Account == account && e.ID == id && w.laneErr == nil {
			return e, true, nil
		}
	}
	return contact.Entry{}, false, w.laneErr
}

func (w *world) Replay(_ context.Context, write *contact.Write) (contact.Receipt, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.laneErr != nil {
		return contact.Receipt{}, false, w.laneErr
	}
	return w.known(write)
}

func (w *world) Name() string { return "this-process" }

func (w *world) Expect(id uuid.UUID) (<-chan contact.Outcome, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch := make(chan contact.Outcome, 1)
	w.waiters[id] = ch
	return ch, func() { w.set(func() { delete(w.waiters, id) }) }
}

func missing() error { return &contact.Error{Code: contact.CodeNotFound, Message: "Nothing there."} }

func (w *world) Contact(_ context.Context, ref contact.Ref) (contact.Contact, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.storeDown != nil {
		return contact.Contact{}, w.storeDown
	}
	if c := w.contacts[ref]; c != nil {
		return *c, nil
	}
	return contact.Contact{}, missing()
}

func (w *world) ContactAsOf(_ context.Context, ref contact.Ref, version int64) (contact.Contact, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, found := w.asOf[ref][version]; found && w.storeDown == nil {
		return c, nil
	}
	return contact.Contact{}, cmp.Or(w.storeDown, missing())
}

func (w *world) Contacts(_ context.Context, q contact.ContactQuery) (contact.ContactPage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if q.After == "broken" {
		return contact.ContactPage{}, invalid([]contact.FieldError{{Field: "cursor", Code: "invalid", Message: "Bad."}})
	}
	var page contact.ContactPage
	for ref, c := range w.contacts {
		match := func(f contact.Field, want *string) bool {
			return want == nil || (c.Text[f] != nil && strings.EqualFold(*c.Text[f], *want))
		}
		if ref.Account == q.Account && (q.IncludeArchived || c.ArchivedAt == nil) && c.ID.String() > q.After &&
			match(contact.Email, q.Email) && match(contact.Phone, q.Phone) && match(contact.ExternalID, q.ExternalID) {
			page.Contacts = append(page.Contacts, *c)
		}
	}
	slices.SortFunc(page.Contacts, func(a, b contact.Contact) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	if page.HasMore = len(page.Contacts) > q.Limit; page.HasMore {
		page.Contacts = page.Contacts[:q.Limit]
		page.Next = page.Contacts[q.Limit-1].ID.String()
	}
	return page, w.storeDown
}

func (w *world) Existence(ctx context.Context, refs []contact.Ref) ([]contact.Existence, error) {
	if w.hangs.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	states := make([]contact.Existence, len(refs))
	for i, ref := range refs {
		switch c := w.contacts[ref]; {
		case c == nil:
		case c.ArchivedAt != nil:
			states[i] = contact.Archived
		default:
			states[i] = contact.Active
		}
	}
	return states, cmp.Or(w.existenceErr, w.storeDown)
}

func (w *world) Write(_ context.Context, account, id uuid.UUID) (contact.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.storeDown != nil {
		return contact.Record{}, w.storeDown
	}
	if r, found := w.record(contact.WriteRef{Account: account, ID: id}); found {
		return r, nil
	}
	return contact.Record{}, missing()
}

// record is the ledger's row with what became of the failure.
func (w *world) record(ref contact.WriteRef) (contact.Record, bool) {
	r, found := w.ledger[ref]
	if f := w.failed[ref]; f != nil && f.RetryID != uuid.Nil {
		r.State, r.RetriedAs = contact.Retried, f.RetryID
	}
	return r, found
}

func (w *world) WritesByID(_ context.Context, refs []contact.WriteRef) ([]contact.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.polls++
	var records []contact.Record
	for _, ref := range refs {
		if r, found := w.record(ref); found {
			records = append(records, r)
		}
	}
	return records, w.storeDown
}

func (w *world) Writes(_ context.Context, q contact.WriteQuery) (contact.WritePage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var page contact.WritePage
	for ref := range w.ledger {
		r, _ := w.record(ref)
		if ref.Account == q.Account && (q.State == "" || q.State == r.State) && (q.Code == "" || q.Code == r.Code) {
			page.Writes = append(page.Writes, r)
		}
	}
	return page, w.storeDown
}

func (w *world) ChangeLog(_ context.Context, q contact.LogQuery) (contact.LogPage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var page contact.LogPage
	for ref, r := range w.ledger {
		for _, c := range r.Changes {
			if ref.Account == q.Account && (q.Contact == uuid.Nil || q.Contact == r.ID) {
				page.Rows = append(page.Rows, contact.LogRow{
					ID: ref.ID.String() + ":" + c.Field, Contact: r.ID, Field: c.Field, Op: c.Op, Old: c.Old, New: c.New,
					WriteID: ref.ID, Version: r.Version, Actor: r.Actor, Source: string(r.Source),
					AcceptedAt: r.AcceptedAt, ChangedAt: r.AppliedAt,
				})
			}
		}
	}
	return page, w.storeDown
}

func (w *world) ClaimRetry(_ context.Context, account, id, newID uuid.UUID) (contact.FailedWrite, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.failed[contact.WriteRef{Account: account, ID: id}]
	switch {
	case w.storeDown != nil:
		return contact.FailedWrite{}, w.storeDown
	case f == nil:
		return contact.FailedWrite{}, missing()
	case f.RetryID == uuid.Nil:
		f.RetryID = newID
	default:
		if _, applied := w.ledger[contact.WriteRef{Account: account, ID: f.RetryID}]; applied {
			return contact.FailedWrite{}, &contact.Error{Code: contact.CodeAlreadyRetried}
		}
	}
	return *f, nil
}

func (w *world) Discard(_ context.Context, account, id uuid.UUID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	ref := contact.WriteRef{Account: account, ID: id}
	r := w.ledger[ref]
	r.State = contact.Discarded
	w.ledger[ref] = r
	delete(w.failed, ref)
	return w.storeDown
}

// keyTruth is the world as the store of keys, keyCopy as the mirror of them.
type (
	keyTruth struct{ *world }
	keyCopy  struct{ *world }
)

func (w keyTruth) Key(_ context.Context, hash [32]byte) (contact.Key, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keyReads++
	if w.storeDown != nil {
		return contact.Key{}, w.storeDown
	}
	if k, found := w.keys[hash]; found {
		return k, nil
	}
	return contact.Key{}, missing()
}

func (w keyTruth) KeyByID(_ context.Context, id uuid.UUID) (contact.Key, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keyReads++
	for _, k := range w.keys {
		if k.ID == id && w.storeDown == nil {
			return k, nil
		}
	}
	return contact.Key{}, cmp.Or(w.storeDown, missing())
}

func (w keyCopy) KeyHash(_ context.Context, id uuid.UUID) ([32]byte, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.mirror {
		if k.ID == id && w.mirrorErr == nil {
			return k.Hash, true, nil
		}
	}
	return [32]byte{}, false, w.mirrorErr
}

func (w keyTruth) KeysChangedSince(context.Context, time.Time) ([]contact.Key, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.changed), w.storeDown
}

func (w keyCopy) Key(ctx context.Context, hash [32]byte) (contact.Key, bool, error) {
	if w.redisHangs.Load() {
		<-ctx.Done()
		return contact.Key{}, false, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	k, found := w.mirror[hash]
	return k, found && w.mirrorErr == nil, w.mirrorErr
}

func (w keyCopy) FillKey(_ context.Context, k contact.Key) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, found := w.mirror[k.Hash]; !found {
		w.mirror[k.Hash] = k
	}
	return w.mirrorErr
}

func (w keyCopy) PutKey(_ context.Context, k contact.Key) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mirror[k.Hash] = k
	return w.mirrorErr
}
