//go:build !faults

// Package failpoint marks the places between two steps at which a process may
// die. In an ordinary build a mark is nothing: it is inlined away. A build
// with the tag "faults" kills its own process there when told to, which is how
// the crash suite proves each row of the crash table.
package failpoint

import (
	"fmt"
	"time"
)

// Hit marks a place.
func Hit(string) {}

// Now is the clock of the process. A build with the tag "faults" may have a wrong one.
func Now() time.Time { return time.Now() }

// Span is a stretch in which one process alone may be at work on something. A
// build with the tag "faults" writes those that committed into a file, and the
// suite looks for two at once.
type Span struct{}

// Begin marks that the work on something has begun, with its lock held.
func Begin(fmt.Stringer) Span { return Span{} }

// Ending marks the last moment before the lock is given back.
func (Span) Ending() {}

// Committed says that the work counts.
func (Span) Committed() {}
