package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"patchlane/api"
	"patchlane/api/conn"
	"patchlane/api/console"
	"patchlane/api/signature"
	"patchlane/store"
	"patchlane/tasks"
	"patchlane/tasks/circuit"
	"patchlane/tasks/contact"
	"patchlane/tasks/failpoint"
	"patchlane/tasks/lane"
	"patchlane/tasks/limit"
	"patchlane/tasks/mirror"
	"patchlane/worker"
)

// serve builds a process and runs it until ctx ends or it cannot go on:
//
//	              public listener            ops listener
//	                    |                  (metrics, health,
//	                  gate                 pprof, console)
//	            closed: 503 starting              |
//	            open:    |                      health ---- durability
//	                 api.Server                   |             |
//	     reads,  keys |  |  |  appends            |  ping       | CONFIG
//	   +--------------+  |  +------ guard         |             |
//	   |                 |            |           |             |
//	   |              mirror     lane.Appender    |             |
//	   |                 |            |           |             |
//	   |                 |    lane.Lanes <- worker.Worker <- asynq
//	   |                 |            |           |             |
//	store.Store          +---- Redis clients -----|-------------+
//	   |                                          |
//	Postgres <--------------- apply --------------+
//
// The listeners are open before anything else is tried, so that probes have an
// answer while Redis or Postgres is away. The stop runs from the top: no more
// requests, no more appends, no more fetched tasks, the batches in flight, then
// the connections; the ops listener goes last.
func serve(ctx context.Context, cfg *config, logger *slog.Logger, ready func(addresses) error) (err error) {
	logger.InfoContext(ctx, "starting", "version", version(), "config", cfg)
	target, err := parseRedis(cfg.RedisURL)
	if err != nil {
		return &configError{err}
	}
	// What runs beside the requests ends in its turn, not with ctx: the graceful
	// stop still needs it.
	rest, endRest := context.WithCancel(context.WithoutCancel(ctx))
	defer endRest()
	stop := &teardown{logger: logger, timeout: cfg.StopTimeout}
	front, shutFront := &gate{}, func(context.Context) error { return nil }
	defer func() {
		// The intake ends first, whatever was built after it.
		stop.add("http listener", func(ctx context.Context) error { return shutFront(ctx) })
		err = errors.Join(unlessAsked(err), stop.run(ctx))
		logger.InfoContext(ctx, "stopped", "err", err)
	}()

	// The first failure beside the requests is what the process ends with.
	background, rest := errgroup.WithContext(rest)
	servers, failed := errgroup.WithContext(rest)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(failed, func() { end(context.Cause(failed)) })()
	stop.add("servers", ended(servers))

	reg := newRegistry()
	at := addresses{}
	ops, err := listen(ctx, cfg.OpsListen)
	if err != nil {
		return err
	}
	at.Ops = reachable(ops)

	db, err := store.Open(ctx, store.Config{
		URL: cfg.DatabaseURL, MaxConns: cfg.DatabasePool, ReadConns: cfg.ReadPool,
		NotesLimit: cfg.NotesLimit, Providers: providerNames(), Registerer: reg, Logger: logger,
	})
	if err != nil {
		return &configError{errors.Join(err, ops.Close())}
	}
	queue, side := target.queueClient(cfg.RedisPool), target.mirrorClient(cfg.RedisPool)
	queueCircuits := lane.Guard(queue, circuit.Config{Server: "redis lanes", Logger: logger, Registerer: reg})
	sideCircuits := lane.Guard(side, circuit.Config{Server: "redis mirror", Logger: logger, Registerer: reg})
	redisMetrics(reg, map[string]redis.UniversalClient{"lanes": queue, "mirror": side})
	reg.MustRegister(lane.NewServerCollector(side))
	durability := newDurability(side, cfg.AllowVolatileQueue, logger, reg)
	front.health = &health{
		postgres: db.Ping,
		// Both: each client has a circuit of its own, and a write needs the lanes'.
		redis: func(ctx context.Context) error { return errors.Join(side.Ping(ctx).Err(), queue.Ping(ctx).Err()) },
		queue: durability,
	}
	desk := &consoleGate{api: cfg.Listen != ""}
	opsServer := api.NewHTTPServer(cfg.guardOps(opsHandler(front.health, reg, desk), ops), logger)
	opsServer.WriteTimeout = 0 // A profile takes as long as it was asked to.
	stop.add("ops listener", shut(opsServer))
	stop.add("postgres", func(context.Context) error { db.Close(); return nil })
	stop.add("redis", func(context.Context) error {
		err := errors.Join(queue.Close(), side.Close())
		queueCircuits.Close()
		sideCircuits.Close()
		return err
	})
	stop.add("background work", ended(background))
	stop.add("background signal", func(context.Context) error { endRest(); return nil })
	servers.Go(serving(opsServer, ops))
	if cfg.Listen != "" {
		public, err := listen(ctx, cfg.Listen)
		if err != nil {
			return err
		}
		at.API = reachable(public)
		guarded := conn.Guard(public, cfg.limits(), conn.NewMetrics(reg))
		server := api.NewHTTPServer(front, logger)
		server.ConnState = guarded.Track
		shutFront = shutAfter(front.health, cfg.StopDelay, server)
		servers.Go(serving(server, guarded))
	}
	logger.InfoContext(ctx, "listening", "api", at.API, "ops", at.Ops)

	background.Go(func() error { return durability.watch(rest) })
	copies := mirror.New(side)
	counts, err := awaitLanes(ctx, db, copies, cfg.laneCounts, logger)
	if err != nil {
		return err
	}
	background.Go(func() error { return keepLanes(rest, db, copies, counts, logger) })
	form := &entryVersion{db: db, copies: copies, logger: logger}
	background.Go(func() error { return form.watch(rest) })
	lanes := lane.New(queue, lane.Config{
		Counts: counts, Limit: cfg.LaneLimit, Share: cfg.LaneShare, Logger: logger, Registerer: reg,
	})
	bell := asynq.NewClient(target.asynq(ringConns))
	stop.add("asynq client", closing(bell.Close))
	ring := tasks.Ring(bell)

	if cfg.Worker {
		if err := durability.wait(ctx); err != nil {
			return err
		}
		// What all workers would say of one Redis and one Postgres: the API has enough to do.
		reg.MustRegister(tasks.NewCollector(asynq.NewInspectorFromRedisClient(side)), db.Backlog())
		slots := cfg.Concurrency
		if slots == 0 {
			slots = counts.Contact
		}
		spans := cfg.traces(ctx, "worker", stop)
		w, err := worker.New(worker.Options{
			Lanes: lanes, Sweeper: lanes, Publish: lanes.Publish, Ring: ring,
			Store: db, Optouts: db.Optouts(), Offsets: db.Offsets,
			Redis:  target.asynq(slots + counts.Address + ringConns),
			Logger: logger, Registerer: reg, Traces: spans, Name: processName(),
			Concurrency: slots, OptoutConcurrency: counts.Address, BatchSize: cfg.BatchSize, StopTimeout: cfg.StopTimeout,
		})
		if err != nil {
			return err
		}
		if err := w.Start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		stop.add("worker", w.Stop)
		keeper := db.NewKeeper(store.KeeperConfig{Retention: cfg.retention(), Registerer: reg, Logger: logger})
		background.Go(func() error { return keeper.Run(rest) })
	}

	if cfg.Listen != "" {
		spans := cfg.traces(ctx, "api", stop)
		replies := lane.NewReplies(side, uuid.NewString(), logger)
		background.Go(func() error { return replies.Run(rest) })
		appender := lane.NewAppender(lanes, lane.AppenderConfig{Ring: ring, EntryVersion: form.get}) //nolint:contextcheck // It lives until Close.
		stop.add("appender", appender.Close)
		limits := limit.New(side, limit.Config{Book: db, Logger: logger, Registerer: reg})
		stop.add("limits", limits.Close)
		agreed := newClock(side, failpoint.Now, logger, reg)
		agreed.look(ctx)
		background.Go(func() error { return agreed.watch(rest) })
		accessTokens, err := cfg.tokens(agreed.Now, db, copies, logger)
		if err != nil {
			return err
		}
		sns := signature.NewSNSClient()
		stop.add("sns client", func(context.Context) error { sns.CloseIdleConnections(); return nil })
		kept := guard{durability, appender}
		server, err := api.New(api.Options{
			Lanes: counts, Contacts: db, Ledger: db, Failed: db, Keys: db, Mirror: copies,
			Settings: db, SettingsEditor: db, SettingsMirror: copies,
			Tokens: accessTokens, Optouts: cfg.optouts(db, copies, kept, sns, logger),
			Appender: kept, Lane: lanes, Replies: replies, Limits: limits,
			Now:      agreed.Now,
			HrefBase: cfg.CallbellHref, Ready: front.health.ready, Logger: logger, Registerer: reg, Traces: spans,
		})
		if err != nil {
			return err
		}
		stop.add("api", func(context.Context) error { server.Close(); return nil })
		background.Go(func() error { return server.Run(rest) })
		keeper := limit.NewKeeper(limit.KeeperConfig{Limiter: limits, CameIn: server.CameIn, Logger: logger})
		background.Go(func() error { return keeper.Run(rest) })
		front.open(server.Handler())
		stop.add("console", desk.open(ctx, console.Options{
			Token: cfg.OpsToken, Lanes: consoleLanes{lanes}, Failures: db, Ledger: db, Optouts: db, Book: db, API: server,
			LaneCount: counts.Contact, Ready: front.health.ready, Logger: logger,
		}))
	}

	front.health.started.Store(true)
	background.Go(func() error { return announce(rest, front.health, logger, func() error { return ready(at) }) })
	<-ctx.Done()
	logger.InfoContext(ctx, "stopping")
	return context.Cause(ctx)
}

// unlessAsked takes a stop that was asked for as no error.
func unlessAsked(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// ended makes a step that waits for a group. Its error, if it had one, is what
// the process ends with already.
func ended(g *errgroup.Group) func(context.Context) error {
	return func(context.Context) error { _ = g.Wait(); return nil }
}

// ringConns is the pool for rings: one is in flight for each lane at most, and
// each takes a fraction of a millisecond.
const ringConns = 8

// addresses are where a process listens.
type addresses struct{ API, Ops string }

// listen opens a listener. A port that is taken is said before anything runs.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// reachable returns an address under which this machine reaches a listener: one
// on every interface is reached on the loopback.
func reachable(l net.Listener) string {
	addr, isTCP := l.Addr().(*net.TCPAddr)
	if isTCP && addr.IP.IsUnspecified() {
		return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(addr.Port))
	}
	return "http://" + l.Addr().String()
}

// serving serves until the server is shut down.
func serving(server *http.Server, l net.Listener) func() error {
	return func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
		return nil
	}
}

// shut ends a server: no new connections, the requests in flight are answered,
// and what is not answered in time is cut.
func shut(server *http.Server) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := server.Shutdown(ctx); err != nil {
			return errors.Join(err, server.Close())
		}
		return nil
	}
}

// shutAfter first says for a while that nothing should be sent here any more.
func shutAfter(h *health, delay time.Duration, server *http.Server) func(context.Context) error {
	return func(ctx context.Context) error {
		h.stopping.Store(true)
		look := backOff{wait: delay, most: delay}
		look.pause(ctx)
		return shut(server)(ctx)
	}
}

// awaitLanes asks for the lane counts until Postgres, or the mirror while
// Postgres is away, knows them. Without them no write has a place to go.
func awaitLanes(ctx context.Context, db *store.Store, copies *mirror.Mirror, asked laneCounts, logger *slog.Logger) (contact.LaneCounts, error) {
	wait := backOff{wait: firstWait, most: mostWait}
	for {
		counts, err := db.Lanes(ctx)
		if err != nil {
			mirrored, found, mirrorErr := copies.Lanes(ctx)
			if mirrorErr == nil && found {
				counts, err = mirrored, nil
			} else {
				err = errors.Join(err, mirrorErr)
			}
		}
		if err == nil {
			return counts, asked.agree(counts)
		}
		logger.WarnContext(ctx, "waiting for the lane counts", "err", err)
		if !wait.pause(ctx) {
			return contact.LaneCounts{}, context.Cause(ctx)
		}
	}
}

// keepLanes mirrors the lane counts, so that an API can start while Postgres is
// away, and holds them against Postgres: a process that was started from a
// mirror of another database must not go on.
func keepLanes(ctx context.Context, db *store.Store, copies *mirror.Mirror, counts contact.LaneCounts, logger *slog.Logger) error {
	wait := backOff{wait: firstWait, most: durabilityInterval}
	for {
		stored, err := db.Lanes(ctx)
		if err == nil && stored != counts {
			return &configError{fmt.Errorf("the lanes of Redis (%d, %d) are not those of Postgres (%d, %d): "+
				"REDIS_URL and DATABASE_URL are not of one installation", counts.Contact, counts.Address, stored.Contact, stored.Address)}
		}
		if err == nil {
			err = copies.PutLanes(ctx, counts)
		}
		if err != nil && ctx.Err() == nil {
			logger.DebugContext(ctx, "mirroring the lane counts", "err", err)
		}
		if !wait.pause(ctx) {
			return nil
		}
	}
}

// announce waits until the process is ready for the first time and says so.
func announce(ctx context.Context, h *health, logger *slog.Logger, ready func() error) error {
	wait := backOff{wait: firstWait / 4, most: mostWait}
	for !h.ready(ctx).Ready {
		if !wait.pause(ctx) {
			return nil
		}
	}
	logger.InfoContext(ctx, "ready")
	return ready()
}

// processName tells the processes of an installation apart.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "/" + strconv.Itoa(os.Getpid())
}

// newRegistry makes the registry of one process.
func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	registerRuntime(reg)
	return reg
}
