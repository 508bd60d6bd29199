//go:build !faults

// Package failpoint marks the places between two steps at which a process may
// die. In an ordinary build a mark is nothing: it is inlined away. A build
// with the tag "faults" kills its own process there when told to, which is how
// the crash suite proves each row of the crash table.
package failpoint

// Hit marks a place.
func Hit(string) {}
