//go:build !linux

package local

import (
	"context"
	"syscall"
)

// tie has nothing to do: this kernel knows no parent-death signal.
func tie(*syscall.SysProcAttr, syscall.Signal) {}

// watch sends sig to the child when this process dies, however.
func watch(ctx context.Context, pid int, sig syscall.Signal) (func(), error) {
	return watchdog(ctx, pid, sig)
}
