package local

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// apply makes the child run as the identity.
func (id identity) apply(attr *syscall.SysProcAttr) {
	if id.drop {
		attr.Credential = &syscall.Credential{Uid: id.uid, Gid: id.gid}
		attr.AmbientCaps = id.caps
	}
}

// passing returns a capability of this process that opens closed folders: the
// weaker one where it is there (containers often have only the stronger).
func passing() (uintptr, bool) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(status)) {
		mask, found := strings.CutPrefix(line, "CapPrm:")
		if !found {
			continue
		}
		have, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
		if err != nil {
			return 0, false
		}
		for _, c := range []uintptr{unix.CAP_DAC_READ_SEARCH, unix.CAP_DAC_OVERRIDE} {
			if have&(1<<c) != 0 {
				return c, true
			}
		}
	}
	return 0, false
}
