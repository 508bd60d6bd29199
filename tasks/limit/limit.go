package limit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	"patchlane/tasks/contact"
)

const (
	// defaultTripTime is Config.TripTime: a call of the lanes is bounded alike.
	defaultTripTime = 1500 * time.Millisecond
	// tripUnits bounds what one round trip asks for, except for a single larger
	// toll, so that the script stays short.
	tripUnits = 2000
	// gatherTime bounds how long a round trip is filled under load; fullTrip
	// requests are enough for one.
	gatherTime = 5 * time.Millisecond
	fullTrip   = 128
	// settleTime is how long settlements wait for a toll to go with.
	settleTime = 5 * time.Millisecond
	// awayPause is how long nobody asks after a round trip failed: an outage
	// costs one request in a while its timeout, not each.
	awayPause = 250 * time.Millisecond
	// bookTime bounds a question to Postgres on the way of a request.
	bookTime = 500 * time.Millisecond
)

// errAway says that Redis did not answer a moment ago.
var errAway = errors.New("redis did not answer a moment ago")

// errClosed says that the limiter was closed.
var errClosed = errors.New("limiter is closed")

// book is the copy of the balances in Postgres.
type book interface {
	// Balance returns the balance of an account, or not_found when it was never
	// given credits.
	Balance(ctx context.Context, account uuid.UUID) (contact.Balance, error)
	// Balances lists all of them.
	Balances(ctx context.Context) ([]contact.Balance, error)
	// CopyBalances stores those that are newer than the stored ones.
	CopyBalances(ctx context.Context, balances []contact.Balance) error
}

// Config says what a Limiter works with.
type Config struct {
	// Book is asked for accounts that Redis does not know.
	Book book
	// TripTime is the deadline of one round trip to Redis; default 1.5 s. A Redis
	// that does not answer in time counts as away.
	TripTime time.Duration
	// Logger is silent when nil.
	Logger *slog.Logger
	// Registerer takes the metrics; nil registers none.
	Registerer prometheus.Registerer
}

// Limiter answers tolls. It is safe for concurrent use. The client belongs to the
// caller and may repeat commands: only a rate can count a repeat twice.
type Limiter struct {
	rdb     redis.UniversalClient
	cfg     Config
	scripts scripts
	metrics *metrics
	flight  singleflight.Group
	// clock replaces that of Redis in tests; nil: it does not.
	clock func() time.Time

	ops sync.Pool // of *op, each with its channel

	mu       sync.Mutex
	waiting  []*op
	settling map[uuid.UUID][]uuid.UUID
	running  bool
	want     int           // how many in line are enough for the next round trip
	enough   chan struct{} // holds one: so many are there
	away     time.Time     // nobody asks before
	closed   bool
	idle     chan struct{} // closed when closed and nothing is on its way
}

type scripts struct{ take, set, free *redis.Script }

// New returns a limiter on rdb.
func New(rdb redis.UniversalClient, cfg Config) *Limiter {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.TripTime = cmp.Or(cfg.TripTime, defaultTripTime)
	return &Limiter{
		rdb: rdb, cfg: cfg, metrics: newMetrics(cfg.Registerer),
		ops:  sync.Pool{New: func() any { return &op{done: make(chan result, 1)} }},
		idle: make(chan struct{}), enough: make(chan struct{}, 1), settling: map[uuid.UUID][]uuid.UUID{},
		scripts: scripts{
			take: redis.NewScript(takeSource), set: redis.NewScript(setSource), free: redis.NewScript(freeSource),
		},
	}
}

// Take asks for a toll. An error means that Redis did not answer: nothing is
// known to be granted, and a charge that was made all the same is found by its
// hold. The toll MUST NOT be changed until Take returned.
func (l *Limiter) Take(ctx context.Context, t *contact.Toll) (contact.Grant, error) {
	if t.Units <= 0 || (len(t.Rates) == 0 && t.Cost == 0) {
		return contact.Grant{Allowed: max(0, t.Units), Paid: max(0, t.Units), Credits: contact.Unmetered}, nil
	}
	grant, err := l.ask(ctx, op{account: t.Account, toll: t})
	if err != nil || grant.known {
		return grant.Grant, err
	}
	if !l.learn(ctx, t.Account) {
		return grant.Grant, nil
	}
	// The rates counted it already, and credits are asked for what they allowed.
	rest := *t
	rest.Rates, rest.Units = nil, grant.Allowed
	paid, err := l.ask(ctx, op{account: t.Account, toll: &rest})
	grant.Paid, grant.Credits, grant.Metered = paid.Paid, paid.Credits, paid.Metered
	return grant.Grant, err
}

// Settle makes charges stand. It does not wait: a hold whose settlement is lost
// is found by the Keeper.
func (l *Limiter) Settle(ctx context.Context, account uuid.UUID, holds []uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.settling[account] = append(l.settling[account], holds...)
	l.depart(ctx)
}

// Release gives charges back, each once, and returns what is left then. After an
// error the Keeper decides.
func (l *Limiter) Release(ctx context.Context, account uuid.UUID, holds []uuid.UUID) (int64, error) {
	grant, err := l.ask(ctx, op{account: account, back: holds})
	return grant.Credits, err
}

// learn brings an account from Postgres to Redis. It returns false when Postgres
// does not answer.
func (l *Limiter) learn(ctx context.Context, account uuid.UUID) bool {
	_, err, _ := l.flight.Do(string(account[:]), func() (any, error) {
		// It serves every request that waits for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bookTime)
		defer cancel()
		b, err := l.cfg.Book.Balance(ctx, account)
		if contact.CodeOf(err) == contact.CodeNotFound {
			return nil, l.run(ctx, l.scripts.free, account)
		}
		if err != nil {
			return nil, err
		}
		return nil, l.SetBalance(ctx, b)
	})
	if err != nil {
		l.cfg.Logger.DebugContext(ctx, "account counts as not metered", "err", err, "account_id", account)
	}
	return err == nil
}

// SetBalance gives an account a balance, unless a newer epoch is in force. It
// counts from the next Take on, on every replica.
func (l *Limiter) SetBalance(ctx context.Context, b contact.Balance) error {
	return l.run(ctx, l.scripts.set, b.Account, b.Left, b.Epoch, b.Seq)
}

func (l *Limiter) run(ctx context.Context, s *redis.Script, account uuid.UUID, args ...any) error {
	keys := []string{creditsKey(account), holdsKey(account)}
	if err := s.Run(ctx, l.rdb, keys, args...).Err(); err != nil {
		return fmt.Errorf("set balance of %s: %w", account, err)
	}
	return nil
}

// Balance returns what Redis, else Postgres, knows of an account's credits:
// Unmetered when neither of them knows any.
func (l *Limiter) Balance(ctx context.Context, account uuid.UUID) (contact.Balance, error) {
	found, err := l.balances(ctx, []uuid.UUID{account})
	if err != nil {
		return contact.Balance{}, err
	}
	if found[0].metered {
		return found[0].Balance, nil
	}
	b, err := l.cfg.Book.Balance(ctx, account)
	if contact.CodeOf(err) == contact.CodeNotFound {
		return contact.Balance{Account: account, Left: contact.Unmetered}, nil
	}
	return b, err
}

// LastKnown returns what an account had left when its balance was last copied to
// Postgres: for showing it while Redis is away.
func (l *Limiter) LastKnown(ctx context.Context, account uuid.UUID) int64 {
	ctx, cancel := context.WithTimeout(ctx, bookTime)
	defer cancel()
	b, err := l.cfg.Book.Balance(ctx, account)
	if err != nil {
		return contact.Unmetered
	}
	return b.Left
}

// Close refuses new tolls and waits until everything on its way has its answer.
func (l *Limiter) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	l.hurry()
	l.settleIdle()
	l.mu.Unlock()
	select {
	case <-l.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close limiter: %w", context.Cause(ctx))
	}
}

// settleIdle closes idle once a closed limiter has nothing on its way. The caller
// holds mu.
func (l *Limiter) settleIdle() {
	if !l.closed || l.running {
		return
	}
	select {
	case <-l.idle:
	default:
		close(l.idle)
	}
}
