package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// childConfig ties a process to the one that started it.
type childConfig struct {
	StopWithStdin bool `name:"stop-with-stdin" hidden:"" help:"Stop gracefully when standard input ends, as it does when the parent dies."`
}

// tie ends the returned context when standard input does, if that was asked
// for.
func (c childConfig) tie(ctx context.Context, s streams) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if c.StopWithStdin {
		go func() {
			_, _ = io.Copy(io.Discard, s.in)
			cancel()
		}()
	}
	return ctx, cancel
}

// child is a process of this very program.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	at    addresses
	// done is closed when the process was reaped.
	done chan struct{}

	mu   sync.Mutex
	tail []string
}

// tailLines is how much of a child's log is kept for an error.
const tailLines = 15

// startChild starts a role of this program and waits until it listens. It is in
// a process group of its own, so that a ^C reaches the parent alone, and it
// ends when the parent does, however that dies.
func startChild(ctx context.Context, env []string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	args = append(args, "--stop-with-stdin", "--log-format", "json", "--ops-listen", "127.0.0.1:0")
	c := &child{
		cmd:  exec.CommandContext(context.WithoutCancel(ctx), self, args...), //nolint:gosec // This program itself.
		done: make(chan struct{}),
	}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	listening := make(chan addresses, 1)
	go func() {
		defer close(c.done)
		c.read(stderr, listening)
		_ = c.cmd.Wait() // How it ended stands in its log.
	}()
	select {
	case c.at = <-listening:
		return c, nil
	case <-c.done:
		return nil, fmt.Errorf("start %s: it ended (%s): %s", args[0], c.cmd.ProcessState, c.log())
	case <-ctx.Done():
		c.kill()
		return nil, fmt.Errorf("start %s: %w", args[0], ctx.Err())
	}
}

// read follows the log of the process and finds out where it listens.
func (c *child) read(stderr io.Reader, listening chan<- addresses) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct{ Msg, API, Ops string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			listening <- addresses{API: line.API, Ops: line.Ops}
		}
		c.mu.Lock()
		c.tail = append(c.tail, lines.Text())
		c.tail = c.tail[max(0, len(c.tail)-tailLines):]
		c.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, stderr) // A line too long must not block the process.
}

// log returns the last lines that the process wrote.
func (c *child) log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.tail, "\n")
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// kill sends SIGKILL and waits for the end.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
	_ = c.stdin.Close()
}

// stop asks for a graceful stop and waits for it; what hangs is killed.
func (c *child) stop(patience time.Duration) error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		c.kill()
		return fmt.Errorf("stop process %d: killed after %s: %s", c.pid(), patience, c.log())
	}
	_ = c.stdin.Close()
	if !c.cmd.ProcessState.Success() && c.cmd.ProcessState.ExitCode() >= 0 {
		return errors.New("stop process: " + c.cmd.ProcessState.String() + ": " + c.log())
	}
	return nil
}
