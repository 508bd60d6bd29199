package api

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"patchlane/tasks/contact"
)

const (
	// existenceTimeout bounds what the look may add to an accept.
	existenceTimeout = 250 * time.Millisecond
	// existencePause is how long nobody looks after a look failed, so that an
	// outage of Postgres costs one request in a while its timeout, not each.
	existencePause = 500 * time.Millisecond
	// existenceTTL is how long "exists and active" is believed. A write to a
	// contact that was archived elsewhere meanwhile is accepted and then fails
	// in the worker, which decides in any case.
	existenceTTL = 10 * time.Second
	// existenceCache bounds the remembered contacts, existenceBatch a round trip.
	existenceCache = 100_000
	existenceBatch = 1000
)

// existence looks whether contacts are there before a write to them is
// accepted. It refuses only what it knows: when it cannot ask, every contact
// passes, and the worker finds out.
type existence struct {
	gather gatherer[contact.Ref, contact.Existence]
	lane   laneReader
	now    func() time.Time
	// known holds true for a contact that exists and is active, and false for
	// one that must not be remembered as such for now.
	known *otter.Cache[contact.Ref, bool]
	// pausedUntil is a time in nanoseconds.
	pausedUntil atomic.Int64
}

func newExistence(o *Options) *existence {
	e := &existence{
		lane: o.Lane, now: o.Now,
		known: otter.Must(&otter.Options[contact.Ref, bool]{
			MaximumSize:      existenceCache,
			ExpiryCalculator: otter.ExpiryWriting[contact.Ref, bool](existenceTTL),
		}),
	}
	e.gather = gatherer[contact.Ref, contact.Existence]{
		timeout: existenceTimeout, most: existenceBatch,
		load: func(ctx context.Context, refs []contact.Ref) (map[contact.Ref]contact.Existence, error) {
			return loadExistence(ctx, o.Contacts, refs)
		},
	}
	return e
}

func loadExistence(
	ctx context.Context, store contactStore, refs []contact.Ref,
) (map[contact.Ref]contact.Existence, error) {
	states, err := store.Existence(ctx, refs)
	if err != nil {
		return nil, storeError(err)
	}
	if len(states) != len(refs) {
		return nil, &contact.Error{Code: contact.CodeInternal, Message: "The store answered for other contacts."}
	}
	found := make(map[contact.Ref]contact.Existence, len(refs))
	for i, ref := range refs {
		found[ref] = states[i]
	}
	return found, nil
}

// look answers for each contact: Active for what exists or cannot be looked up.
func (e *existence) look(ctx context.Context, refs []contact.Ref) []contact.Existence {
	states := make([]contact.Existence, len(refs))
	var ask []contact.Ref
	var place []int
	for i, ref := range refs {
		states[i] = contact.Active
		if active, ok := e.known.GetIfPresent(ref); !ok || !active {
			ask, place = append(ask, ref), append(place, i)
		}
	}
	if len(ask) == 0 || e.now().UnixNano() < e.pausedUntil.Load() {
		return states
	}
	found, ok := e.ask(ctx, ask)
	if !ok {
		return states
	}
	var doubtful []contact.Ref
	var doubt []int
	for i, state := range found {
		if state != contact.Active {
			doubtful, doubt = append(doubtful, ask[i]), append(doubt, place[i])
			continue
		}
		e.known.SetIfAbsent(ask[i], true)
	}
	for i, state := range e.doubt(ctx, doubtful) {
		states[doubt[i]] = state
	}
	return states
}

// ask asks the primary, within the time that an accept may spend on it.
func (e *existence) ask(ctx context.Context, refs []contact.Ref) ([]contact.Existence, bool) {
	ctx, cancel := context.WithTimeout(ctx, existenceTimeout)
	defer cancel()
	found, err := e.gather.all(ctx, refs)
	if err != nil && !gone(ctx) {
		e.pausedUntil.Store(e.now().Add(existencePause).UnixNano())
	}
	return found, err == nil
}

// doubt settles contacts that the store does not have as active. A create or
// restore may be queued, or may have been applied between the two looks: so the
// born mark is read first, and the primary after it.
func (e *existence) doubt(ctx context.Context, refs []contact.Ref) []contact.Existence {
	states := make([]contact.Existence, len(refs))
	var ask []contact.Ref
	var place []int
	for i, ref := range refs {
		states[i] = contact.Active
		if born, err := e.lane.Born(ctx, ref); err == nil && !born {
			ask, place = append(ask, ref), append(place, i)
		}
	}
	if len(ask) == 0 {
		return states
	}
	found, ok := e.ask(ctx, ask)
	for i := range found {
		if ok {
			states[place[i]] = found[i]
		}
	}
	return states
}

// forget makes the next write to a contact look again, and keeps looks under
// way from remembering what an archive is about to end.
func (e *existence) forget(ref contact.Ref) { e.known.Set(ref, false) }
