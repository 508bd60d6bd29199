package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// PostgresOptions are the wishes for a Postgres of one's own.
type PostgresOptions struct {
	// Dir is where data, password and log are kept between runs. Empty: a
	// temporary folder that Stop removes.
	Dir string
	// Fsync makes commits survive a loss of power. Tests that kill processes
	// only, and unit tests, do without.
	Fsync bool
	// Logger may be nil.
	Logger *slog.Logger
	// Download allows fetching the binaries where the machine has none.
	Download bool
}

// Postgres is a running server. It ends with this process at the latest.
type Postgres struct {
	server   *server
	password string
}

// superuser is the role of the URL; it may create databases and roles.
const superuser = "postgres"

// StartPostgres starts a server and waits until it answers. Ctx bounds the
// start, not the life, of the server.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	bin, err := findPostgres(ctx)
	if errors.Is(err, errNoPostgres) && o.Download {
		bin, err = download(ctx, maven, cacheDir(), o.Logger)
	}
	if err != nil {
		return nil, err
	}
	h, err := openHome(o.Dir, "postgres")
	if err != nil {
		return nil, err
	}
	pg, err := preparePostgres(ctx, h, bin, o)
	if err == nil {
		err = pg.server.start(ctx)
	}
	if err != nil {
		_ = h.close()
		return nil, err
	}
	return pg, nil
}

// preparePostgres makes the data folder and describes the server.
func preparePostgres(ctx context.Context, h *home, bin string, o PostgresOptions) (*Postgres, error) {
	data := h.path("data")
	as := choose(data, "postgres")
	if err := errors.Join(as.own(h.dir), as.reach(data)); err != nil {
		return nil, fmt.Errorf("prepare data folder: %w", err)
	}
	password, err := initialise(ctx, h, bin, as, o.Fsync)
	if err != nil {
		return nil, err
	}
	pg := &Postgres{password: password}
	pg.server = &server{
		name: "postgres", home: h, logger: o.Logger,
		command: func(port int) command {
			dropStalePID(data)
			return command{
				path: filepath.Join(bin, "postgres"), args: postgresArgs(data, port, o.Fsync),
				env: postgresEnv(), as: as,
				// An immediate shutdown takes the backends along; what was
				// committed is in the log.
				orphaned: syscall.SIGQUIT,
			}
		},
		ready: func(ctx context.Context, port int) error { return ping(ctx, pg.url(port)) },
		// A fast shutdown writes a checkpoint, which data that is thrown away
		// does not need.
		polite: []syscall.Signal{syscall.SIGQUIT},
	}
	if o.Dir != "" {
		pg.server.polite = []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT}
	}
	return pg, nil
}

// initialise makes the cluster unless it is there, and returns the password of
// the superuser. There is a password although the server listens on the
// loopback alone: every user of the machine can connect there, and a superuser
// of Postgres can run programs.
func initialise(ctx context.Context, h *home, bin string, as identity, fsync bool) (string, error) {
	data, kept := h.path("data"), h.path("password")
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
		password, err := os.ReadFile(kept) //nolint:gosec // G304: a file of our own folder
		if err != nil {
			return "", fmt.Errorf("read password of kept data: %w", err)
		}
		return strings.TrimSpace(string(password)), nil
	}
	// A cluster without a version file is the rest of an initdb that was killed.
	if err := errors.Join(os.RemoveAll(data), os.Mkdir(data, 0o700), as.own(data)); err != nil {
		return "", fmt.Errorf("make data folder: %w", err)
	}
	password := rand.Text()
	file := h.path("pwfile")
	if err := errors.Join(os.WriteFile(file, []byte(password), 0o600), as.own(file)); err != nil {
		return "", fmt.Errorf("write password: %w", err)
	}
	args := []string{
		"--pgdata=" + data, "--username=" + superuser, "--pwfile=" + file,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
	}
	if !fsync {
		args = append(args, "--no-sync")
	}
	c := command{
		path: filepath.Join(bin, "initdb"), args: args, env: postgresEnv(),
		as: as, orphaned: syscall.SIGKILL,
	}
	// The password is kept before the data is: data without it is of no use.
	if err := os.WriteFile(kept, []byte(password+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write password: %w", err)
	}
	if err := c.run(ctx); err != nil {
		return "", fmt.Errorf("run initdb: %w", err)
	}
	if err := os.Remove(file); err != nil {
		return "", fmt.Errorf("remove password file of initdb: %w", err)
	}
	return password, nil
}

// postgresArgs are the settings of the server. They are arguments, so that a
// kept data folder follows the program, not the day it was made.
func postgresArgs(data string, port int, fsync bool) []string {
	settings := []string{
		"port=" + strconv.Itoa(port),
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=",
		"max_connections=200",
		"shared_buffers=128MB",
		"max_wal_size=2GB",
		"log_min_messages=warning",
		"log_checkpoints=off",
		"logging_collector=off",
		"jit=off",
	}
	if !fsync {
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	args := make([]string, 0, 2+2*len(settings))
	args = append(args, "-D", data)
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// postgresEnv is this process' environment without the variables that would
// speak to Postgres.
func postgresEnv() []string {
	env := []string{"LC_ALL=C"}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "LC_ALL=") {
			env = append(env, v)
		}
	}
	return env
}

// dropStalePID removes a postmaster.pid whose process id by now belongs to
// another program, which Postgres would take for a running server. The lock of
// the folder is held: no server of ours is there.
func dropStalePID(data string) {
	file := filepath.Join(data, "postmaster.pid")
	content, err := os.ReadFile(file) //nolint:gosec // G304: a file of our own folder
	if err != nil {
		return
	}
	first, _, _ := bytes.Cut(content, []byte("\n"))
	pid, err := strconv.Atoi(string(bytes.TrimSpace(first)))
	if err != nil {
		return
	}
	program, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err == nil && !strings.HasPrefix(string(program), "postgres") {
		_ = os.Remove(file)
	}
}

// ping logs in once.
func ping(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (p *Postgres) url(port int) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, p.password),
		Host: loopback(port), Path: "/postgres", RawQuery: "sslmode=disable",
	}
	return u.String()
}

// URL returns a postgres:// URL of the database "postgres" over TCP, for a
// superuser.
func (p *Postgres) URL() string { return p.url(p.server.port) }

// PID returns the process id of the postmaster.
func (p *Postgres) PID() int { return p.server.pid() }

// Done is closed when the server has ended, by Stop or by itself.
func (p *Postgres) Done() <-chan struct{} { return p.server.done() }

// Restart starts the server again, on the same port and data. One that still
// runs is stopped first.
func (p *Postgres) Restart(ctx context.Context) error { return p.server.restart(ctx) }

// Stop ends the server, cutting its connections, and removes temporary data. A
// second call does nothing.
func (p *Postgres) Stop() error { return p.server.stop() }
