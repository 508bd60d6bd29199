package contact

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"
)

// goldenEvents are events in the form of the first version.
func goldenEvents() map[string]Event {
	at := time.Date(2026, 11, 22, 2, 59, 58, 0, time.UTC)
	full := Event{
		ID: idOf(1), Account: idOf(2), Contact: idOf(3), Channel: SMSChannel, Address: "+31612345678",
		Action: OptOut, Cause: KeywordStop, Dedup: EventKey{1, 2, 3}, At: at, WholeSeconds: true, Ambiguous: true,
		Endpoint: idOf(4), Decides: idOf(5), Reason: "keyword_stop", Provider: "twilio", Type: "STOP",
		ProviderID: "SM1", Source: SourceWebhook, Actor: "key", ReplyTo: "api-1", TraceParent: "00-1-2-01",
		Evidence: []byte(`{"body":"STOP"}`),
	}
	return map[string]Event{
		"event-full": full,
		"event-bare": {ID: idOf(1), Account: idOf(2), Channel: EmailChannel, Address: "jo@x.org", Action: Clear},
		"event-quarantine": {
			ID: idOf(1), Account: idOf(2), Channel: SMSChannel, Action: Quarantine, Evidence: []byte("\x00\xff{"),
			Source: SourceWebhook, Reason: "malformed",
		},
	}
}

func TestEventCodecGolden(t *testing.T) {
	t.Parallel()
	for name, e := range goldenEvents() {
		want := golden(t, name)
		if got := EncodeEvent(&e); !bytes.Equal(got, want) {
			t.Errorf("%s: encoded as\n%q, want\n%q", name, got, want)
		}
		got, err := DecodeEvent(want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		diff(t, name, e, got)
	}
}

// The scripts of a lane find id, account and kind at the places of a write's,
// and must take an event for neither a create nor a restore.
func TestEventCodecHead(t *testing.T) {
	t.Parallel()
	e := goldenEvents()["event-full"]
	b := EncodeEvent(&e)
	if uuid.UUID(b[1:17]) != e.ID || uuid.UUID(b[17:33]) != e.Account || uuid.UUID(b[33:49]) != e.Contact {
		t.Error("the ids have other places than in a write")
	}
	if k := Kind(b[49]); k == KindCreate || k == KindRestore {
		t.Errorf("kind %d marks a contact as born", k)
	}
	if _, err := Decode(b); err == nil {
		t.Error("an event was read as a write")
	}
	if _, err := DecodeEvent(Encode(&Write{ID: idOf(1), Kind: KindPatch})); err == nil {
		t.Error("a write was read as an event")
	}
}

func TestEntryDecode(t *testing.T) {
	t.Parallel()
	want := goldenEvents()["event-full"]
	entry := Entry{Raw: EncodeEvent(&want)}
	if err := entry.Decode(epoch); err != nil {
		t.Fatal(err)
	}
	want.AcceptedAt = epoch
	diff(t, "event", &want, entry.Event)
	if entry.ID != want.ID || entry.Account != want.Account || entry.Kind != KindConsent ||
		entry.ReplyTo != want.ReplyTo || !entry.AcceptedAt.Equal(epoch) {
		t.Errorf("entry %+v", entry.Write)
	}
	entry = Entry{Raw: Encode(&Write{ID: idOf(1), Kind: KindPatch})}
	if err := entry.Decode(epoch); err != nil || entry.Event != nil || entry.ID != idOf(1) {
		t.Errorf("entry %+v, %v", entry, err)
	}
}

func TestDecodeEventRefuses(t *testing.T) {
	t.Parallel()
	e := goldenEvents()["event-full"]
	good := EncodeEvent(&e)
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":         nil,
		"another version": change(0, eventVersion+1),
		"another kind":    change(49, byte(KindPatch)),
		"no channel":      change(50, 0),
		"no action":       change(51, byte(endActions)),
		"no cause":        change(52, byte(NumCauses)),
		"unknown bits":    change(eventHead, 0x7f),
		"trailing":        append(bytes.Clone(good), 0),
		"short":           good[:len(good)-1],
	} {
		if got, err := DecodeEvent(b); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, e := range goldenEvents() {
		f.Add(EncodeEvent(&e))
		f.Add(Form(EncodeEvent(&e), EntrySealed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEvent(b)
		if err != nil {
			return
		}
		if again := Form(EncodeEvent(&e), int(b[0]&^eventForm)); !bytes.Equal(again, b) {
			t.Fatalf("encoded as %q, read from %q", again, b)
		}
	})
}
