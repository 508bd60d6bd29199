package api

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"patchlane/api/token"
	"patchlane/tasks/contact"
)

// contactStore answers questions about contacts. Its errors are *contact.Error
// (not_found, validation_failed for a cursor); any other error means that the
// store could not be asked.
type contactStore interface {
	// Contact reads the newest committed state.
	Contact(ctx context.Context, ref contact.Ref) (contact.Contact, error)
	// ContactAsOf reads the state right after a version.
	ContactAsOf(ctx context.Context, ref contact.Ref, version int64) (contact.Contact, error)
	// Contacts reads a page of contacts.
	Contacts(ctx context.Context, q contact.ContactQuery) (contact.ContactPage, error)
	// Existence answers for all refs, in their order, from the primary.
	Existence(ctx context.Context, refs []contact.Ref) ([]contact.Existence, error)
}

// ledger answers questions about writes that have an outcome.
type ledger interface {
	// Write reads one write; not_found when it has no outcome yet or is not of
	// the account.
	Write(ctx context.Context, account, id uuid.UUID) (contact.Record, error)
	// WritesByID reads those of the writes that have an outcome, in any order.
	WritesByID(ctx context.Context, refs []contact.WriteRef) ([]contact.Record, error)
	// Writes reads a page of writes.
	Writes(ctx context.Context, q contact.WriteQuery) (contact.WritePage, error)
	// ChangeLog reads a page of the change log.
	ChangeLog(ctx context.Context, q contact.LogQuery) (contact.LogPage, error)
}

// failedWrites keeps what failed until somebody retries or discards it.
type failedWrites interface {
	// ClaimRetry fixes the id of the write that repeats a failed one. The id in
	// the answer stands, and differs from newID when an earlier, unfinished
	// retry fixed it.
	ClaimRetry(ctx context.Context, account, id, newID uuid.UUID) (contact.FailedWrite, error)
	// ClaimRetries is ClaimRetry for many writes; what is not free is left out.
	ClaimRetries(ctx context.Context, claims []contact.RetryClaim) ([]contact.FailedWrite, error)
	// RetriesSent notes that the writes that repeat failed ones were appended.
	RetriesSent(ctx context.Context, failed []contact.WriteRef) error
	// Failures lists what is open, in the order of retries.
	Failures(ctx context.Context, q contact.FailureQuery) ([]contact.Failure, error)
	// Discard gives a failed write up; it succeeds only while no retry is fixed.
	Discard(ctx context.Context, account, id uuid.UUID) error
}

// keyStore is the truth about API keys.
type keyStore interface {
	// Key finds a key by the sha-256 of its credential, or not_found.
	Key(ctx context.Context, hash [32]byte) (contact.Key, error)
	// KeyByID finds a key by its id, or not_found.
	KeyByID(ctx context.Context, id uuid.UUID) (contact.Key, error)
	// KeysChangedSince lists keys that were made or revoked since a moment.
	KeysChangedSince(ctx context.Context, t time.Time) ([]contact.Key, error)
}

// keyMirror is the copy of the keys in Redis, which accepting needs alone.
type keyMirror interface {
	// Key finds a key; false when the mirror does not have it.
	Key(ctx context.Context, hash [32]byte) (contact.Key, bool, error)
	// KeyHash finds the hash of a key by the key's id.
	KeyHash(ctx context.Context, id uuid.UUID) ([32]byte, bool, error)
	// FillKey adds a key that the mirror does not have. It MUST NOT replace
	// one, since that one may be newer (a revocation).
	FillKey(ctx context.Context, k contact.Key) error
	// PutKey replaces a key.
	PutKey(ctx context.Context, k contact.Key) error
}

// appender makes writes durable.
type appender interface {
	// Append returns when the write is in its lane, fsynced, or refused. Its
	// errors are *contact.Error.
	Append(ctx context.Context, w *contact.Write) (contact.Receipt, error)
	// AppendAll is Append for many writes, answered place by place. Writes of
	// one contact go in in their order.
	AppendAll(ctx context.Context, writes []*contact.Write) ([]contact.Receipt, []error)
}

// laneReader looks into the lanes.
type laneReader interface {
	// FixCreateID gives an account's idempotency key the id of the contact it
	// creates; the first id offered stands and is returned to every later call.
	FixCreateID(ctx context.Context, account uuid.UUID, key [32]byte, id uuid.UUID) (uuid.UUID, error)
	// Born tells whether a create or restore of the contact is queued.
	Born(ctx context.Context, ref contact.Ref) (bool, error)
	// Find looks for a queued write.
	Find(ctx context.Context, account, writeID uuid.UUID) (contact.Entry, bool, error)
	// Replay looks an idempotency key up without appending: the receipt of the
	// earlier write, or idempotency_key_reused when its body was another.
	Replay(ctx context.Context, w *contact.Write) (contact.Receipt, bool, error)
}

// replies brings outcomes back from the workers.
type replies interface {
	// Name is this process' address, to be put into Write.ReplyTo.
	Name() string
	// Expect announces that somebody waits for a write. It MUST be called
	// before the append. The function ends the waiting. A reply may be lost.
	Expect(id uuid.UUID) (<-chan contact.Outcome, func())
}

// Readiness says what the process can do at this moment.
type Readiness struct {
	// Ready: requests should be sent here.
	Ready bool `json:"ready"`
	// Durable: what is accepted survives the loss of every process.
	Durable bool `json:"durable"`
	// Redis and Postgres are "ok" or one word on what is wrong.
	Redis    string `json:"redis"`
	Postgres string `json:"postgres"`
	// Reads and Writes: what a process serves that has lost one of the two.
	Reads  bool `json:"reads"`
	Writes bool `json:"writes"`
}

// For answers a probe that asks for one purpose alone: "" for everything, "reads"
// or "writes"; false, false for any other.
func (r Readiness) For(purpose string) (ready, known bool) {
	switch purpose {
	case "":
		return r.Ready, true
	case "reads":
		return r.Reads, true
	case "writes":
		return r.Writes, true
	default:
		return false, false
	}
}

// callbellDashboard is where the links of Callbell's document lead.
const callbellDashboard = "https://dash.callbell.eu/contacts"

// Options are what a Server needs. All of it is required but HrefBase, Traces and Now.
type Options struct {
	// Lanes are the numbers of lanes, as the database has them.
	Lanes contact.LaneCounts

	// Contacts, Ledger, Failed and Keys are answered by the store.
	Contacts contactStore
	Ledger   ledger
	Failed   failedWrites
	Keys     keyStore
	// Mirror is the copy of the keys in Redis.
	Mirror keyMirror
	// Settings and SettingsEditor are answered by the store, SettingsMirror is
	// the copy of the settings in Redis.
	Settings       settingsReader
	SettingsEditor settingsEditor
	SettingsMirror settingsMirror
	// Tokens makes and checks access tokens.
	Tokens *token.Service
	// Appender, Lane and Replies are answered by the lanes.
	Appender appender
	Lane     laneReader
	Replies  replies
	// Limits counts the requests and credits of a key.
	Limits limiter

	// HrefBase is what a vendor's dashboard links begin with: the id of the
	// contact follows it. Empty: the links of Callbell's own dashboard.
	HrefBase string
	// Optouts are what webhooks, suppressions and unsubscribe links need.
	Optouts Optouts

	// Ready is asked by /readyz; it bounds its own time.
	Ready      func(ctx context.Context) Readiness
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Traces makes the spans of requests; nil: there are none, at no cost.
	Traces trace.TracerProvider

	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// validate names everything that is missing.
func (o *Options) validate() error {
	var errs []error
	need := func(there bool, name string) {
		if !there {
			errs = append(errs, errors.New("api option "+name+" is missing"))
		}
	}
	for _, name := range o.Optouts.missing() {
		need(false, name)
	}
	need(o.Lanes.Address > 0 && o.Lanes.Address <= contact.MaxLanes, "Lanes.Address")
	need(o.Lanes.Contact > 0 && o.Lanes.Contact <= contact.MaxLanes, "Lanes")
	need(o.Contacts != nil, "Contacts")
	need(o.Ledger != nil, "Ledger")
	need(o.Failed != nil, "Failed")
	need(o.Keys != nil, "Keys")
	need(o.Mirror != nil, "Mirror")
	need(o.Settings != nil, "Settings")
	need(o.SettingsEditor != nil, "SettingsEditor")
	need(o.SettingsMirror != nil, "SettingsMirror")
	need(o.Tokens != nil, "Tokens")
	need(o.Appender != nil, "Appender")
	need(o.Lane != nil, "Lane")
	need(o.Replies != nil, "Replies")
	need(o.Limits != nil, "Limits")
	need(o.Ready != nil, "Ready")
	need(o.Logger != nil, "Logger")
	need(o.Registerer != nil, "Registerer")
	return errors.Join(errs...)
}

// Server answers requests. Its only goroutines are those of Run and of its
// caches, which Close ends.
type Server struct {
	opt       Options
	answers   map[contact.Code]answer
	keys      *keyring
	existence *existence
	lexicon   *lexicon
	polls     *poller
	optouts   *optouts
	bodies    *semaphore.Weighted
	metrics   *metrics
	traces    *tracer
	page      docsPage
	handler   http.Handler
}

// New makes a server. It reports every missing option at once.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.HrefBase = cmp.Or(o.HrefBase, callbellDashboard)
	page, err := renderDocs(specification)
	if err != nil {
		return nil, err
	}
	s := &Server{
		opt: o, answers: answers(), keys: newKeyring(&o),
		existence: newExistence(&o), lexicon: newLexicon(&o), polls: newPoller(o.Ledger),
		page: page, bodies: semaphore.NewWeighted(bodyMemory),
	}
	s.optouts = newOptouts(&s.opt)
	s.metrics = newMetrics(o.Registerer, s.routes())
	s.traces = newTracer(o.Traces)
	s.handler = exact(s.mux(), &endpoint{server: s})
	return s, nil
}

// Handler is the public surface, /livez and /readyz included.
func (s *Server) Handler() http.Handler { return s.handler }

// Live answers /livez, for the listener of the operators.
func (s *Server) Live() http.Handler { return s.handler }

// Ready answers /readyz.
func (s *Server) Ready() http.Handler { return s.handler }

// Run keeps keys, settings, endpoints and the keys of access tokens fresh until ctx
// ends: it re-reads every five seconds what changed in the store, so that a
// revocation that did not reach the mirror is in force everywhere within ten
// seconds. It returns nil.
func (s *Server) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { s.keys.run(ctx, s.now) })
	all.Go(func() { s.lexicon.run(ctx, s.now) })
	all.Go(func() { s.opt.Tokens.Run(ctx) })
	all.Go(func() { s.optouts.directory.run(ctx, s.now) })
	all.Wait()
	return nil
}

// Close ends the caches. Requests MUST have ended before.
func (s *Server) Close() {
	s.keys.cache.StopAllGoroutines()
	s.keys.hashes.StopAllGoroutines()
	s.existence.known.StopAllGoroutines()
	s.lexicon.copies.StopAllGoroutines()
	s.optouts.directory.known.StopAllGoroutines()
	s.optouts.paces.buckets.StopAllGoroutines()
}

func (s *Server) now() time.Time { return s.opt.Now() }
