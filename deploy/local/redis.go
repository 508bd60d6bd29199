package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// RedisOptions are the wishes for a Redis of one's own.
type RedisOptions struct {
	// Dir is where data and log are kept between runs. Empty: a temporary
	// folder that Stop removes.
	Dir string
	// Durable fsyncs every write before it is answered. Without it nothing is
	// written to disk at all.
	Durable bool
	// Logger may be nil.
	Logger *slog.Logger
	// NoStandIn makes a machine without redis-server an error, where otherwise
	// a stand-in within this process serves.
	NoStandIn bool
}

// Redis is a running server. It ends with this process at the latest.
type Redis struct {
	server  *server
	standIn *standIn
	durable bool
}

// errNoRedis says what to do where no Redis was found.
var errNoRedis = errors.New("no Redis server on this machine: run deploy/deps.sh, " +
	"or set PATCHLANE_REDIS_SERVER to the path of redis-server")

// StartRedis starts a server and waits until it answers. Ctx bounds the start,
// not the life, of the server.
func StartRedis(ctx context.Context, o RedisOptions) (*Redis, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	path, err := findRedis()
	if err != nil {
		return nil, err
	}
	if path == "" {
		if o.NoStandIn {
			return nil, errNoRedis
		}
		o.Logger.WarnContext(ctx, "NOT DURABLE: no redis-server found, a stand-in keeps the queue in memory; run deploy/deps.sh")
		s, err := startStandIn()
		if err != nil {
			return nil, err
		}
		return &Redis{standIn: s}, nil
	}
	h, err := openHome(o.Dir, "redis")
	if err != nil {
		return nil, err
	}
	r, err := prepareRedis(h, path, o)
	if err == nil {
		err = r.server.start(ctx)
	}
	if err != nil {
		_ = h.close()
		return nil, err
	}
	return r, nil
}

// prepareRedis makes the data folder and describes the server.
func prepareRedis(h *home, path string, o RedisOptions) (*Redis, error) {
	data := h.path("data")
	as := choose(data, "redis", "postgres")
	err := errors.Join(as.own(h.dir), os.MkdirAll(data, 0o700), as.own(data), as.reach(data))
	if err != nil {
		return nil, fmt.Errorf("prepare data folder: %w", err)
	}
	r := &Redis{durable: o.Durable}
	r.server = &server{
		name: "redis", home: h, logger: o.Logger,
		command: func(port int) command {
			return command{
				path: path, args: redisArgs(data, port, o.Durable),
				env: os.Environ(), as: as,
				// Everything that was answered is on disk already.
				orphaned: syscall.SIGKILL,
			}
		},
		ready: pong,
	}
	if o.Dir != "" {
		r.server.polite = []syscall.Signal{syscall.SIGTERM}
	}
	return r, nil
}

// redisArgs are the settings of the server; "-" before them: no file.
func redisArgs(data string, port int, durable bool) []string {
	appendonly := "no"
	if durable {
		appendonly = "yes"
	}
	return []string{
		"--port", strconv.Itoa(port),
		"--bind", "127.0.0.1",
		"--protected-mode", "yes",
		"--daemonize", "no",
		"--dir", data,
		"--save", "",
		"--appendonly", appendonly,
		"--appendfsync", "always",
		"--no-appendfsync-on-rewrite", "no",
		"--maxmemory-policy", "noeviction",
		"--loglevel", "notice",
		"--logfile", "",
	}
}

// pong asks the server for its PONG. While it loads its file it answers
// something else.
func pong(ctx context.Context, port int) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", loopback(port))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if answer = strings.TrimSpace(answer); answer != "+PONG" {
		return fmt.Errorf("redis answers %q", answer)
	}
	return nil
}

// Addr returns host:port.
func (r *Redis) Addr() string {
	if r.standIn != nil {
		return r.standIn.mini.Addr()
	}
	return loopback(r.server.port)
}

// URL returns a redis:// URL.
func (r *Redis) URL() string { return "redis://" + r.Addr() + "/0" }

// PID returns the process id; 0 for the stand-in, which has none.
func (r *Redis) PID() int {
	if r.standIn != nil {
		return 0
	}
	return r.server.pid()
}

// Durable tells whether what was answered survives a kill.
func (r *Redis) Durable() bool { return r.durable }

// Done is closed when the server has ended, by Stop or by itself.
func (r *Redis) Done() <-chan struct{} {
	if r.standIn != nil {
		return r.standIn.done
	}
	return r.server.done()
}

// Restart starts the server again, on the same port and data. One that still
// runs is stopped first.
func (r *Redis) Restart(ctx context.Context) error {
	if r.standIn != nil {
		return r.standIn.restart()
	}
	return r.server.restart(ctx)
}

// Stop ends the server and removes temporary data. A second call does nothing.
func (r *Redis) Stop() error {
	if r.standIn != nil {
		r.standIn.stop()
		return nil
	}
	return r.server.stop()
}
