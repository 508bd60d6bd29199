package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"patchlane/tasks/circuit"
)

const (
	// doubtAfter is how long Postgres may take for the first words of an answer
	// before it is asked whether it is there. Slow statements are allowed: the
	// question has a connection of its own.
	doubtAfter = time.Second
	// probePause is the mean time between two connects to a Postgres that is away.
	probePause = 200 * time.Millisecond
)

// pool is a pool of connections behind the circuit of its server: while Postgres
// is away nobody waits for a connection, and nobody makes one.
type pool struct {
	*pgxpool.Pool
	circuit *circuit.Circuit
}

// Query asks, unless Postgres is away.
func (p *pool) Query(ctx context.Context, sql string, args ...any) (rows pgx.Rows, err error) {
	err = p.circuit.Do(func() (err error) {
		rows, err = p.Pool.Query(ctx, sql, args...) //nolint:sqlclosecheck // They are the caller's.
		return err
	})
	return rows, err
}

// QueryRow asks for one row, unless Postgres is away. It goes through Query so
// that the circuit sees an error, which a row would keep until it is scanned.
func (p *pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := p.Query(ctx, sql, args...)
	return oneRow{rows, err}
}

// oneRow is the first row of an answer.
type oneRow struct {
	rows pgx.Rows
	err  error
}

// Scan reads the row.
func (r oneRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// Exec runs a statement, unless Postgres is away.
func (p *pool) Exec(ctx context.Context, sql string, args ...any) (tag pgconn.CommandTag, err error) {
	err = p.circuit.Do(func() (err error) { tag, err = p.Pool.Exec(ctx, sql, args...); return err })
	return tag, err
}

// Begin begins a transaction, unless Postgres is away.
func (p *pool) Begin(ctx context.Context) (pgx.Tx, error) { return p.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx begins a transaction, unless Postgres is away.
func (p *pool) BeginTx(ctx context.Context, o pgx.TxOptions) (tx pgx.Tx, err error) {
	err = p.circuit.Do(func() (err error) { tx, err = p.Pool.BeginTx(ctx, o); return err })
	return tx, err
}

// Ping asks for nothing, unless Postgres is away.
func (p *pool) Ping(ctx context.Context) error {
	return p.circuit.Do(func() error { return p.Pool.Ping(ctx) })
}

// watch is the circuit of a Postgres, and the pools that it stands before.
type watch struct {
	circuit *circuit.Circuit
	pools   []*pool
}

// newCircuit makes the circuit of a Postgres.
func newCircuit(cfg Config) (*watch, error) {
	server, err := pgx.ParseConfig(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("parse database url: %w", err)
	}
	server.RuntimeParams["application_name"] = "patchlane probe"
	w := &watch{}
	w.circuit = circuit.New(circuit.Config{
		Server: "postgres", Answered: answered, Patience: doubtAfter, Pause: probePause,
		Logger: cfg.Logger, Registerer: cfg.Registerer,
		Probe: func(ctx context.Context) error { return connectOnce(ctx, server.Copy()) },
		// The connections that the server had are gone with it. Left in the
		// pools, each would cost one more caller an error.
		Back: func() {
			for _, p := range w.pools {
				p.Reset()
			}
		},
	})
	return w, nil
}

// connectOnce asks Postgres whether it is there.
func connectOnce(ctx context.Context, cfg *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// answered tells whether an error is an answer of a Postgres that is at work, or
// a caller's own end. One that starts, stops or recovers says so, and is away; one
// that has no connection left is not: those that are there go on.
func answered(err error) bool {
	state := sqlState(err)
	switch {
	case strings.HasPrefix(state, "57P"), strings.HasPrefix(state, "08"):
		return false
	case state != "":
		return true
	default:
		return errors.Is(err, context.Canceled) || noRows(err)
	}
}

// newPool makes a pool that connects on demand. A context that ends sends a
// cancel request first, so that Postgres stops working for a client that left.
func newPool(ctx context.Context, url, name string, conns int, w *watch) (*pool, error) {
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
	cfg.BeforeConnect = unlessAway(w.circuit)
	cfg.AfterConnect = func(_ context.Context, c *pgx.Conn) error {
		// Exec mode asks the Go type, not the server, what a parameter is.
		c.TypeMap().RegisterDefaultPgType(uuid.UUID{}, "uuid")
		c.TypeMap().RegisterDefaultPgType(idColumn{}, "_uuid")
		c.TypeMap().RegisterDefaultPgType(textColumn{}, "_text")
		return nil
	}
	p, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("make pool: %w", err)
	}
	return &pool{Pool: p, circuit: w.circuit}, nil
}

// unlessAway refuses connects while Postgres is away: those of calls that were let
// through before.
func unlessAway(c *circuit.Circuit) func(context.Context, *pgx.ConnConfig) error {
	return func(context.Context, *pgx.ConnConfig) error {
		if c.Open() {
			return circuit.ErrOpen
		}
		return nil
	}
}

// newRecords opens bun. It writes values into the text of a query, so each text
// is new: in pgx's default mode every one of them would stay on the connection
// as a prepared statement.
func newRecords(cfg *pgx.ConnConfig, c *circuit.Circuit) *bun.DB {
	cfg = cfg.Copy()
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	db := stdlib.OpenDB(*cfg, stdlib.OptionBeforeConnect(unlessAway(c)))
	db.SetMaxOpenConns(recordConns)
	db.SetMaxIdleConns(recordConns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return bun.NewDB(db, pgdialect.New())
}
