package local

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// nobody is the user without rights on Linux and the BSDs.
const nobody = 65534

// identity is whom a server runs as. The zero value is this process' user.
type identity struct {
	drop     bool
	uid, gid uint32
	// caps are kept although the user is an ordinary one.
	caps []uintptr
}

// choose returns the identity for a server whose data is (or will be) in dir.
// Only root changes it: to the owner of existing data, else to the first of
// the named users that the machine has, else to nobody. Postgres refuses to
// run as root; Redis is spared it, since whoever may connect to it could write
// files as its user.
func choose(dir string, names ...string) identity {
	if os.Geteuid() != 0 {
		return identity{}
	}
	if info, err := os.Stat(dir); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			return identity{drop: true, uid: st.Uid, gid: st.Gid}
		}
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return identity{drop: true, uid: uint32(uid), gid: uint32(gid)}
		}
	}
	return identity{drop: true, uid: nobody, gid: nobody}
}

// own gives a file to the identity.
func (id identity) own(path string) error {
	if !id.drop {
		return nil
	}
	return os.Chown(path, int(id.uid), int(id.gid))
}

// reach makes sure that the identity can get at dir. A parent folder that is
// closed to others (the home of root, a temporary folder of mode 0700) is left
// as it is: the server gets the one capability that lets it pass.
func (id *identity) reach(dir string) error {
	if !id.drop {
		return nil
	}
	closed, err := id.closedParent(dir)
	if err != nil || closed == "" {
		return err
	}
	c, ok := passing()
	if !ok {
		return fmt.Errorf("user %d cannot search %s: choose a data folder elsewhere, or chmod o+x it",
			id.uid, closed)
	}
	id.caps = []uintptr{c}
	return nil
}

// closedParent returns the first parent of dir that the identity may not
// search, or "".
func (id identity) closedParent(dir string) (string, error) {
	for at := filepath.Dir(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return "", err
		}
		if !id.searches(info) {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", nil
		}
	}
}

// searches tells whether the identity may search a folder.
func (id identity) searches(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	switch mode := info.Mode().Perm(); {
	case st.Uid == id.uid:
		return mode&0o100 != 0
	case st.Gid == id.gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}
