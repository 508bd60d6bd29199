package lane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

// The times of the protocol. They are constants because the recovery times that
// the README promises were derived from them.
const (
	// OwnerTTL is how long a lease lives without being renewed.
	OwnerTTL = 5 * time.Second
	// ClaimTTL is how long the promise to ring for a lane is believed.
	ClaimTTL = 1500 * time.Millisecond
	// KeyTTL is how long an idempotency key is remembered.
	KeyTTL = 24 * time.Hour
	// createTTL outlives KeyTTL, so that a repeated create finds its contact id
	// as long as it finds its write.
	createTTL = 25 * time.Hour
)

// Defaults of Config.
const (
	defaultLimit     = 250_000
	defaultShare     = 0.5
	defaultReadBytes = 8 << 20
)

// Config says how lanes behave. The zero value of a member means its default;
// Counts has none.
type Config struct {
	// Counts MUST be the numbers with which the database was migrated.
	Counts contact.LaneCounts
	// Limit is the most entries in a lane; default 250,000.
	Limit int
	// Share is the part of Limit that one account may hold; default 0.5.
	Share float64
	// ReadBytes bounds what one Read returns, except for a single larger entry;
	// default 8 MiB.
	ReadBytes int
	// Logger is silent when nil.
	Logger *slog.Logger
	// Registerer takes the metrics; nil registers none.
	Registerer prometheus.Registerer
	// Now is the clock of this process; default time.Now. It never orders
	// anything: Redis' clock does.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Limit <= 0 {
		c.Limit = defaultLimit
	}
	if c.Share <= 0 || c.Share > 1 {
		c.Share = defaultShare
	}
	if c.ReadBytes <= 0 {
		c.ReadBytes = defaultReadBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// share is the most entries of one account in a lane.
func (c Config) share() int { return max(1, int(float64(c.Limit)*c.Share)) }

// Lanes are the ordered queues of one installation. It is safe for concurrent
// use and holds nothing that must be closed; the client belongs to the caller.
type Lanes struct {
	rdb     redis.UniversalClient
	cfg     Config
	scripts scripts
	metrics *metrics

	mu    sync.Mutex
	looks map[contact.Lane]seen
}

// New returns the lanes kept by rdb.
func New(rdb redis.UniversalClient, cfg Config) *Lanes {
	cfg = cfg.withDefaults()
	l := &Lanes{
		rdb:     rdb,
		cfg:     cfg,
		scripts: newScripts(),
		metrics: newMetrics(cfg.Registerer),
		looks:   map[contact.Lane]seen{},
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(&collector{lanes: l})
	}
	return l
}

// Tune sets the options that the guarantees of this package need: no repeats by
// the client, deadlines that are kept, and errors that come soon.
func Tune(o *redis.UniversalOptions) {
	o.MaxRetries = -1
	o.ContextTimeoutEnabled = true
	o.DialTimeout = time.Second
	o.DialerRetries = 1
	o.ReadTimeout = 2 * time.Second
	o.WriteTimeout = 2 * time.Second
}

// CheckClient refuses a client that repeats commands on its own: after a lost
// reply it would add an entry twice and say nothing.
func CheckClient(rdb redis.UniversalClient) error {
	retries := 0
	switch c := rdb.(type) {
	case *redis.Client:
		retries = c.Options().MaxRetries
	case *redis.ClusterClient:
		retries = c.Options().MaxRetries
	}
	if retries > 0 {
		return fmt.Errorf("check redis client: it repeats commands %d times; set MaxRetries to -1",
			retries)
	}
	return nil
}

// Lane returns the lane of a contact.
func (l *Lanes) Lane(id uuid.UUID) contact.Lane {
	return contact.LaneOf(id, l.cfg.Counts.Contact)
}

// AddressLane returns the lane of an event's address.
func (l *Lanes) AddressLane(e *contact.Event) contact.Lane { return e.Lane(l.cfg.Counts.Address) }

// All lists every lane, contact lanes first.
func (l *Lanes) All() []contact.Lane {
	c := l.cfg.Counts
	lanes := make([]contact.Lane, 0, c.Contact+c.Address)
	for n := range c.Contact {
		lanes = append(lanes, contact.Lane{Kind: 'c', N: n})
	}
	for n := range c.Address {
		lanes = append(lanes, contact.Lane{Kind: 'a', N: n})
	}
	return lanes
}

// Born tells whether a create or a restore of the contact is queued: the store
// may not know yet that it exists.
func (l *Lanes) Born(ctx context.Context, ref contact.Ref) (bool, error) {
	field := string(ref.Account[:]) + string(ref.ID[:])
	born, err := l.rdb.HExists(ctx, bornKey(l.Lane(ref.ID)), field).Result()
	if err != nil {
		return false, unavailable(fmt.Errorf("look up born mark: %w", err))
	}
	return born, nil
}

// FixCreateID returns the contact id that stands for an account's idempotency
// key on a create: the proposed one if the key is new, else the one that was
// proposed first. It is kept for 25 hours, longer than the key itself.
func (l *Lanes) FixCreateID(
	ctx context.Context, account uuid.UUID, key [32]byte, id uuid.UUID,
) (uuid.UUID, error) {
	name := createKey(account, key)
	for range 3 { // a key may expire between the two commands
		if _, err := l.rdb.SetNX(ctx, name, id[:], createTTL).Result(); err != nil {
			return uuid.Nil, unavailable(fmt.Errorf("fix create id: %w", err))
		}
		b, err := l.rdb.Get(ctx, name).Bytes()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return uuid.Nil, unavailable(fmt.Errorf("read create id: %w", err))
		}
		fixed, err := uuid.FromBytes(b)
		if err != nil {
			return uuid.Nil, unavailable(fmt.Errorf("read create id: %w", err))
		}
		return fixed, nil
	}
	return uuid.Nil, unavailable(errors.New("fix create id: key vanished thrice"))
}

// unavailable is the error of a read or a fixed id that Redis did not answer.
func unavailable(err error) error {
	return &contact.Error{
		Code:       contact.CodeQueueUnavailable,
		Message:    "The write queue cannot be reached.",
		Fix:        "Send the request again with the same Idempotency-Key.",
		RetryAfter: time.Second,
		Err:        err,
	}
}
