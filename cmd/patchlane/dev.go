package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"patchlane/store"
	"patchlane/tasks/contact"
)

// devCmd is `patchlane dev`.
type devCmd struct {
	Data      string `name:"data" env:"PATCHLANE_DATA" placeholder:"DIR" help:"Folder in which Postgres and Redis keep their data between runs; without it a temporary one is used and removed."`
	ReadyFile string `name:"ready-file" env:"PATCHLANE_READY_FILE" placeholder:"FILE" help:"Written, by rename, when everything is ready, and removed at the end: JSON with the addresses of API, ops, Postgres and Redis, and the servers' process ids."`
	Listen    string `name:"listen" env:"PATCHLANE_LISTEN" group:"api" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address of the API (default: ${default}, this machine alone)."`
	OpsListen string `name:"ops-listen" env:"PATCHLANE_OPS_LISTEN" group:"process" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"Address of metrics, health and profiles (default: ${default})."`
	// Given, the addresses of other servers are not used: dev brings its own.
	DatabaseURL string `name:"database-url" env:"DATABASE_URL" hidden:""`
	RedisURL    string `name:"redis-url" env:"REDIS_URL" hidden:""`
	listenConfig
	drainConfig
	laneConfig
	poolConfig
	processConfig
}

// Help is the long text of --help.
func (*devCmd) Help() string {
	return `Starts a Postgres and a Redis of its own on free ports of this machine, migrates, and runs API and worker in one process.
It always brings its own servers: DATABASE_URL and REDIS_URL are not used. A server that dies is started again after a second.

Without redis-server on the machine a stand-in within the process serves: it forgets everything at the end and is NOT DURABLE.

Takes every flag of api and worker.`
}

// Run runs everything until a signal.
func (c *devCmd) Run(ctx context.Context, s streams) (err error) {
	logger := newLogger(s, c.processConfig)
	if c.DatabaseURL != "" || c.RedisURL != "" {
		logger.WarnContext(ctx, "dev runs on servers of its own: DATABASE_URL and REDIS_URL are not used")
	}
	cfg := c.config()
	// Wrong flags are said before servers are started for them.
	cfg.DatabaseURL, cfg.RedisURL = "postgres://dev", "redis://dev"
	if err := cfg.Validate(); err != nil {
		return err
	}
	if err := c.notReady(); err != nil {
		return err
	}
	st, err := startStack(ctx, c.Data, logger)
	if err != nil {
		return unlessAsked(err)
	}
	defer func() { err = errors.Join(err, c.notReady(), st.stop()) }()
	cfg.DatabaseURL, cfg.RedisURL = st.postgres.URL(), st.redis.URL()
	if !st.redis.Durable() {
		cfg.AllowVolatileQueue = true
		logger.WarnContext(ctx, "NOT DURABLE: redis is a stand-in within this process; what was accepted is lost with it")
	}
	err = store.Migrate(ctx, cfg.DatabaseURL, store.MigrateOptions{
		Lanes: contact.LaneCounts{Contact: c.Lanes, Address: c.AddressLanes}, Logger: logger,
	})
	if err != nil {
		return unlessAsked(err)
	}
	watching, endWatch := context.WithCancel(ctx)
	defer endWatch()
	return serve(ctx, cfg, logger, func(at addresses) error {
		f := &readyFile{path: c.ReadyFile, at: at, stack: st}
		if err := f.write(); err != nil {
			return err
		}
		st.watch(watching, func() { f.rewrite(watching, logger) })
		return c.welcome(ctx, s, cfg, at)
	})
}

// notReady removes the ready file: of an earlier run, and at the end.
func (c *devCmd) notReady() error {
	if c.ReadyFile == "" {
		return nil
	}
	if err := os.Remove(c.ReadyFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove ready file: %w", err)
	}
	return nil
}

func (c *devCmd) config() *config {
	return &config{
		poolConfig: c.poolConfig, laneConfig: c.laneConfig, processConfig: c.processConfig,
		listenConfig: c.listenConfig, drainConfig: c.drainConfig,
		Listen: c.Listen, OpsListen: c.OpsListen, Worker: true,
	}
}

// readyFile tells scripts where everything is.
type readyFile struct {
	path  string
	at    addresses
	stack *stack
	mu    sync.Mutex
}

// readiness is the content of the ready file.
type readiness struct {
	API         string         `json:"api"`
	Ops         string         `json:"ops"`
	DatabaseURL string         `json:"database_url"`
	RedisURL    string         `json:"redis_url"`
	PIDs        map[string]int `json:"pids"`
}

// write writes the file beside its place and renames it, so that nobody ever
// reads half of it. It holds the password of Postgres: only its owner may read.
func (f *readyFile) write() error {
	if f.path == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := json.Marshal(readiness{
		API: f.at.API, Ops: f.at.Ops,
		DatabaseURL: f.stack.postgres.URL(), RedisURL: f.stack.redis.URL(),
		PIDs: map[string]int{"postgres": f.stack.postgres.PID(), "redis": f.stack.redis.PID()},
	})
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	temp, err := os.CreateTemp(filepath.Dir(f.path), ".ready-*")
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	_, err = temp.Write(append(b, '\n'))
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), f.path)
	}
	if err != nil {
		return fmt.Errorf("write ready file: %w", errors.Join(err, os.Remove(temp.Name())))
	}
	return nil
}

// rewrite follows the process id of a server that was started again.
func (f *readyFile) rewrite(ctx context.Context, logger *slog.Logger) {
	if err := f.write(); err != nil {
		logger.WarnContext(ctx, "rewriting the ready file", "err", err)
	}
}

// welcome tells a newcomer what to do next. On a terminal it makes an account
// and a key to begin with; elsewhere it says how, since a key is no thing for
// a log file. A stack that has an account already needs neither.
func (c *devCmd) welcome(ctx context.Context, s streams, cfg *config, at addresses) error {
	base := adminBase{
		backends:      backends{DatabaseURL: cfg.DatabaseURL, RedisURL: cfg.RedisURL},
		processConfig: processConfig{LogLevel: "error", LogFormat: "text"},
	}
	return base.open(ctx, s, func(ctx context.Context, d *desk) error {
		accounts, err := d.db.Accounts(ctx)
		if err != nil || len(accounts) > 0 {
			return err
		}
		if !s.terminal {
			return sayHow(s.err, at)
		}
		_, secret, err := d.beginner(ctx, "dev")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.err, `
patchlane is ready. An account and a key to begin with (the key is shown this once):

  export KEY=%s

  curl -s %s/v1/contacts -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \
    -d '{"full_name":"Ada Lovelace","email":"ada@example.com"}'
  curl -s -X PATCH %s/v1/contacts/ID -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \
    -H 'Prefer: wait=5' -d '{"job_title":"Analyst"}'

`, secret, at.API, at.API)
		return err
	})
}

// sayHow prints the commands that make an account and a key.
func sayHow(w io.Writer, at addresses) error {
	_, err := fmt.Fprintf(w, `
patchlane is ready at %s. To begin, take DATABASE_URL and REDIS_URL from the file of --ready-file, and make an account and a key:

  patchlane admin account create --name demo
  patchlane admin key create --account ID --scope contacts:read --scope contacts:write
  curl -s %s/v1/contacts -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' -d '{"full_name":"Ada Lovelace"}'

`, at.API, at.API)
	return err
}

// beginner makes an account and a key with every scope.
func (d *desk) beginner(ctx context.Context, name string) (contact.Account, string, error) {
	account, err := d.db.CreateAccount(ctx, name)
	if err != nil {
		return contact.Account{}, "", err
	}
	create := keyCreateCmd{Account: account.ID, Dialect: "native"}
	for _, scope := range contact.Scopes() {
		create.Scope = append(create.Scope, string(scope))
	}
	k, secret, err := create.key(account.CreatedAt)
	if err != nil {
		return contact.Account{}, "", err
	}
	return account, secret, d.createKey(ctx, k)
}
