package faults

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// process is one patchlane api or worker. A process that died is started again
// by restart, on the ports it had.
type process struct {
	s    *stack
	role string
	args []string
	env  []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	log    *os.File
	// url is where clients reach an API, over the wire front; ops is where its
	// metrics and its readiness are.
	url, ops string
	front    *wire
}

// start starts a role on ports of its own.
func (s *stack) start(role string) *process {
	s.t.Helper()
	p := s.prepare(role)
	p.restart("")
	return p
}

// prepare makes a process and does not start it: args and env may be added to.
func (s *stack) prepare(role string) *process {
	s.t.Helper()
	p := &process{s: s, role: role}
	ops := freeAddr(s.t)
	p.ops = "http://" + ops
	p.args = []string{role, "--ops-listen", ops}
	toRedis, toPostgres := s.workerRedis, s.workerPostgres
	if role == "api" {
		listen := freeAddr(s.t)
		p.args = append(p.args, "--listen", listen)
		p.front = newWire(s.t, listen)
		p.url = "http://" + p.front.addr()
		toRedis, toPostgres = s.apiRedis, s.apiPostgres
	}
	p.env = []string{"REDIS_URL=" + toRedis.through(s.redis.URL()), "DATABASE_URL=" + toPostgres.through(s.pg.URL())}
	// Appending, so that a log can be emptied while it is written.
	name := filepath.Join(s.t.TempDir(), role+".log")
	log, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	p.log = log
	s.logs, s.procs = append(s.logs, log.Name()), append(s.procs, p)
	t := s.t
	t.Cleanup(func() {
		p.kill()
		_ = log.Close()
		if t.Failed() {
			t.Logf("%s %s:\n%s", role, p.ops, tail(log.Name()))
		}
	})
	return p
}

// restart starts the process; it must not be running.
func (p *process) restart(failpoints string) {
	p.s.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(p.s.bin, p.args...)
	cmd.Env = append(append(slices.Clip(p.s.env), p.env...), "PATCHLANE_FAILPOINTS="+failpoints)
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

// ready waits until the process answers its readiness probe, and returns it.
func (p *process) ready() *process {
	p.s.t.Helper()
	eventually(p.s.t, 30*time.Second, func() error {
		if status, body := p.probe("/readyz"); status != http.StatusOK {
			return fmt.Errorf("readyz: %d %s", status, body)
		}
		return nil
	})
	return p
}

// probe asks the ops listener; status 0: it does not answer.
func (p *process) probe(path string) (status int, body string) {
	res, err := plainClient.Get(p.ops + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
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

// ended waits for the end after a SIGTERM, and returns how it ended.
func (p *process) ended(within time.Duration) error {
	if err := p.died(within); err != nil {
		return errors.New("the process did not end after SIGTERM")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("exit code %d after SIGTERM", code)
	}
	return nil
}
