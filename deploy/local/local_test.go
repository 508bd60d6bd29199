package local

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

func startPostgres(t *testing.T, dir string) *Postgres {
	t.Helper()
	pg, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	return pg
}

func startRedis(t *testing.T, o RedisOptions) *Redis {
	t.Helper()
	o.NoStandIn = true
	rd, err := StartRedis(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rd.Stop(); err != nil {
			t.Error(err)
		}
	})
	return rd
}

// query runs a statement and returns the first column of its only row.
func query[T any](t *testing.T, url, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func exec1(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func dial(t *testing.T, rd *Redis) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(rd.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// gone waits until no process has the id any more.
func gone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for syscall.Kill(pid, 0) == nil {
		// A process whose parent was killed waits for init to reap it.
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("process %d still runs", pid)
		case <-ticker.C:
		}
	}
}

func TestPostgresServes(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t, "")
	exec1(t, pg.URL(), "CREATE DATABASE other")
	if !query[bool](t, pg.URL(), "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") {
		t.Error("the role is no superuser")
	}
	if got := query[string](t, pg.URL(), "SHOW server_encoding"); got != "UTF8" {
		t.Errorf("encoding %s", got)
	}
	if got := query[string](t, pg.URL(), "SHOW listen_addresses"); got != "127.0.0.1" {
		t.Errorf("listens on %s", got)
	}
	bare := strings.Replace(pg.URL(), pg.password, "wrong", 1)
	if err := ping(t.Context(), bare); err == nil {
		t.Error("a wrong password was let in")
	}
	dir, pid := pg.server.home.dir, pg.PID()
	for range 2 {
		if err := pg.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	<-pg.Done()
	gone(t, pid)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("temporary folder is still there: %v", err)
	}
}

func TestPostgresKeepsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	pg := startPostgres(t, dir)
	exec1(t, pg.URL(), "CREATE TABLE kept AS SELECT 1 AS n")
	if err := pg.Stop(); err != nil {
		t.Fatal(err)
	}
	pg = startPostgres(t, dir)
	exec1(t, pg.URL(), "INSERT INTO kept VALUES (2)")
	if err := syscall.Kill(pg.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-pg.Done()
	url := pg.URL()
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pg.URL() != url {
		t.Errorf("restarted at another address")
	}
	if got := query[int](t, url, "SELECT count(*)::int FROM kept"); got != 2 {
		t.Errorf("%d rows", got)
	}
	if _, err := StartPostgres(deadline(t, time.Second), PostgresOptions{Dir: dir}); err == nil {
		t.Error("two servers on one folder")
	}
}

// deadline returns a context for something that is expected to wait in vain.
func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestPostgresStalePID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pg := startPostgres(t, dir)
	if err := syscall.Kill(pg.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-pg.Done()
	file := filepath.Join(dir, "data", "postmaster.pid")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(content), "\n")
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d\n%s", os.Getpid(), rest), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestPostgresBehindClosedFolder(t *testing.T) {
	t.Parallel()
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	pg := startPostgres(t, filepath.Join(closed, "data"))
	exec1(t, pg.URL(), "CREATE DATABASE other")
	info, err := os.Stat(closed)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the folder was opened: %s", info.Mode())
	}
}

func TestRestartOfStopped(t *testing.T) {
	t.Parallel()
	rd := startRedis(t, RedisOptions{})
	if err := rd.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := rd.Restart(t.Context()); err == nil {
		t.Error("a stopped server was restarted")
	}
}

func TestFailedStartShowsLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pg := startPostgres(t, dir)
	if err := pg.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "postgresql.conf"), []byte("no_such_setting = on\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("error does not show the log: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	taken := l.Addr().(*net.TCPAddr).Port
	rd := startRedis(t, RedisOptions{})
	pg := startPostgres(t, "")
	for _, s := range []*server{rd.server, pg.server} {
		s.proc.stop()
		if err := s.launch(t.Context(), taken); err == nil || !strings.Contains(err.Error(), errPortTaken.Error()) {
			t.Errorf("%s on a taken port: %v", s.name, err)
		}
	}
}

func TestRedisDurable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rd := startRedis(t, RedisOptions{Dir: dir, Durable: true})
	c := dial(t, rd)
	want := map[string]string{
		"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no",
		"maxmemory-policy": "noeviction", "save": "",
	}
	for name, value := range want {
		got, err := c.ConfigGet(t.Context(), name).Result()
		if err != nil || got[name] != value {
			t.Errorf("%s = %q, %v", name, got[name], err)
		}
	}
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(rd.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-rd.Done()
	if err := rd.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := dial(t, rd).Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("after a kill: %q, %v", got, err)
	}
	if err := rd.Stop(); err != nil {
		t.Fatal(err)
	}
	again := startRedis(t, RedisOptions{Dir: dir, Durable: true})
	if got, err := dial(t, again).Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("after a stop: %q, %v", got, err)
	}
	if !again.Durable() {
		t.Error("not durable")
	}
}

func TestRedisVolatile(t *testing.T) {
	t.Parallel()
	rd := startRedis(t, RedisOptions{})
	got, err := dial(t, rd).ConfigGet(t.Context(), "appendonly").Result()
	if err != nil || got["appendonly"] != "no" || rd.Durable() {
		t.Errorf("appendonly %v, durable %v, %v", got, rd.Durable(), err)
	}
}

func TestStandIn(t *testing.T) {
	t.Parallel()
	s, err := startStandIn()
	if err != nil {
		t.Fatal(err)
	}
	rd := &Redis{standIn: s}
	defer func() { _ = rd.Stop() }()
	c := dial(t, rd)
	if err := c.Set(t.Context(), "gone", "v", 100*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), "kept", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for ctx := deadline(t, 5*time.Second); c.Exists(ctx, "gone").Val() == 1; <-ticker.C {
		if ctx.Err() != nil {
			t.Fatal("keys do not expire")
		}
	}
	if err := rd.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.Get(t.Context(), "kept").Val(); got != "v" {
		t.Errorf("kept = %q", got)
	}
	if rd.Durable() || rd.PID() != 0 {
		t.Error("the stand-in claims to be a durable process")
	}
}

// TestKilledParent kills a process that started both servers, and expects
// both to be gone within seconds and their data to be whole.
func TestKilledParent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pg, rd int
	if _, err := fmt.Sscan(line, &pg, &rd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	gone(t, pg)
	gone(t, rd)
	exec1(t, startPostgres(t, filepath.Join(dir, "postgres")).URL(), "CREATE TABLE t ()")
	startRedis(t, RedisOptions{Dir: filepath.Join(dir, "redis"), Durable: true})
}

func TestWatchdog(t *testing.T) {
	t.Parallel()
	sleeper := func() *exec.Cmd {
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	t.Run("bites when its parent is gone", func(t *testing.T) {
		t.Parallel()
		victim := sleeper()
		// The shell between stands for this process: it starts the watchdog's
		// script with a pipe, and is killed.
		holder := exec.Command("/bin/sh", "-c", `sleep 60 | /bin/sh -c 'read -r _; kill -s 9 "$1"' w "$0"`,
			fmt.Sprint(victim.Process.Pid))
		holder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		_ = exec.Command("pkill", "-g", fmt.Sprint(holder.Process.Pid), "-x", "sleep").Run()
		_ = holder.Wait()
		if err := victim.Wait(); err == nil {
			t.Error("the victim ended by itself")
		}
	})
	t.Run("released, it does nothing", func(t *testing.T) {
		t.Parallel()
		victim := sleeper()
		release, err := watchdog(t.Context(), victim.Process.Pid, syscall.SIGKILL)
		if err != nil {
			t.Fatal(err)
		}
		release()
		if err := syscall.Kill(victim.Process.Pid, 0); err != nil {
			t.Errorf("the victim is gone: %v", err)
		}
		_ = victim.Process.Kill()
		_ = victim.Wait()
	})
}

func TestFindPostgres(t *testing.T) {
	t.Parallel()
	dir, err := findPostgres(t.Context())
	if err != nil || !holdsPostgres(dir) {
		t.Errorf("%q, %v", dir, err)
	}
	if a, b := versionIn("/usr/lib/postgresql/9/bin"), versionIn("/usr/lib/postgresql/15/bin"); a != 9 || b != 15 {
		t.Errorf("versions %d, %d", a, b)
	}
	if !strings.Contains(errNoPostgres.Error(), "deploy/deps.sh") || !strings.Contains(errNoRedis.Error(), "deploy/deps.sh") {
		t.Error("the errors do not say what to run")
	}
}

func TestFindByEnvironment(t *testing.T) {
	t.Setenv("PATCHLANE_POSTGRES_BIN", t.TempDir())
	if _, err := StartPostgres(t.Context(), PostgresOptions{Download: true}); err == nil {
		t.Error("an empty folder was taken")
	}
	t.Setenv("PATCHLANE_REDIS_SERVER", t.TempDir())
	if _, err := StartRedis(t.Context(), RedisOptions{Logger: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a folder was taken for a program")
	}
}

// TestSweepHomes expects abandoned temporary folders to go and owned ones to stay.
func TestSweepHomes(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	old := time.Now().Add(-2 * abandoned)
	homes := make([]*home, 0, 3)
	for _, name := range []string{"x-left", "x-owned", "x-serving"} {
		h := &home{dir: filepath.Join(base, name)}
		if err := os.Mkdir(h.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		owner, err := tryLock(h.path("owner"))
		if err != nil {
			t.Fatal(err)
		}
		h.owner = owner
		if err := os.Chtimes(h.path("owner"), old, old); err != nil {
			t.Fatal(err)
		}
		homes = append(homes, h)
	}
	serving, err := homes[2].lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = homes[0].owner.Close(), homes[2].owner.Close()
	sweepHomes(filepath.Join(base, "x-*"))
	for i, want := range []bool{false, true, true} {
		if _, err := os.Stat(homes[i].dir); (err == nil) != want {
			t.Errorf("%s: %v", homes[i].dir, err)
		}
	}
	_, _ = homes[1].owner.Close(), serving.Close()
}
