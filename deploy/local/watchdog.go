package local

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
)

// watchdog starts a shell that reads from a pipe of this process. Nothing is
// ever written to it: the read ends when this process does, and the shell
// sends the signal. Release takes the shell away again; it is to be called
// before the pid can be anybody else's.
func watchdog(ctx context.Context, pid int, sig syscall.Signal) (release func(), err error) {
	const script = `read -r _; kill -s "$2" "$1" 2>/dev/null`
	cmd := exec.CommandContext(context.WithoutCancel(ctx), //nolint:gosec // G204: two numbers of our own
		"/bin/sh", "-c", script, "patchlane-watchdog", strconv.Itoa(pid), strconv.Itoa(int(sig)))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start watchdog: %w", err)
	}
	return func() {
		_ = cmd.Process.Kill() // before the pipe closes, or it would bite
		_ = pipe.Close()
		_ = cmd.Wait()
	}, nil
}
