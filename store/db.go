package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

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
	write, events, read *pgxpool.Pool
	// records is bun over a pool of its own, for accounts, keys and the state
	// of failed writes.
	records    *bun.DB
	notesLimit int
	logger     *slog.Logger
	metrics    *metrics
	rechecks   rechecks
}

// Open checks the configuration and makes the pools. It does not connect: a
// process starts while Postgres is away, and every call says so until it is
// back.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	write, err := newPool(ctx, cfg.URL, "patchlane write", orDefault(cfg.MaxConns, DefaultMaxConns))
	if err != nil {
		return nil, err
	}
	// The URL was read once, so none of the others fails.
	events, err := newPool(ctx, cfg.URL, "patchlane events", eventConns)
	if err != nil {
		write.Close()
		return nil, err
	}
	read, err := newPool(ctx, cfg.URL, "patchlane read", orDefault(cfg.ReadConns, DefaultReadConns))
	if err != nil {
		write.Close()
		events.Close()
		return nil, err
	}
	return &Store{
		write:      write,
		events:     events,
		read:       read,
		records:    newRecords(read.Config().ConnConfig),
		notesLimit: orDefault(cfg.NotesLimit, DefaultNotesLimit),
		logger:     cfg.Logger,
		metrics:    newMetrics(cfg.Registerer, map[string]*pgxpool.Pool{"write": write, "events": events, "read": read}, cfg.Providers),
		rechecks:   rechecks{done: map[contact.Lane]contact.Offset{}},
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

// newPool makes a pool that connects on demand. A context that ends sends a
// cancel request first, so that Postgres stops working for a client that left.
func newPool(ctx context.Context, url, name string, conns int) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse database url: %w", err)
	}
	cfg.MaxConns = int32(min(max(conns, 1), 10_000))
	cfg.MinConns = 0
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.ConnConfig.ConnectTimeout = 3 * time.Second
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = name
	}
	cfg.ConnConfig.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: time.Second}
	}
	cfg.AfterConnect = func(_ context.Context, c *pgx.Conn) error {
		// Exec mode asks the Go type, not the server, what a parameter is.
		c.TypeMap().RegisterDefaultPgType(uuid.UUID{}, "uuid")
		c.TypeMap().RegisterDefaultPgType(idColumn{}, "_uuid")
		c.TypeMap().RegisterDefaultPgType(textColumn{}, "_text")
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("make pool: %w", err)
	}
	return pool, nil
}

// newRecords opens bun. It writes values into the text of a query, so each text
// is new: in pgx's default mode every one of them would stay on the connection
// as a prepared statement.
func newRecords(cfg *pgx.ConnConfig) *bun.DB {
	cfg = cfg.Copy()
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(recordConns)
	db.SetMaxIdleConns(recordConns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return bun.NewDB(db, pgdialect.New())
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
