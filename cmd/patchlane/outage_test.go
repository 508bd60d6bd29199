package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"patchlane/deploy/local"
	"patchlane/store"
	"patchlane/store/storetest"
	"patchlane/tasks/lane/lanetest"
)

func TestStartsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	s, redis := newSite(t)
	redis.Kill()
	a, w := s.start("api"), s.start("worker")
	for _, url := range []string{a.API, a.Ops, w.Ops} {
		if status, body := s.get(url + "/livez"); status != http.StatusOK {
			t.Errorf("livez: %d %s", status, body)
		}
		if status, body := s.get(url + "/readyz"); status != http.StatusServiceUnavailable {
			t.Errorf("readyz: %d %s", status, body)
		}
	}
	// Postgres knows the lanes and the keys: reads are served.
	s.eventually(20*time.Second, "reads are served", func() error {
		if r := a.do(http.MethodGet, "/v1/contacts", ""); r.Status != http.StatusOK {
			return fmt.Errorf("%d %s", r.Status, r.raw)
		}
		return nil
	})
	for purpose, want := range map[string]int{"reads": http.StatusOK, "writes": http.StatusServiceUnavailable} {
		if status, body := s.get(a.API + "/readyz?for=" + purpose); status != want {
			t.Errorf("ready for %s: %d %s", purpose, status, body)
		}
	}
	r := a.do(http.MethodPost, "/v1/contacts", `{"first_name":"Ada"}`, "Prefer", "respond-async")
	if r.Status != http.StatusServiceUnavailable || r.Code != "queue_unavailable" || r.Header.Get("Retry-After") == "" {
		t.Errorf("write: %d %s", r.Status, r.raw)
	}
	redis.Restart()
	a.ready()
	w.ready()
	a.create()
}

// TestWritesAreAcceptedWhilePostgresIsAway starts an API from the mirror alone.
func TestWritesAreAcceptedWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	pg, err := local.StartPostgres(t.Context(), local.PostgresOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Stop() })
	if err := store.Migrate(t.Context(), pg.URL(), store.MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	s := &site{tb: t, db: pg.URL(), redis: lanetest.Start(t, true).URL(), http: testClient(t)}
	s.makeKey()
	first := s.start("api").ready()
	worker := s.start("worker").ready()
	path := first.create()
	first.define("/v1/tags", `{"name":"VIP"}`)
	first.define("/v1/custom-fields", `{"internal_name":"plan","type":"string"}`)
	first.stop()
	if code := first.ended(); code != exitOK {
		t.Fatalf("ended with %d", code)
	}
	if err := syscall.Kill(pg.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-pg.Done()
	a := s.start("api")
	s.eventually(20*time.Second, "accepted", func() error {
		r := a.do(http.MethodPatch, path, `{"job_title":"Analyst","tags_add":["vip"],"custom_fields":{"plan":"x"}}`, "Prefer", "respond-async", "Idempotency-Key", "k")
		if r.Status != http.StatusAccepted {
			return fmt.Errorf("%d %s", r.Status, r.raw)
		}
		return nil
	})
	// Nobody can say whether this is defined, so it is neither taken nor refused.
	if r := a.do(http.MethodPatch, path, `{"tags_add":["other"]}`); r.Status != http.StatusServiceUnavailable || r.Code != "store_unavailable" {
		t.Errorf("unknown tag: %d %s", r.Status, r.raw)
	}
	if status, body := s.get(a.API + "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"postgres":"away"`) {
		t.Errorf("readyz: %d %s", status, body)
	}
	for _, url := range []string{a.API + "/livez", a.API + "/readyz?for=writes", a.Ops + "/readyz?for=writes"} {
		if status, body := s.get(url); status != http.StatusOK {
			t.Errorf("%s: %d %s", url, status, body)
		}
	}
	for _, url := range []string{a.API + "/readyz?for=reads", a.Ops + "/readyz?for=reads"} {
		if status, body := s.get(url); status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", url, status, body)
		}
	}
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.ready()
	worker.ready()
	s.eventually(20*time.Second, "applied", func() error {
		if r := a.do(http.MethodGet, path, ""); !strings.Contains(string(r.raw), `"Analyst"`) || !strings.Contains(string(r.raw), `"VIP"`) {
			return fmt.Errorf("%d %s", r.Status, r.raw)
		}
		return nil
	})
}

// TestKnowsNothing starts without either server: it says that it is starting,
// and stops when it is told to.
func TestKnowsNothing(t *testing.T) {
	t.Parallel()
	s := &site{tb: t, db: "postgres://nobody@127.0.0.1:1/none", redis: "redis://127.0.0.1:1/0", http: testClient(t)}
	a := s.start("api")
	r := a.do(http.MethodPatch, "/v1/contacts/6ba7b810-9dad-11d1-80b4-00c04fd430c8", `{}`)
	if r.Status != http.StatusServiceUnavailable || r.Code == "" || r.Header.Get("Retry-After") == "" || r.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("patch: %d %v %s", r.Status, r.Header, r.raw)
	}
	if status, _ := s.get(a.API + "/livez"); status != http.StatusOK {
		t.Errorf("livez: %d", status)
	}
	if status, body := s.get(a.API + "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"redis":"away"`) {
		t.Errorf("readyz: %d %s", status, body)
	}
	a.stop()
	if code := a.ended(); code != exitOK {
		t.Errorf("ended with %d: %s", code, a.log)
	}
}

func TestRefusesARedisThatForgets(t *testing.T) {
	t.Parallel()
	forgets := lanetest.Start(t, false)
	s := &site{tb: t, db: storetest.New(t).URL, redis: forgets.URL(), http: testClient(t)}
	for _, role := range []string{"api", "worker"} {
		n := s.launch(role)
		if code := n.ended(); code != exitUsage {
			t.Errorf("%s ended with %d", role, code)
		}
		if log := n.log.String(); !strings.Contains(log, "appendonly no") || !strings.Contains(log, "--allow-volatile-queue") {
			t.Errorf("%s: %s", role, log)
		}
	}
	s.makeKey()
	a, w := s.start("api", "--allow-volatile-queue").ready(), s.start("worker", "--allow-volatile-queue").ready()
	for _, url := range []string{a.API, w.Ops} {
		if status, body := s.get(url + "/readyz"); status != http.StatusOK || !strings.Contains(body, `"durable":false`) {
			t.Errorf("readyz: %d %s", status, body)
		}
	}
	if _, body := s.get(a.Ops + "/metrics"); !strings.Contains(body, "patchlane_queue_durable 0") {
		t.Error("the metric does not say that the queue is not durable")
	}
	a.create()
}

// TestStopsAcceptingWhenSettingsAreSpoilt changes the settings of a running
// Redis and changes them back.
func TestStopsAcceptingWhenSettingsAreSpoilt(t *testing.T) {
	t.Parallel()
	s, redis := newSite(t)
	a := s.start("api").ready()
	write := func(want int) func() error {
		return func() error {
			r := a.do(http.MethodPost, "/v1/contacts", `{"first_name":"Ada"}`, "Prefer", "respond-async")
			if r.Status != want {
				return fmt.Errorf("%d %s", r.Status, r.raw)
			}
			return nil
		}
	}
	c := redis.Client(t)
	if err := c.ConfigSet(t.Context(), "appendfsync", "everysec").Err(); err != nil {
		t.Fatal(err)
	}
	s.eventually(2*durabilityInterval, "refused", write(http.StatusServiceUnavailable))
	if status, body := s.get(a.API + "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"durable":false`) {
		t.Errorf("readyz: %d %s", status, body)
	}
	if err := c.ConfigSet(t.Context(), "appendfsync", "always").Err(); err != nil {
		t.Fatal(err)
	}
	s.eventually(2*durabilityInterval, "accepted again", write(http.StatusAccepted))
}

func TestRefusesOtherLanes(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	n := s.launch("worker", "--lanes", "64")
	if code := n.ended(); code != exitUsage || !strings.Contains(n.log.String(), "admin lanes") {
		t.Errorf("ended with %d: %s", code, n.log)
	}
	l := storetest.Lanes()
	s.start("api", "--lanes", fmt.Sprint(l.Contact), "--address-lanes", fmt.Sprint(l.Address)).ready()
}

// TestDev runs the embedded stack twice on one data folder, kills its Redis,
// and finds what was accepted.
func TestDev(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "ready.json")
	if err := os.WriteFile(file, []byte("stale"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &site{tb: t, http: testClient(t)}
	launch := func() (n *node, at readiness) {
		n = s.launchDev("--data", filepath.Join(dir, "data"), "--ready-file", file)
		s.eventually(time.Minute, "ready file", func() error { return readJSON(file, &at) })
		return n, at
	}
	n, at := launch()
	if at.PIDs["postgres"] == 0 || at.PIDs["redis"] == 0 || !strings.HasPrefix(at.API, "http://127.0.0.1:") || at.Ops == "" {
		t.Errorf("ready file: %+v", at)
	}
	s.db, s.redis, n.addresses = at.DatabaseURL, at.RedisURL, addresses{API: at.API, Ops: at.Ops}
	s.makeKey()
	path := n.create()
	if err := syscall.Kill(at.PIDs["redis"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.eventually(20*time.Second, "redis was started again", func() error {
		var now readiness
		if err := readJSON(file, &now); err != nil || now.PIDs["redis"] == at.PIDs["redis"] {
			return fmt.Errorf("pids %v: %w", now.PIDs, err)
		}
		return nil
	})
	n.ready()
	if r := n.do(http.MethodPatch, path, `{"job_title":"CTO"}`, "Prefer", "wait=10"); r.Status != http.StatusOK {
		t.Errorf("patch: %d %s", r.Status, r.raw)
	}
	n.stop()
	if code := n.ended(); code != exitOK {
		t.Fatalf("ended with %d: %s", code, n.log)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the ready file outlived the run: %v", err)
	}
	n, at = launch()
	n.addresses = addresses{API: at.API, Ops: at.Ops}
	if r := n.do(http.MethodGet, path, ""); r.Status != http.StatusOK || !strings.Contains(string(r.raw), `"CTO"`) {
		t.Errorf("after a restart: %d %s", r.Status, r.raw)
	}
}

// launchDev runs dev on free ports.
func (s *site) launchDev(args ...string) *node {
	s.tb.Helper()
	db, redis := s.db, s.redis
	s.db, s.redis = "postgres://ignored/", "redis://ignored"
	n := s.launch("dev", args...)
	s.db, s.redis = db, redis
	return n
}

func readJSON(file string, into any) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}
