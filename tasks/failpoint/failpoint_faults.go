//go:build faults

// Package failpoint marks the places between two steps at which a process may
// die. See failpoint.go.
package failpoint

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
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
