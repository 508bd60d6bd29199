package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

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

// stack is a Postgres, a Redis and the patchlane processes on them.
type stack struct {
	t     *testing.T
	bin   string
	env   []string
	pg    *local.Postgres
	redis *local.Redis
	key   string
	// client is what the writers use.
	client *http.Client
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
	rd, err := local.StartRedis(ctx, local.RedisOptions{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rd.Stop() })
	s := &stack{t: t, bin: bin, pg: pg, redis: rd, client: keepAlive()}
	t.Cleanup(s.client.CloseIdleConnections)
	s.env = append(os.Environ(), "DATABASE_URL="+pg.URL(), "REDIS_URL="+rd.URL())
	s.run("migrate")
	var account struct{ ID string }
	s.runJSON(&account, "admin", "account", "create", "--name", "faults")
	var key struct{ Key string }
	s.runJSON(&key, "admin", "key", "create", "--account", account.ID, "--dialect", "native",
		"--scope", "contacts:read", "--scope", "contacts:write", "--scope", "crm_audit:read", "--scope", "writes:admin")
	s.key = key.Key
	return s
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

// process is one patchlane api or worker that is started again after it died,
// until it is stopped.
type process struct {
	s    *stack
	args []string
	// failpoints of the next start only; ordinary starts follow.
	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	log    *os.File
	url    string
}

// start starts a role on a fixed port, so that clients find it again after a
// restart, and waits until it is ready.
func (s *stack) start(role, failpoints string) *process {
	s.t.Helper()
	p := &process{s: s}
	ops := freeAddr(s.t)
	p.args = []string{role, "--ops-listen", ops}
	p.url = "http://" + ops
	if role == "api" {
		listen := freeAddr(s.t)
		p.args = append(p.args, "--listen", listen)
		p.url = "http://" + listen
	}
	log, err := os.CreateTemp(s.t.TempDir(), role+"-*.log")
	if err != nil {
		s.t.Fatal(err)
	}
	p.log = log
	s.t.Cleanup(func() {
		p.kill()
		_ = log.Close()
		if s.t.Failed() {
			s.t.Logf("%s %s:\n%s", role, p.url, tail(log.Name()))
		}
	})
	p.restart(failpoints)
	return p
}

// restart starts the process; it must not be running.
func (p *process) restart(failpoints string) {
	p.s.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(p.s.bin, p.args...)
	cmd.Env = append(slices.Clip(p.s.env), "PATCHLANE_FAILPOINTS="+failpoints)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		p.s.t.Errorf("start %v: %v", p.args, err)
		return
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	p.cmd, p.exited = cmd, exited
}

// ready waits until the process answers its readiness probe.
func (p *process) ready() {
	p.s.t.Helper()
	eventually(p.s.t, 20*time.Second, func() error {
		res, err := plainClient.Get(p.url + "/readyz")
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz: %s", res.Status)
		}
		return nil
	})
}

// kill sends SIGKILL and waits for the end.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// signal sends a signal without waiting.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.cmd.Process.Signal(sig)
}

// died waits for the process to end by itself.
func (p *process) died(within time.Duration) error {
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	select {
	case <-exited:
		return nil
	case <-time.After(within):
		return errors.New("the process is still alive: its failpoint was not reached")
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
