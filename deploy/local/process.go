package local

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// grace is how long a server may take for each signal of a stop.
const grace = 5 * time.Second

// command is a program to run until it is stopped.
type command struct {
	path string
	args []string
	env  []string
	// log takes what the program prints.
	log *os.File
	// lock is inherited, so that it is held for as long as the program and its
	// children live.
	lock *os.File
	// as is whom to run as.
	as identity
	// orphaned is the signal that the program gets when this process dies.
	orphaned syscall.Signal
}

// process is a running child that ends with this process.
type process struct {
	cmd *exec.Cmd
	// done is closed once the process was reaped.
	done chan struct{}
	// release ends what watches over the process.
	release func()
}

// exec builds the command in a process group of its own, so that a ^C at the
// terminal reaches the parent alone, which then stops its servers in order.
func (c command) exec(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.path, c.args...) //nolint:gosec // G204: a server's binary and our own arguments
	// A folder that the program can be in whoever it runs as: the kept
	// capabilities count only once it runs.
	cmd.Dir, cmd.Env = "/", c.env
	cmd.Stdout, cmd.Stderr = c.log, c.log
	if c.lock != nil {
		cmd.ExtraFiles = []*os.File{c.lock}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.as.apply(cmd.SysProcAttr)
	tie(cmd.SysProcAttr, c.orphaned)
	return cmd
}

// start runs the program. It lives on when ctx ends; only stop ends it.
func (c command) start(ctx context.Context) (*process, error) {
	cmd := c.exec(context.WithoutCancel(ctx))
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the parent-death signal when the thread that forked
		// ends, not the process: this goroutine keeps its thread to itself for
		// as long as the server lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended stands in its log
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	release, err := watch(ctx, cmd.Process.Pid, c.orphaned)
	if err != nil {
		_ = cmd.Process.Kill()
		<-p.done
		return nil, err
	}
	p.release = release
	return p, nil
}

// run runs the program to its end; an error carries what it printed.
func (c command) run(ctx context.Context) error {
	var out bytes.Buffer
	cmd := c.exec(ctx)
	cmd.Stdout, cmd.Stderr = &out, &out
	// The thread must outlive the program, as in start; Run blocks it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w:\n%s", err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// stop sends each signal in turn and at last SIGKILL until the process is
// gone. It may be called for a process that is gone already.
func (p *process) stop(polite ...syscall.Signal) {
	defer p.release()
	for _, sig := range append(polite, syscall.SIGKILL) {
		_ = p.cmd.Process.Signal(sig)
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // it may have been stopped
		timer := time.NewTimer(grace)
		select {
		case <-p.done:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
	<-p.done
}
