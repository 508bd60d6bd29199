// Package storetest gives every test a migrated Postgres database of its own.
// One real server serves a test binary; a database is a copy of a migrated
// template, which takes some tens of milliseconds.
package storetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"patchlane/deploy/local"
	"patchlane/store"
	"patchlane/tasks/contact"
)

// Lanes are the numbers of lanes of every test database.
func Lanes() contact.LaneCounts { return contact.LaneCounts{Contact: 8, Address: 2} }

// DB is a database of one test.
type DB struct {
	// URL connects as a role that may do everything.
	URL string
	// Store is open on it and closed when the test ends.
	Store *store.Store
}

// template is the name of the migrated database that the others are copies of.
const template = "storetest_template"

// shared is the one server of the test binary, started by the first test that
// needs it and stopped by Main.
//
//nolint:gochecknoglobals // one server a test binary is the purpose of the package
var shared struct {
	sync.Mutex
	server *local.Postgres
	err    error
	// copying serialises CREATE DATABASE: a template may have no second user.
	copying sync.Mutex
}

// Main runs the tests of a binary, stops the server and looks for leaked
// goroutines. It is the body of TestMain and does not return.
func Main(m *testing.M, opts ...goleak.Option) {
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "storetest:", err)
		code = max(code, 1)
	}
	if code == 0 {
		if err := goleak.Find(opts...); err != nil {
			fmt.Fprintln(os.Stderr, "storetest:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Stop stops the server, for a TestMain that has more to do than Main.
func Stop() error { return stop() }

// New makes a migrated database and opens a Store on it.
func New(tb testing.TB) DB {
	tb.Helper()
	return Open(tb, store.Config{})
}

// Open is New with a configuration; its URL is replaced.
func Open(tb testing.TB, cfg store.Config) DB {
	tb.Helper()
	db := DB{URL: create(tb, template)}
	cfg.URL = db.URL
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 8
	}
	s, err := store.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatalf("open store: %v", err)
	}
	tb.Cleanup(s.Close)
	db.Store = s
	return db
}

// Empty makes a database without a schema and returns its URL.
func Empty(tb testing.TB) string {
	tb.Helper()
	return create(tb, "template0")
}

// create copies a database and drops the copy when the test ends.
func create(tb testing.TB, from string) string {
	tb.Helper()
	server, err := start()
	if err != nil {
		tb.Fatalf("start postgres: %v", err)
	}
	suffix := make([]byte, 6)
	_, _ = rand.Read(suffix)
	name := "test_" + hex.EncodeToString(suffix)
	shared.copying.Lock()
	defer shared.copying.Unlock()
	if err := execAdmin(tb.Context(), server.URL(), `CREATE DATABASE `+name+` TEMPLATE `+from); err != nil {
		tb.Fatalf("create database: %v", err)
	}
	tb.Cleanup(func() {
		// The test's context has ended before its cleanups run.
		ctx := context.WithoutCancel(tb.Context())
		if err := execAdmin(ctx, server.URL(), `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`); err != nil {
			tb.Errorf("drop database: %v", err)
		}
	})
	return withDatabase(server.URL(), name)
}

// start starts the server and migrates the template, once.
func start() (*local.Postgres, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil || shared.err != nil {
		return shared.server, shared.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server, err := local.StartPostgres(ctx, local.PostgresOptions{})
	if err == nil {
		err = makeTemplate(ctx, server.URL())
		if err != nil {
			err = errors.Join(err, server.Stop())
		}
	}
	if err != nil {
		shared.err = err
		return nil, err
	}
	shared.server = server
	return server, nil
}

func makeTemplate(ctx context.Context, server string) error {
	if err := execAdmin(ctx, server, `CREATE DATABASE `+template+` TEMPLATE template0`); err != nil {
		return err
	}
	return store.Migrate(ctx, withDatabase(server, template), store.MigrateOptions{Lanes: Lanes()})
}

func stop() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		return nil
	}
	server := shared.server
	shared.server, shared.err = nil, errors.New("the server was stopped")
	return server.Stop()
}

// execAdmin runs one statement in the server's own database.
func execAdmin(ctx context.Context, server, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

// withDatabase replaces the database of a URL.
func withDatabase(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	u.Path = "/" + name
	return u.String()
}
