//go:build !linux

package local

import "syscall"

// apply makes the child run as the identity.
func (id identity) apply(attr *syscall.SysProcAttr) {
	if id.drop {
		attr.Credential = &syscall.Credential{Uid: id.uid, Gid: id.gid}
	}
}

// passing finds nothing: this kernel has no capabilities.
func passing() (uintptr, bool) { return 0, false }
