package lane

import (
	"testing"

	"patchlane/tasks/contact"
)

// FuzzEntry: whatever stands in a stream is an entry of that place, or poison of
// that place; nothing that somebody wrote there stops a lane.
func FuzzEntry(f *testing.F) {
	f.Add("1700000000000-0", "t", "1700000000000000", "e", "\x01")
	f.Add("18446744073709551615-18446744073709551615", "e", "", "t", "-1")
	f.Add("0-0", "x", "", "", "")
	f.Add("-", "t", "99999999999999999999", "e", "\x02\x00")
	f.Fuzz(func(t *testing.T, id, name, value, other, second string) {
		place, placeErr := contact.ParseOffset(id)
		e, err := parseEntry([]any{id, []any{name, value, other, second}})
		if (err != nil) != (placeErr != nil) {
			t.Fatalf("%q: %v, %v", id, err, placeErr)
		}
		if err == nil && e.Offset != place {
			t.Fatalf("%q is read as %s", id, e.Offset)
		}
		var body [32]byte
		copy(body[:], second)
		if r, err := readIdem(value+second, body); err == nil && (!r.Replayed || r.AcceptedAt.IsZero()) {
			t.Fatalf("receipt %+v", r)
		}
	})
}
