//go:build faults

// Package failpoint marks the places between two steps at which a process may
// die. See failpoint.go.
package failpoint

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Hit kills the process with SIGKILL if the environment variable
// PATCHLANE_FAILPOINTS, a list such as "drain.applied=1,drain.read=0.05", gives
// this place a probability and the dice say so.
func Hit(name string) {
	for spec := range strings.SplitSeq(os.Getenv("PATCHLANE_FAILPOINTS"), ",") {
		place, chance, _ := strings.Cut(spec, "=")
		if place != name {
			continue
		}
		if p, err := strconv.ParseFloat(chance, 64); err == nil && rand.Float64() < p {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// Now is the clock of the process, wrong by what PATCHLANE_CLOCK says, such as "-1h".
func Now() time.Time {
	wrong, err := time.ParseDuration(os.Getenv("PATCHLANE_CLOCK"))
	if err != nil {
		return time.Now()
	}
	return time.Now().Add(wrong)
}

// Span is a stretch in which one process alone may be at work on something.
type Span struct {
	of         fmt.Stringer
	began, end time.Time
}

// Begin marks that the work on something has begun, with its lock held.
func Begin(of fmt.Stringer) *Span { return &Span{of: of, began: time.Now()} }

// Ending marks the last moment before the lock is given back.
func (s *Span) Ending() { s.end = time.Now() }

// Committed says that the work counts, and adds it to the file that the
// environment variable PATCHLANE_WITNESS names.
func (s *Span) Committed() {
	name := os.Getenv("PATCHLANE_WITNESS")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	// One short write: lines of several processes do not mix.
	_, _ = fmt.Fprintf(f, "%s %d %d\n", s.of, s.began.UnixNano(), s.end.UnixNano())
}
