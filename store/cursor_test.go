package store

import (
	"testing"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// FuzzCursor: a cursor is read by the list that wrote it, to the same place, and
// refused as the client's mistake everywhere else.
func FuzzCursor(f *testing.F) {
	f.Add(writeCursor(cursorContacts, uuid.Max, -1), byte(cursorContacts))
	f.Add(writeCursor(cursorLogByVer, uuid.Nil, 1<<62), byte(cursorLogByVer))
	f.Add("", byte(cursorWrites))
	f.Add("Y2NjYw==", byte('c'))
	f.Fuzz(func(t *testing.T, text string, kind byte) {
		var id uuid.UUID
		var n int64
		switch err := readCursor(text, kind, &id, &n); {
		case err == nil && writeCursor(kind, id, n) != text:
			t.Fatalf("%q is read as %s, %d", text, id, n)
		case err != nil && contact.CodeOf(err) != contact.CodeValidationFailed:
			t.Fatalf("%q: %v", text, err)
		}
	})
}
