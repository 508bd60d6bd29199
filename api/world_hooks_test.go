package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/api/signature"
	"patchlane/tasks/contact"
)

// hookWorld is everything behind the opt-out side: address lanes, their worker,
// the store and the mirror. Events are heard by the real rules as soon as they
// are appended, unless it is paused.
type hookWorld struct {
	mu sync.Mutex

	paused                         bool
	appendErr, storeErr, mirrorErr error
	calls                          int
	events                         []contact.Event
	known                          map[contact.EventKey]bool
	suppressions                   map[contact.Address]*contact.Suppression
	records                        map[uuid.UUID]contact.EventRecord
	reviews                        map[uuid.UUID]*contact.OptOutReview
	endpoints                      map[uuid.UUID]contact.Endpoint
	mirrored                       map[uuid.UUID]contact.Endpoint
	tokens                         map[string][32]byte
	confirmed                      []string
	confirmErr                     error
	clock                          time.Time
	key                            []byte
	keyErr                         error
	publicURL                      string
	verifier                       *signature.Verifier
	reply                          func(*contact.Event)
	fills                          int
}

func newHookWorld() *hookWorld {
	key := sha256.Sum256([]byte("the key of links"))
	return &hookWorld{
		known: map[contact.EventKey]bool{}, suppressions: map[contact.Address]*contact.Suppression{},
		records: map[uuid.UUID]contact.EventRecord{}, reviews: map[uuid.UUID]*contact.OptOutReview{},
		endpoints: map[uuid.UUID]contact.Endpoint{}, mirrored: map[uuid.UUID]contact.Endpoint{},
		tokens: map[string][32]byte{}, key: key[:], publicURL: "https://crm.example.com",
		clock: time.Unix(1795140000, 0).UTC(), verifier: signature.NewVerifier(nil),
	}
}

func (w *hookWorld) options() Optouts {
	return Optouts{
		Events: w, Suppressions: w, Reviews: w, Endpoints: endpointTruth{w}, EndpointFeed: endpointTruth{w}, EndpointMirror: endpointCopy{w}, Tokens: w,
		Verifier: w.verifier, PublicURL: w.publicURL,
		Confirm: func(_ context.Context, u string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.confirmed = append(w.confirmed, u)
			return w.confirmErr
		},
		LinkKey: func(context.Context) ([]byte, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.key, w.keyErr
		},
	}
}

// set changes the world under its lock.
func (w *hookWorld) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// taken returns what was made durable.
func (w *hookWorld) taken() []contact.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func (w *hookWorld) AppendEvents(_ context.Context, events []*contact.Event) ([]contact.Receipt, []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	receipts, errs := make([]contact.Receipt, len(events)), make([]error, len(events))
	for i, e := range events {
		if errs[i] = w.appendErr; errs[i] != nil {
			continue
		}
		if again, err := contact.DecodeEvent(contact.EncodeEvent(e)); err != nil || again.ID != e.ID {
			panic("an event that cannot be read again")
		}
		w.clock = w.clock.Add(time.Millisecond)
		e.AcceptedAt = w.clock
		w.events = append(w.events, *e)
		receipts[i] = contact.Receipt{WriteID: e.ID, AcceptedAt: e.AcceptedAt}
		if !w.paused {
			w.hear(e)
			if w.reply != nil && e.ReplyTo != "" {
				w.reply(e)
			}
		}
	}
	return receipts, errs
}

// hear applies an event once.
func (w *hookWorld) hear(e *contact.Event) {
	if w.known[e.Dedup] {
		return
	}
	w.known[e.Dedup] = true
	w.records[e.ID] = contact.EventRecord{Event: *e, Result: contact.ResultApplied, Done: true, AppliedAt: w.clock}
	switch e.Action {
	case contact.Review:
		w.reviews[e.ID] = &contact.OptOutReview{Event: *e, State: contact.ReviewPending}
		return
	case contact.Quarantine:
		return
	default:
	}
	s := w.suppressions[e.About()]
	if s == nil {
		s = &contact.Suppression{Address: e.About()}
		w.suppressions[e.About()] = s
	}
	s.Clock, _ = s.Clock.Hear(e)
	cause, since, _ := s.Clock.Standing()
	s.Cause, s.Since, s.Event, s.Provider, s.Source = cause, since, e.ID, e.Provider, e.Source
	if r := w.reviews[e.Decides]; r != nil {
		at := w.clock
		r.State, r.DecidedAt, r.DecidedBy = contact.ReviewAccepted, &at, e.Actor
	}
}

// standing tells why an address is suppressed; empty: it is not.
func (w *hookWorld) standing(account uuid.UUID, channel contact.Channel, key string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.suppressions[contact.Address{Account: account, Channel: channel, Key: key}]
	if s == nil {
		return ""
	}
	cause, _, out := s.Clock.Standing()
	if !out {
		return ""
	}
	return cause.String()
}

func (w *hookWorld) Suppressions(_ context.Context, q contact.SuppressionQuery) (contact.SuppressionPage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var page contact.SuppressionPage
	for _, s := range w.suppressions {
		_, _, out := s.Clock.Standing()
		if out && s.Account == q.Account && (q.Channel == 0 || s.Channel == q.Channel) &&
			(q.Key == "" || s.Key == q.Key) && s.Key > q.After {
			page.Suppressions = append(page.Suppressions, *s)
		}
	}
	slices.SortFunc(page.Suppressions, func(a, b contact.Suppression) int { return cmp.Compare(a.Key, b.Key) })
	if page.HasMore = len(page.Suppressions) > q.Limit; page.HasMore {
		page.Suppressions = page.Suppressions[:q.Limit]
		page.Next = page.Suppressions[q.Limit-1].Key
	}
	return page, w.storeErr
}

func (w *hookWorld) EventByID(_ context.Context, account, id uuid.UUID) (contact.EventRecord, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r, ok := w.records[id]; ok && r.Account == account && w.storeErr == nil {
		return r, nil
	}
	return contact.EventRecord{}, cmp.Or(w.storeErr, missing())
}

func (w *hookWorld) Quarantined(_ context.Context, q contact.QuarantineQuery) (contact.QuarantinePage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var page contact.QuarantinePage
	for _, e := range w.events {
		if e.Action == contact.Quarantine && e.Account == q.Account {
			page.Events = append(page.Events, e)
		}
	}
	return page, w.storeErr
}

func (w *hookWorld) Reviews(_ context.Context, q contact.ReviewQuery) (contact.ReviewPage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var page contact.ReviewPage
	for _, r := range w.reviews {
		if r.Account == q.Account && (q.State == "" || q.State == r.State) {
			page.Reviews = append(page.Reviews, *r)
		}
	}
	return page, w.storeErr
}

func (w *hookWorld) Review(_ context.Context, account, id uuid.UUID) (contact.OptOutReview, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.reviews[id]; r != nil && r.Account == account && w.storeErr == nil {
		return *r, nil
	}
	return contact.OptOutReview{}, cmp.Or(w.storeErr, missing())
}

func (w *hookWorld) DismissReview(_ context.Context, account, id uuid.UUID, actor string) (contact.OptOutReview, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.reviews[id]
	if r == nil || r.Account != account || w.storeErr != nil {
		return contact.OptOutReview{}, cmp.Or(w.storeErr, missing())
	}
	if r.State == contact.ReviewPending {
		at := w.clock
		r.State, r.DecidedAt, r.DecidedBy = contact.ReviewDismissed, &at, actor
	}
	return *r, nil
}

func (w *hookWorld) ConsumeToken(
	_ context.Context, scope, token string, body [32]byte, _ time.Duration,
) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mirrorErr != nil {
		return false, w.mirrorErr
	}
	kept, found := w.tokens[scope+token]
	if !found {
		w.tokens[scope+token] = body
	}
	return !found || kept == body, nil
}

// endpointTruth is the world as the store of endpoints, endpointCopy as the
// mirror of them.
type (
	endpointTruth struct{ *hookWorld }
	endpointCopy  struct{ *hookWorld }
)

func (w endpointTruth) CreateEndpoint(_ context.Context, e contact.Endpoint) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.storeErr == nil {
		w.endpoints[e.ID] = e
	}
	return w.storeErr
}

func (w endpointTruth) Endpoint(_ context.Context, id uuid.UUID) (contact.Endpoint, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e, found := w.endpoints[id]; found && w.storeErr == nil {
		return e, nil
	}
	return contact.Endpoint{}, cmp.Or(w.storeErr, missing())
}

func (w endpointTruth) Endpoints(
	_ context.Context, account uuid.UUID, limit int, after string,
) (list []contact.Endpoint, next string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.endpoints {
		if e.Account == account && e.DeletedAt == nil && e.ID.String() > after {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b contact.Endpoint) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	if len(list) > limit {
		list, next = list[:limit], list[limit-1].ID.String()
	}
	return list, next, w.storeErr
}

func (w endpointTruth) EndpointsChangedSince(context.Context, time.Time) ([]contact.Endpoint, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.endpoints)), w.storeErr
}

func (w endpointTruth) ChangeEndpoint(
	_ context.Context, account, id uuid.UUID, c contact.EndpointChange,
) (contact.Endpoint, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, found := w.endpoints[id]
	if !found || e.Account != account || w.storeErr != nil {
		return contact.Endpoint{}, cmp.Or(w.storeErr, missing())
	}
	if c.Secrets != nil {
		e.Secrets = c.Secrets
	}
	if c.BasicAuth != nil {
		e.BasicAuth = c.BasicAuth
	}
	if c.TopicARN != nil {
		e.TopicARN = *c.TopicARN
	}
	if c.Settings != nil {
		e.Settings = c.Settings
	}
	w.endpoints[id] = e
	return e, nil
}

func (w endpointTruth) DeleteEndpoint(_ context.Context, account, id uuid.UUID) (contact.Endpoint, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, found := w.endpoints[id]
	if !found || e.Account != account || e.DeletedAt != nil || w.storeErr != nil {
		return contact.Endpoint{}, cmp.Or(w.storeErr, missing())
	}
	if e.DeletedAt == nil {
		at := w.clock
		e.DeletedAt = &at
	}
	w.endpoints[id] = e
	return e, nil
}

func (w endpointCopy) Endpoint(_ context.Context, id uuid.UUID) (contact.Endpoint, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, found := w.mirrored[id]
	return e, found && w.mirrorErr == nil, w.mirrorErr
}

func (w endpointCopy) FillEndpoint(_ context.Context, e contact.Endpoint) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fills++
	if _, found := w.mirrored[e.ID]; !found && w.mirrorErr == nil {
		w.mirrored[e.ID] = e
	}
	return w.mirrorErr
}

func (w endpointCopy) PutEndpoint(_ context.Context, e contact.Endpoint) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mirrorErr == nil {
		w.mirrored[e.ID] = e
	}
	return w.mirrorErr
}

// sampleFile reads a sample of a provider.
func sampleFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("signature/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
