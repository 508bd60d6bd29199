package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// poll is how often something that cannot be waited for is looked at.
	poll = 20 * time.Millisecond
	// abandoned is the age from which a temporary folder without an owner is
	// taken away.
	abandoned = time.Minute
)

// home is the folder of one server: its data, its log and its lock.
type home struct {
	dir string
	// owner is the lock of a temporary folder, held by this process; nil when
	// the folder is kept.
	owner *os.File
}

// openHome makes dir, or a temporary folder when dir is "".
func openHome(dir, name string) (*home, error) {
	if dir == "" {
		return tempHome(name)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	// The parents of the real path are those that have to be searchable.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	return &home{dir: dir}, nil
}

// tempHome makes a folder that is removed by close, or, if this process is
// killed, by the next one that makes such a folder.
func tempHome(name string) (*home, error) {
	prefix := "patchlane-" + name + "-"
	sweepHomes(filepath.Join(os.TempDir(), prefix+"*"))
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, fmt.Errorf("make temporary data folder: %w", err)
	}
	h := &home{}
	if h.dir, err = filepath.EvalSymlinks(dir); err == nil {
		h.owner, err = tryLock(filepath.Join(dir, "owner"))
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("make temporary data folder: %w", err)
	}
	return h, nil
}

// sweepHomes removes what killed processes left: folders whose owner and
// whose server are both gone.
func sweepHomes(pattern string) {
	dirs, err := filepath.Glob(pattern)
	if err != nil {
		return // the pattern is ours
	}
	for _, dir := range dirs {
		mark := filepath.Join(dir, "owner")
		info, err := os.Stat(mark)
		if err != nil || time.Since(info.ModTime()) < abandoned {
			continue
		}
		owner, err := tryLock(mark)
		if err != nil {
			continue
		}
		if server, err := tryLock(filepath.Join(dir, "lock")); err == nil {
			_ = os.RemoveAll(dir)
			_ = server.Close()
		}
		_ = owner.Close()
	}
}

// path returns a path in the folder.
func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

// lock waits until no server holds the folder: one whose parent was killed may
// take a moment to go, and its children another.
func (h *home) lock(ctx context.Context) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*grace)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		f, err := tryLock(h.path("lock"))
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock data folder: another server runs in %s: %w", h.dir, err)
		case <-tick.C:
		}
	}
}

// close removes a temporary folder.
func (h *home) close() error {
	if h.owner == nil {
		return nil
	}
	err := os.RemoveAll(h.dir)
	_ = h.owner.Close()
	return err
}

// tryLock locks a file, or fails with EWOULDBLOCK when somebody has it. The
// lock goes with the last copy of the open file, here or in a child.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // G304: a file of our own folder
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
