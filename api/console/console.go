package console

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"patchlane/api"
	"patchlane/tasks/contact"
)

// Lane is one lane as the console shows it.
type Lane struct {
	Lane   contact.Lane
	Depth  int64
	Aside  int64
	Oldest time.Duration
	Owner  string
	Paused bool
}

// lanes are the queues.
type lanes interface {
	Stats(ctx context.Context) ([]Lane, error)
	// FindAny looks for a queued write by its id alone.
	FindAny(ctx context.Context, id uuid.UUID) (contact.Entry, bool, error)
	Pauses(ctx context.Context) ([]contact.Pause, error)
	Pause(ctx context.Context, p contact.Pause) error
	Resume(ctx context.Context, p contact.Pause) error
}

// failures are the failed writes that nobody dealt with.
type failures interface {
	Failures(ctx context.Context, q contact.FailureQuery) ([]contact.Failure, error)
	FailureCounts(ctx context.Context, q contact.FailureQuery) ([]contact.FailureCount, error)
	PreviewRetries(ctx context.Context, refs []contact.WriteRef, force bool) ([]contact.RetryPreview, error)
	DiscardMany(ctx context.Context, failed []contact.WriteRef) (int, error)
}

// ledger answers what became of writes and contacts.
type ledger interface {
	Write(ctx context.Context, account, id uuid.UUID) (contact.Record, error)
	Writes(ctx context.Context, q contact.WriteQuery) (contact.WritePage, error)
	ChangeLog(ctx context.Context, q contact.LogQuery) (contact.LogPage, error)
	AccountsOfWrite(ctx context.Context, id uuid.UUID) ([]uuid.UUID, error)
	AccountsOfContact(ctx context.Context, id uuid.UUID) ([]uuid.UUID, error)
}

// optouts are the reports that wait for somebody.
type optouts interface {
	Undecided(ctx context.Context) (reviews, quarantined int64, err error)
	Reviews(ctx context.Context, q contact.ReviewQuery) (contact.ReviewPage, error)
	Quarantined(ctx context.Context, q contact.QuarantineQuery) (contact.QuarantinePage, error)
	DismissReview(ctx context.Context, account, id uuid.UUID, actor string) (contact.OptOutReview, error)
}

// book is who may write, who may post, and what operators did.
type book interface {
	Accounts(ctx context.Context) ([]contact.Account, error)
	KeysChangedSince(ctx context.Context, t time.Time) ([]contact.Key, error)
	EndpointsChangedSince(ctx context.Context, t time.Time) ([]contact.Endpoint, error)
	LogOperator(ctx context.Context, a contact.OperatorAction) error
	OperatorLog(ctx context.Context, limit int, after string) ([]contact.OperatorAction, string, error)
}

// actor does what the API does for its clients.
type actor interface {
	Replay(ctx context.Context, how api.Replay) (api.ReplayProgress, error)
	AcceptReview(ctx context.Context, account, id uuid.UUID, actor string) error
}

// Options are what a Console needs; all but Token and Now are required.
type Options struct {
	// Token is that of --ops-token; empty: whoever the listener lets through is in.
	Token    string
	Lanes    lanes
	Failures failures
	Ledger   ledger
	Optouts  optouts
	Book     book
	API      actor
	// LaneCount is the number of contact lanes.
	LaneCount int
	// Ready tells whether Redis and Postgres answer; it bounds its own time.
	Ready  func(context.Context) api.Readiness
	Logger *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

func (o *Options) validate() error {
	var errs []error
	for name, there := range map[string]bool{
		"Lanes": o.Lanes != nil, "Failures": o.Failures != nil, "Ledger": o.Ledger != nil, "Optouts": o.Optouts != nil,
		"Book": o.Book != nil, "API": o.API != nil, "LaneCount": o.LaneCount > 0, "Ready": o.Ready != nil, "Logger": o.Logger != nil,
	} {
		if !there {
			errs = append(errs, fmt.Errorf("console option %s is missing", name))
		}
	}
	return errors.Join(errs...)
}

//go:embed pages
var files embed.FS

// Console serves /ops and what is below it. Its only goroutines are those of
// replays, which Close ends.
type Console struct {
	o        Options
	sessions *sessions
	pages    pages
	jobs     *jobs
	handler  http.Handler
}

// New makes a console. It reports every missing option at once.
func New(o Options) (*Console, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	parsed, err := parsePages()
	if err != nil {
		return nil, err
	}
	c := &Console{o: o, sessions: newSessions(o.Token, o.Now), pages: parsed, jobs: newJobs()}
	c.handler = c.routes()
	return c, nil
}

// Close stops the replays, between two steps of each, and waits for them.
func (c *Console) Close() { c.jobs.close() }

// ServeHTTP serves a request to /ops or below.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// routes is the whole surface. What is not public needs a session to be changed,
// and a session or the token to be seen.
func (c *Console) routes() http.Handler {
	mux := http.NewServeMux()
	see := func(path string, page func(*visit) error) { mux.Handle("GET "+path, c.seen(page)) }
	act := func(path string, action func(*visit) error) { mux.Handle("POST "+path, c.acted(action)) }
	mux.HandleFunc("GET /ops/console.css", c.asset("pages/console.css", "text/css; charset=utf-8"))
	mux.HandleFunc("GET /ops/console.js", c.asset("pages/console.js", "text/javascript; charset=utf-8"))
	mux.HandleFunc("GET /ops/login", c.loginPage)
	mux.HandleFunc("POST /ops/login", c.login)
	see("/ops", c.overview)
	see("/ops/{$}", c.overview)
	see("/ops/lanes", c.lanesPage)
	see("/ops/failed", c.failedPage)
	see("/ops/failed/retry", c.confirmPage)
	see("/ops/failed/{id}", c.failurePage)
	see("/ops/replays/{id}", c.jobPage)
	see("/ops/optouts", c.optoutsPage)
	see("/ops/follow", c.followPage)
	see("/ops/keys", c.keysPage)
	see("/ops/log", c.logPage)
	act("/ops/logout", c.logout)
	act("/ops/pause", c.pause)
	act("/ops/resume", c.resume)
	act("/ops/failed/retry", c.retry)
	act("/ops/failed/discard", c.discard)
	act("/ops/replays/{id}/cancel", c.cancelJob)
	act("/ops/optouts/{account}/{id}", c.decide)
	return http.NewCrossOriginProtection().Handler(secured(mux))
}

// secured keeps the pages to themselves: nothing from elsewhere is loaded, and
// nobody else's page shows or sends them.
func secured(next http.Handler) http.Handler {
	const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		http.MaxBytesHandler(next, maxForm).ServeHTTP(w, r)
	})
}

// maxForm bounds a form: some thousands of ids at most.
const maxForm = 256 << 10

func (c *Console) asset(name, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		http.ServeFileFS(w, r, files, name)
	}
}
