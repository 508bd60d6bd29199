package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/uptrace/bun"

	"patchlane/tasks/circuit"
	"patchlane/tasks/contact"
)

// The defaults of Config, and how long a read may take.
const (
	DefaultMaxConns   = 32
	DefaultReadConns  = 10
	DefaultNotesLimit = 64 << 10

	recordConns = 4
	// eventConns is how many connections the address lanes share.
	eventConns  = 8
	readTimeout = 5 * time.Second
)

// Config is what a Store is opened with.
type Config struct {
	// URL is a postgres:// URL or a key=value string. Behind a PgBouncer older
	// than 1.21 add default_query_exec_mode=exec.
	URL string
	// MaxConns bounds the connections of the write path. Reads have their own,
	// so that no number of batches can starve a GET. 0: DefaultMaxConns.
	MaxConns int
	// ReadConns bounds the connections of reads. 0: DefaultReadConns.
	ReadConns int
	// NotesLimit is how many bytes notes may grow to. 0: DefaultNotesLimit.
	NotesLimit int
	// Registerer takes the metrics; nil: they are kept nowhere.
	Registerer prometheus.Registerer
	// Providers are the names by which events are counted; those of others are
	// counted as one.
	Providers []string
	// Logger is nil for none.
	Logger *slog.Logger
}

// Store is the Postgres side of patchlane. It is safe for concurrent use.
type Store struct {
	// write carries Apply and Fail, events those of the address lanes; read
	// carries look-ups and the ledger.
	write, events, read *pool
	// circuit knows whether Postgres answers; it stands before all of them.
	circuit *circuit.Circuit
	// records is bun over a pool of its own, for accounts, keys and the state
	// of failed writes.
	records    *bun.DB
	notesLimit int
	logger     *slog.Logger
	metrics    *metrics
	rechecks   rechecks
	hashKey    hashKey
}

// Open checks the configuration and makes the pools. It does not connect: a
// process starts while Postgres is away, and every call says so until it is
// back.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	watch, err := newCircuit(cfg)
	if err != nil {
		return nil, err
	}
	write, err := newPool(ctx, cfg.URL, "patchlane write", orDefault(cfg.MaxConns, DefaultMaxConns), watch)
	if err != nil {
		return nil, err
	}
	// The URL was read once, so none of the others fails.
	events, err := newPool(ctx, cfg.URL, "patchlane events", eventConns, watch)
	if err != nil {
		write.Close()
		return nil, err
	}
	read, err := newPool(ctx, cfg.URL, "patchlane read", orDefault(cfg.ReadConns, DefaultReadConns), watch)
	if err != nil {
		write.Close()
		events.Close()
		return nil, err
	}
	watch.pools = []*pool{write, events, read}
	return &Store{
		write:      write,
		events:     events,
		read:       read,
		circuit:    watch.circuit,
		records:    newRecords(read.Config().ConnConfig, watch.circuit),
		notesLimit: orDefault(cfg.NotesLimit, DefaultNotesLimit),
		logger:     cfg.Logger,
		metrics: newMetrics(cfg.Registerer, map[string]*pgxpool.Pool{
			"write": write.Pool, "events": events.Pool, "read": read.Pool,
		}, cfg.Providers),
		rechecks: rechecks{done: map[contact.Lane]contact.Offset{}},
	}, nil
}

// Close ends every connection. Calls in flight end with an error.
func (s *Store) Close() {
	if err := s.records.Close(); err != nil {
		s.logger.Warn("closing the record pool", "err", err)
	}
	s.read.Close()
	s.events.Close()
	s.write.Close()
	s.circuit.Close()
}

// Ping tells whether Postgres answers.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return readError("ping", s.read.Ping(ctx))
}

// Lanes returns the numbers of lanes that the database was migrated with.
func (s *Store) Lanes(ctx context.Context) (contact.LaneCounts, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var n contact.LaneCounts
	err := s.read.QueryRow(ctx, `SELECT contact_lanes, address_lanes FROM meta`).
		Scan(&n.Contact, &n.Address)
	if errors.Is(err, pgx.ErrNoRows) || isMissingSchema(err) {
		return n, missingSchema(err)
	}
	return n, readError("read lane counts", err)
}

// orDefault replaces a number that was not given.
func orDefault(n, d int) int {
	if n > 0 {
		return n
	}
	return d
}

// noRows tells whether either driver found nothing.
func noRows(err error) bool {
	return errors.Is(err, pgx.ErrNoRows) || errors.Is(err, sql.ErrNoRows)
}
