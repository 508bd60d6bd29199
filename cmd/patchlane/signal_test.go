package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// program starts the real program, which testscript puts on the PATH, and
// waits until it listens.
func (s *site) program(args ...string) (*exec.Cmd, addresses) {
	s.tb.Helper()
	return s.programWith(nil, args...)
}

// programWith is program with more variables in its environment.
func (s *site) programWith(env []string, args ...string) (*exec.Cmd, addresses) {
	s.tb.Helper()
	log := &nodeLog{listening: make(chan addresses, 1)}
	args = append(args, "--database-url", s.db, "--redis-url", s.redis, "--ops-listen", "127.0.0.1:0", "--log-format", "json")
	cmd := exec.CommandContext(s.tb.Context(), "patchlane", args...)
	cmd.Env = append(os.Environ(), env...)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		s.tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(lines{log}, pipe)
	}()
	s.tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-copied
		if s.tb.Failed() {
			s.tb.Logf("%v:\n%s", args, log)
		}
	})
	select {
	case at := <-log.listening:
		return cmd, at
	case <-time.After(time.Minute):
		s.tb.Fatalf("%v does not listen: %s", args, log)
		return nil, addresses{}
	}
}

// lines hands a log on line by line.
type lines struct{ to *nodeLog }

// Write takes whole lines: a process writes each of its log lines at once.
func (l lines) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if _, err := l.to.Write(line); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func TestFirstSignalIsGracefulSecondIsImmediate(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	cmd, at := s.program("api", "--listen", "127.0.0.1:0", "--stop-delay", "25s")
	n := &node{site: s, addresses: at}
	n.ready()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.eventually(5*time.Second, "not ready any more", func() error {
		if status, body := s.get(n.API + "/readyz"); status != http.StatusServiceUnavailable {
			return fmt.Errorf("readyz: %d %s", status, body)
		}
		return nil
	})
	// It still serves, and sends the client elsewhere for the next request.
	r := n.do(http.MethodPost, "/v1/contacts", `{"first_name":"Ada"}`, "Prefer", "respond-async")
	if r.Status != http.StatusAccepted {
		t.Errorf("while stopping: %d %s", r.Status, r.raw)
	}
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitKilled || time.Since(began) > 5*time.Second {
		t.Errorf("exit %d after %s", code, time.Since(began))
	}
}

func TestOneSignalEndsWithZero(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	cmd, at := s.program("worker")
	(&node{site: s, addresses: at}).ready()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
}
