package store

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// The first byte of a cursor says what it is a place in. Clients see base64
// and MUST NOT look into it.
const (
	cursorContacts = 'c'
	cursorBefore   = 'b' // contacts, towards the first
	cursorWrites   = 'w'
	cursorLogByID  = 'l'
	cursorLogByVer = 'v'

	cursorBytes = 1 + 16 + 8
)

// writeCursor names the last row of a page: its id, or its version in the last
// 8 bytes of one, and its number within the write.
func writeCursor(kind byte, id uuid.UUID, n int64) string {
	b := make([]byte, 0, cursorBytes)
	b = append(b, kind)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(n)) //nolint:gosec // read back as it was
	return base64.RawURLEncoding.EncodeToString(b)
}

// readCursor reads what writeCursor made for the same kind of list.
func readCursor(s string, kind byte, id *uuid.UUID, n *int64) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	// The decoder passes over line ends, which no cursor of ours has.
	if err != nil || len(b) != cursorBytes || b[0] != kind || strings.ContainsAny(s, "\r\n") {
		return badCursor()
	}
	copy(id[:], b[1:17])
	if n != nil {
		*n = int64(binary.BigEndian.Uint64(b[17:])) //nolint:gosec // written from an int64
	}
	return nil
}

// badCursor refuses a cursor of another list or of nobody's making.
func badCursor() error {
	return &contact.Error{
		Code:    contact.CodeValidationFailed,
		Message: "the cursor is not one of this list",
		Fix:     "Send the next_cursor of the page before, or none.",
		Fields: []contact.FieldError{{
			Field: "cursor", Code: "invalid", Message: "is not a cursor of this list",
		}},
	}
}

// versionID carries a version in the place of an id.
func versionID(version int64) uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[8:], uint64(version)) //nolint:gosec // read back as it was
	return id
}

// versionOf reads what versionID wrote.
func versionOf(id uuid.UUID) int64 {
	return int64(binary.BigEndian.Uint64(id[8:])) //nolint:gosec // written from an int64
}

// floorID is the smallest UUIDv7 of a moment.
func floorID(t time.Time) uuid.UUID {
	var id uuid.UUID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(t.UnixMilli(), 0))<<16)
	copy(id[:6], ms[:6])
	return id
}
