package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"patchlane/store/storetest"
	"patchlane/tasks/lane/lanetest"
)

// site is a Postgres database and a Redis on which nodes run.
type site struct {
	tb    testing.TB
	db    string
	redis string
	key   string
	http  *http.Client
	// apiArgs are further flags of an API.
	apiArgs []string
	// more are further members of the writes that failMany makes.
	more string
}

// newSite makes a migrated database, a durable Redis, and a key of every scope.
func newSite(tb testing.TB) (*site, *lanetest.Server) {
	tb.Helper()
	redis := lanetest.Start(tb, true)
	s := &site{tb: tb, db: storetest.New(tb).URL, redis: redis.URL(), http: testClient(tb)}
	s.makeKey()
	return s, redis
}

func testClient(tb testing.TB) *http.Client {
	tb.Helper()
	c := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	tb.Cleanup(c.CloseIdleConnections)
	return c
}

// command runs an admin command in this process and decodes what it printed.
func (s *site) command(into any, args ...string) {
	s.tb.Helper()
	var out, errs bytes.Buffer
	args = append(args, "--database-url", s.db, "--redis-url", s.redis)
	if code := run(s.tb.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errs}); code != exitOK {
		s.tb.Fatalf("%v: exit %d: %s", args, code, errs.String())
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		s.tb.Fatalf("%v: %v: %s", args, err, out.String())
	}
}

// makeKey makes an account and a key, and returns the key's id.
func (s *site) makeKey() string {
	s.tb.Helper()
	var account struct{ ID string }
	s.command(&account, "admin", "account", "create", "--name", s.tb.Name())
	var key struct{ ID, Key string }
	s.command(&key, "admin", "key", "create", "--account", account.ID, "--scope", "contacts:read", "--scope", "contacts:write",
		"--scope", "contacts:delete", "--scope", "crm_audit:read", "--scope", "writes:admin",
		"--scope", "settings:write")
	s.key = key.Key
	return key.ID
}

// node is one process' worth of patchlane, run within this one.
type node struct {
	addresses
	site *site
	stop context.CancelFunc
	log  *nodeLog
	// exit gives the exit code once.
	exit chan int
}

// nodeLog takes the log lines of a node and finds out where it listens.
type nodeLog struct {
	mu        sync.Mutex
	text      bytes.Buffer
	listening chan addresses
}

// Write takes one log line, as slog writes it.
func (l *nodeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var line struct{ Msg, API, Ops string }
	if json.Unmarshal(p, &line) == nil && line.Msg == "listening" {
		l.listening <- addresses{API: line.API, Ops: line.Ops}
	}
	return l.text.Write(p)
}

func (l *nodeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// launch runs a role on free ports and returns without waiting for anything.
func (s *site) launch(role string, args ...string) *node {
	s.tb.Helper()
	args = append([]string{role, "--database-url", s.db, "--redis-url", s.redis, "--ops-listen", "127.0.0.1:0", "--log-format", "json"}, args...)
	if role != "worker" {
		args = append(args, "--listen", "127.0.0.1:0")
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.tb.Context()))
	n := &node{site: s, stop: cancel, exit: make(chan int, 1), log: &nodeLog{listening: make(chan addresses, 1)}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.exit <- run(ctx, args, streams{in: strings.NewReader(""), out: io.Discard, err: n.log})
	}()
	s.tb.Cleanup(func() {
		cancel()
		<-ended
		if s.tb.Failed() {
			s.tb.Logf("%s:\n%s", role, n.log)
		}
	})
	return n
}

// start launches a role and waits until it listens.
func (s *site) start(role string, args ...string) *node {
	s.tb.Helper()
	n := s.launch(role, args...)
	select {
	case n.addresses = <-n.log.listening:
	case code := <-n.exit:
		n.exit <- code
		s.tb.Fatalf("%s ended with %d: %s", role, code, n.log)
	}
	return n
}

// ready waits for the readiness of the ops listener.
func (n *node) ready() *node {
	n.site.tb.Helper()
	n.site.eventually(20*time.Second, "ready", func() error {
		if status, body := n.site.get(n.Ops + "/readyz"); status != http.StatusOK {
			return fmt.Errorf("readyz: %d %s", status, body)
		}
		return nil
	})
	return n
}

// ended waits for the exit code.
func (n *node) ended() int {
	n.site.tb.Helper()
	select {
	case code := <-n.exit:
		return code
	case <-time.After(40 * time.Second):
		n.site.tb.Fatalf("the node did not end: %s", n.log)
		return 0
	}
}

// eventually polls until the check holds.
func (s *site) eventually(within time.Duration, what string, check func() error) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), within)
	defer cancel()
	tick := backOff{wait: 10 * time.Millisecond, most: 50 * time.Millisecond}
	for {
		err := check()
		if err == nil {
			return
		}
		if !tick.pause(ctx) {
			s.tb.Fatalf("%s: not within %s: %v", what, within, err)
		}
	}
}

// get reads a page of an operator.
func (s *site) get(url string) (int, string) {
	s.tb.Helper()
	res, err := s.http.Get(url)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.tb.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// page reads what answers a request.
func (s *site) page(req *http.Request) string {
	s.tb.Helper()
	res, err := s.http.Do(req)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.tb.Fatal(err)
	}
	return string(body)
}

// client returns a client of a node's API.
func (n *node) client() *demoClient {
	return &demoClient{http: n.site.http, url: n.API, key: n.site.key}
}

// do sends one request that must be answered.
func (n *node) do(method, path, body string, headers ...string) *reply {
	n.site.tb.Helper()
	r, err := n.client().do(n.site.tb.Context(), method, path, body, headers...)
	if err != nil {
		n.site.tb.Fatal(err)
	}
	return r
}

// create makes a contact and returns its path.
func (n *node) create() string {
	n.site.tb.Helper()
	r := n.do(http.MethodPost, "/v1/contacts", `{"first_name":"Ada"}`)
	if r.Status != http.StatusCreated {
		n.site.tb.Fatalf("create: %d %s", r.Status, r.raw)
	}
	return "/v1/contacts/" + r.Data.ID
}
