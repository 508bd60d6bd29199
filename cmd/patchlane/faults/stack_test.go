package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"patchlane/deploy/local"
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range builds.dirs {
		_ = os.RemoveAll(dir)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// builds caches one binary for each set of build tags.
var builds struct {
	sync.Mutex
	byTags map[string]string
	dirs   []string
}

// binary builds the program with the given build tags, once a test run.
func binary(t *testing.T, tags string) string {
	t.Helper()
	builds.Lock()
	defer builds.Unlock()
	if bin := builds.byTags[tags]; bin != "" {
		return bin
	}
	// It outlives the test that builds it first.
	dir, err := os.MkdirTemp("", "patchlane-faults") //nolint:usetesting // See above.
	if err != nil {
		t.Fatal(err)
	}
	builds.dirs = append(builds.dirs, dir)
	bin := filepath.Join(dir, "patchlane")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", bin, "patchlane/cmd/patchlane").CombinedOutput()
	if err != nil {
		t.Fatalf("build with tags %q: %v\n%s", tags, err, out)
	}
	if builds.byTags == nil {
		builds.byTags = map[string]string{}
	}
	builds.byTags[tags] = bin
	return bin
}

// stack is a Postgres, a Redis and the patchlane processes on them, with a
// wire between each two that speak to each other.
type stack struct {
	t     *testing.T
	bin   string
	env   []string
	pg    *local.Postgres
	redis *local.Redis
	// The wires of the roles; the one to an API belongs to its process.
	apiRedis, apiPostgres, workerRedis, workerPostgres *wire

	account, key string
	// hook is the endpoint at which the provider posts.
	hook hook
	// witness is the file in which the processes note what they were alone with.
	witness string
	// procs are the processes, logs the files that they write.
	procs []*process
	logs  []string
	// client is what the writers use.
	client *http.Client

	mu sync.Mutex
	// serial tells the contacts of one stack apart.
	serial int
	// private is what was used and may stand in no log.
	private []string
	// heard are bodies of errors, which clients put into logs of theirs.
	heard []string
}

// newStack starts the servers with fsync on, migrates, and makes a key.
func newStack(t *testing.T, tags string) *stack {
	t.Helper()
	bin := binary(t, tags)
	ctx := t.Context()
	pg, err := local.StartPostgres(ctx, local.PostgresOptions{Fsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Stop() })
	rd, err := local.StartRedis(ctx, local.RedisOptions{Durable: true, NoStandIn: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rd.Stop() })
	s := &stack{t: t, bin: bin, pg: pg, redis: rd, client: keepAlive(), witness: filepath.Join(t.TempDir(), "witness")}
	t.Cleanup(s.client.CloseIdleConnections)
	pgAt, err := url.Parse(pg.URL())
	if err != nil {
		t.Fatal(err)
	}
	s.apiRedis, s.apiPostgres = newWire(t, rd.Addr()), newWire(t, pgAt.Host)
	s.workerRedis, s.workerPostgres = newWire(t, rd.Addr()), newWire(t, pgAt.Host)
	s.env = append(os.Environ(), "DATABASE_URL="+pg.URL(), "REDIS_URL="+rd.URL(), "PATCHLANE_WITNESS="+s.witness)
	s.run("migrate")
	var account struct{ ID string }
	s.runJSON(&account, "admin", "account", "create", "--name", "faults")
	s.account = account.ID
	s.key = s.newKey(account.ID)
	s.hook = s.newHook(t)
	return s
}

// newKey makes a key of the native dialect.
func (s *stack) newKey(account string, more ...string) string {
	s.t.Helper()
	var key struct{ Key string }
	s.runJSON(&key, append([]string{
		"admin", "key", "create", "--account", account, "--dialect", "native",
		"--scope", "contacts:read", "--scope", "contacts:write", "--scope", "contacts:delete",
		"--scope", "crm_audit:read", "--scope", "writes:admin", "--scope", "settings:write",
	}, more...)...)
	s.secret(key.Key)
	return key.Key
}

// secret notes what may stand in no log, metric or error.
func (s *stack) secret(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.private = append(s.private, texts...)
}

// anAPI returns the address of an API that answers.
func (s *stack) anAPI(tb testing.TB) string {
	tb.Helper()
	for _, p := range s.procs {
		if status, _ := p.probe("/readyz"); p.role == "api" && status == http.StatusOK {
			return p.url
		}
	}
	tb.Fatal("no API is ready")
	return ""
}

// direct returns a client of Redis that goes over no wire.
func (s *stack) direct(tb testing.TB) *redis.Client {
	tb.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: s.redis.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true})
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// postgres returns a connection that goes over no wire.
func (s *stack) postgres(tb testing.TB) *pgx.Conn {
	tb.Helper()
	db, err := pgx.Connect(tb.Context(), s.pg.URL())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close(context.WithoutCancel(tb.Context())) })
	return db
}

// run runs a subcommand to its end and returns its standard output.
func (s *stack) run(args ...string) []byte {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.bin, args...)
	cmd.Env = s.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("patchlane %v: %v\n%s", args, err, stderr.Bytes())
	}
	return out
}

func (s *stack) runJSON(into any, args ...string) {
	s.t.Helper()
	if err := json.Unmarshal(s.run(args...), into); err != nil {
		s.t.Fatalf("patchlane %v: %v", args, err)
	}
}

var plainClient = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// eventually polls until check returns nil.
func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("after %s: %v", within, err)
		case <-tick.C:
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// tail returns the last lines of a log file.
func tail(name string) []byte {
	b, err := os.ReadFile(name)
	if err != nil {
		return []byte(err.Error())
	}
	return b[max(0, len(b)-4000):]
}
