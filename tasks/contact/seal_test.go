package contact

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// TestBothVersionsAreRead reads what the release before wrote and what this one
// writes once it may, for writes and events.
func TestBothVersionsAreRead(t *testing.T) {
	t.Parallel()
	at := time.UnixMicro(1_700_000_000_000_000).UTC()
	for name := range goldenWrites() {
		plain := golden(t, name)
		var entries [2]Entry
		for i, version := range []int{EntryPlain, EntrySealed} {
			entries[i].Raw = Form(plain, version)
			if int(entries[i].Raw[0]) != version {
				t.Errorf("%s: version %d in form %d", name, entries[i].Raw[0], version)
			}
			if err := entries[i].Decode(at); err != nil {
				t.Fatalf("%s in version %d: %v", name, version, err)
			}
			entries[i].Raw = nil
		}
		if diff := cmp.Diff(entries[0], entries[1], cmp.AllowUnexported(Patch{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for name, e := range goldenEvents() {
		sealed, err := DecodeEvent(Form(EncodeEvent(&e), EntrySealed))
		if err != nil {
			t.Fatalf("%v: %v", name, err)
		}
		if plain, err := DecodeEvent(EncodeEvent(&e)); err != nil || cmp.Diff(plain, sealed) != "" {
			t.Errorf("%v: %v %s", name, err, cmp.Diff(plain, sealed))
		}
	}
}

// TestDamagedEntryIsPoison flips every bit of a sealed entry: none of the
// results is read as a write.
func TestDamagedEntryIsPoison(t *testing.T) {
	t.Parallel()
	w := Write{ID: uuid.New(), Account: uuid.New(), Contact: uuid.New(), Kind: KindPatch, Source: "patch"}
	w.Patch.SetText(JobTitle, new("CEO"))
	entry := Form(Encode(&w), EntrySealed)
	for i := range entry {
		for bit := range 8 {
			damaged := append([]byte(nil), entry...)
			damaged[i] ^= 1 << bit
			if _, err := Decode(damaged); err == nil {
				t.Errorf("bit %d of byte %d is flipped, and it is read as a write", bit, i)
			}
		}
	}
}

func TestNewerEntriesAreRefused(t *testing.T) {
	t.Parallel()
	if err := CheckEntryVersion(EntryNewest); err != nil {
		t.Error(err)
	}
	if err := CheckEntryVersion(EntryNewest + 1); err == nil {
		t.Error("a version that this release cannot read is taken")
	}
}
