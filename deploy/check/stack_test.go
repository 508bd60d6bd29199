package check_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"patchlane/deploy/local"
)

// password is the one of Redis and the token of the ops listeners in all tests.
const password = "a-password-of-these-tests"

// patience is how long a process may take to be ready or to end.
const patience = 30 * time.Second

// tree is the repository.
const tree = "../.."

// program is the path of the built binary, in the environment of the tests.
const program = "PATCHLANE_CHECKED_BINARY"

// TestMain builds the program as deploy/Dockerfile does.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "patchlane-check")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		file := filepath.Join(dir, "patchlane")
		cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-buildvcs=false", "-o", file, "./cmd/patchlane")
		cmd.Dir = tree
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("build: %v\n%s", err, out))
		}
		if err := os.Setenv(program, file); err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

// binary is the built program.
func binary() string { return os.Getenv(program) }

// postgres starts a server and returns its address.
func postgres(t *testing.T) string {
	t.Helper()
	server, err := local.StartPostgres(t.Context(), local.PostgresOptions{Download: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server.URL()
}

// redis starts redis-server with the arguments of a deployment, and returns its
// address.
func redis(t *testing.T, args ...string) string {
	t.Helper()
	port := freePort(t)
	args = append(args, "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir())
	cmd := exec.CommandContext(t.Context(), "redis-server", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	run(t, cmd)
	deadline := time.After(patience)
	for {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
			return "redis://:" + password + "@127.0.0.1:" + port + "/0"
		}
		select {
		case <-deadline:
			t.Fatalf("redis-server %v does not answer: %v", args, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// run starts a command and ends it with the test.
func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
		if t.Failed() {
			t.Logf("%v:\n%s", cmd.Args, log.Bytes())
		}
	})
}

// process is one container, pod or unit of patchlane.
type process struct {
	args []string
	env  map[string]string
	// health are the paths on the ops listener that its checks ask.
	health []string
}

// once runs a process that ends by itself, such as a migration.
func (p process) once(t *testing.T, file string) {
	t.Helper()
	cmd := p.command(t.Context(), file, nil)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("patchlane %v: %v\n%s", p.args, err, out)
	}
}

// serve runs a process that stays, until every health check is answered 200,
// holds that its metrics want the token, and stops it as an orchestrator does.
func (p process) serve(t *testing.T, file string) {
	t.Helper()
	listeners := map[string]string{}
	for _, name := range []string{"PATCHLANE_LISTEN", "PATCHLANE_OPS_LISTEN"} {
		if address, there := p.env[name]; there {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				t.Fatalf("%s=%s: %v", name, address, err)
			}
			listeners[name] = net.JoinHostPort(host, freePort(t))
		}
	}
	cmd := p.command(t.Context(), file, listeners)
	run(t, cmd)
	_, port, err := net.SplitHostPort(listeners["PATCHLANE_OPS_LISTEN"])
	if err != nil {
		t.Fatalf("the ops listener: %v", err)
	}
	ops := "http://127.0.0.1:" + port
	if len(p.health) == 0 {
		t.Fatal("there is no health check")
	}
	for _, path := range p.health {
		await(t, ops+path)
	}
	for token, want := range map[string]int{"": http.StatusUnauthorized, password: http.StatusOK} {
		if got, _ := get(t.Context(), ops+"/metrics", token); got != want {
			t.Errorf("/metrics with token %q is answered %d, want %d", token, got, want)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("patchlane %v after SIGTERM: %v", p.args, err)
	}
}

// command is the process with other listeners.
func (p process) command(ctx context.Context, file string, env map[string]string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, file, p.args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
	for name, value := range p.env {
		if other, there := env[name]; there {
			value = other
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// await asks until the answer is 200.
func await(t *testing.T, address string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		status, err := get(t.Context(), address, "")
		if status == http.StatusOK {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %d, %v", address, status, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// get returns the status of an answer.
func get(ctx context.Context, address, token string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("make request: %w", err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("send request: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// freePort returns a port of the loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// known are the settings of deploy/env.example, which a test of the program
// holds against its flags.
func known(t *testing.T) map[string]bool {
	t.Helper()
	f, err := os.Open("../env.example")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	names := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, _, is := strings.Cut(lines.Text(), "="); is && !strings.HasPrefix(name, "#") {
			names[name] = true
		}
	}
	return names
}

// pointTo sets where the servers are, in the database and with the password that
// the deployment means.
func pointTo(t *testing.T, env map[string]string, database, queue string) {
	t.Helper()
	for name, value := range map[string]string{"DATABASE_URL": database, "REDIS_URL": queue} {
		if _, err := url.Parse(env[name]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		env[name] = value
	}
	names := known(t)
	for name := range env {
		if !names[name] {
			t.Errorf("%s is no setting of patchlane", name)
		}
	}
}
