package main

import (
	"context"
	"io"
	"log/slog"
)

// apiCmd is `patchlane api`.
type apiCmd struct {
	backends
	Listen    string `name:"listen" env:"PATCHLANE_LISTEN" group:"api" default:":8080" placeholder:"HOST:PORT" help:"Public address of the API (default: ${default}, every interface)."`
	OpsListen string `name:"ops-listen" env:"PATCHLANE_OPS_LISTEN" group:"process" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"Address of metrics, health and profiles; not for the public (default: ${default})."`
	listenConfig
	laneConfig
	poolConfig
	processConfig
	childConfig
}

// Help is the long text of --help.
func (*apiCmd) Help() string {
	return `Answers PATCH /v1/contacts/{id} and its neighbours. A 202 or 200 leaves only after Redis has fsynced the write.

Starts and stays up while Redis or Postgres is away: /livez says 200, /readyz 503. While Postgres is away writes are
accepted all the same, up to --lane-limit. It ends by itself on a wrong configuration alone: a Redis that would lose
acknowledged writes, or lane counts other than the database's.

SIGINT or SIGTERM stops it gracefully: listener, appends in flight, connections. A second one stops it at once.` + tracesHelp
}

// Run serves until a signal.
func (c *apiCmd) Run(ctx context.Context, s streams) error {
	ctx, cancel := c.tie(ctx, s)
	defer cancel()
	return c.config().run(ctx, s)
}

func (c *apiCmd) config() *config {
	return &config{
		backends: c.backends, poolConfig: c.poolConfig, laneConfig: c.laneConfig, processConfig: c.processConfig,
		listenConfig: c.listenConfig, Listen: c.Listen, OpsListen: c.OpsListen,
	}
}

// workerCmd is `patchlane worker`.
type workerCmd struct {
	backends
	OpsListen string `name:"ops-listen" env:"PATCHLANE_OPS_LISTEN" group:"process" default:"127.0.0.1:9091" placeholder:"HOST:PORT" help:"Address of metrics, health and profiles; not for the public (default: ${default})."`
	drainConfig
	laneConfig
	poolConfig
	processConfig
	childConfig
}

// Help is the long text of --help.
func (*workerCmd) Help() string {
	return `Applies what waits in the lanes to Postgres, batch by batch, each batch in one transaction. Start as many as you like: a
lane is drained by one of them at a time, and the lanes of one that died are taken over within seconds.

Starts and stays up while Redis or Postgres is away. SIGINT or SIGTERM stops it gracefully: no more tasks are fetched, the
batches in flight are finished, their lanes are left. A second one stops it at once; nothing is lost by that either.` + tracesHelp
}

// Run drains until a signal.
func (c *workerCmd) Run(ctx context.Context, s streams) error {
	ctx, cancel := c.tie(ctx, s)
	defer cancel()
	return c.config().run(ctx, s)
}

func (c *workerCmd) config() *config {
	return &config{
		backends: c.backends, poolConfig: c.poolConfig, laneConfig: c.laneConfig, processConfig: c.processConfig,
		drainConfig: c.drainConfig, OpsListen: c.OpsListen, Worker: true,
	}
}

// run checks the configuration and serves.
func (c *config) run(ctx context.Context, s streams) error {
	if err := c.Validate(); err != nil {
		return err
	}
	return serve(ctx, c, newLogger(s, c.processConfig), func(addresses) error { return nil })
}

// newLogger makes the logger of a process. It writes to standard error alone.
func newLogger(s streams, c processConfig) *slog.Logger {
	text := c.LogFormat == "text" || (c.LogFormat == "auto" && s.terminal)
	return slog.New(logHandler(s.err, text, c.LogLevel))
}

func logHandler(w io.Writer, text bool, level string) slog.Handler {
	o := &slog.HandlerOptions{}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err == nil {
		o.Level = l
	}
	if text {
		return slog.NewTextHandler(w, o)
	}
	return slog.NewJSONHandler(w, o)
}
