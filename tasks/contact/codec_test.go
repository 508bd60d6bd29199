package contact

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// goldenWrites are writes whose wire form of version 1 stands in testdata. The
// files MUST NOT change: entries in that form wait in lanes while a release is
// rolled out.
func goldenWrites() map[string]Write {
	plain := Write{
		ID: idOf(1), Account: idOf(2), Contact: idOf(3), Kind: KindPatch, Source: SourcePatch, Actor: "key-1",
	}
	plain.Patch.SetText(JobTitle, new("CEO"))
	full := Write{
		ID: idOf(4), Account: idOf(5), Contact: idOf(6), Kind: KindCreate,
		AsOf: epoch.Add(-time.Hour), IfMatch: []int64{7, -1}, Idempotency: &IdempotencyKey{Key: [32]byte{1, 31: 2}, Body: [32]byte{3, 31: 4}},
		RetryOf: idOf(7), RetryAcceptedAt: epoch.Add(123456 * time.Microsecond), Force: true,
		Source: SourceAdmin, Actor: "k", ReplyTo: "api-1", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Patch: Patch{
			FullName: new("Jo Doe"), NotesAppend: new("line 1\nline 2 \"é\""),
			Tags: []string{}, TagsAdd: []string{"vip", "été"}, TagsRemove: []string{"old"},
			CustomFields: map[string]json.RawMessage{"size": json.RawMessage(`"XL"`), "age": json.RawMessage(`null`)},
			Metadata:     json.RawMessage(`{"a":1}`), MetadataMerge: json.RawMessage(`{"b":null}`),
			EmailUnsubscribed: new(true), SMSUnsubscribed: new(false),
		},
	}
	for f := range NumFields {
		if f%3 == 1 {
			full.Patch.SetText(f, nil)
		} else {
			full.Patch.SetText(f, new(f.String()+" value"))
		}
	}
	archive := Write{ID: idOf(8), Account: idOf(9), Contact: idOf(10), Kind: KindArchive, IfMatch: []int64{}}
	restore := Write{ID: idOf(11), Account: idOf(12), Contact: idOf(13), Kind: KindRestore, Source: SourceBulk}
	return map[string]Write{"patch": plain, "full": full, "archive": archive, "restore": restore}
}

func golden(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "codec", "v1-"+name+".hex"))
	if err != nil {
		tb.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestCodecGolden(t *testing.T) {
	t.Parallel()
	for name, w := range goldenWrites() {
		want := golden(t, name)
		if got := Encode(&w); !bytes.Equal(got, want) {
			t.Errorf("%s: encoded to\n%x, want\n%x", name, got, want)
		}
		got, err := Decode(want)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		diff(t, name, w, got)
	}
}

// The head stands at fixed places, which the scripts of the lane read.
func TestCodecHead(t *testing.T) {
	t.Parallel()
	w := goldenWrites()["full"]
	b := Encode(&w)
	if b[0] != 1 || uuid.UUID(b[1:17]) != w.ID || uuid.UUID(b[17:33]) != w.Account || uuid.UUID(b[33:49]) != w.Contact || Kind(b[49]) != w.Kind {
		t.Errorf("head is %x", b[:headLength])
	}
}

func TestCodecRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := genEntry(t, rapid.IntRange(0, 9).Draw(t, "n")).Write
		b := Encode(&w)
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		w.AcceptedAt = time.Time{}
		diff(t, "write", w, got)
		// Nothing that is cut short or carries more is read.
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, err := Decode(b[:cut]); err == nil {
			t.Fatalf("read %d bytes of %d", cut, len(b))
		}
		if _, err := Decode(append(bytes.Clone(b), 0)); err == nil {
			t.Fatal("read a byte too many")
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	w := goldenWrites()["patch"]
	w.AsOf = epoch
	edit := func(change func(w *Write)) []byte {
		v := w
		change(&v)
		return Encode(&v)
	}
	head := Encode(&w)[:headLength]
	tests := map[string][]byte{
		"nothing":             nil,
		"another version":     append([]byte{2}, Encode(&w)[1:]...),
		"no head":             Encode(&w)[:headLength-1],
		"another kind":        edit(func(w *Write) { w.Kind = 99 }),
		"NUL in a text":       edit(func(w *Write) { w.Patch.SetText(Notes, new("a\x00")) }),
		"bad UTF-8":           edit(func(w *Write) { w.Patch.NotesAppend = new("\xff") }),
		"bad tag":             edit(func(w *Write) { w.Patch.TagsAdd = []string{"\x00"} }),
		"bad metadata":        edit(func(w *Write) { w.Patch.Metadata = json.RawMessage(`{"a":"\u0000"}`) }),
		"metadata no object":  edit(func(w *Write) { w.Patch.Metadata = json.RawMessage(` []`) }),
		"empty metadata":      edit(func(w *Write) { w.Patch.MetadataMerge = json.RawMessage{} }),
		"bad custom field":    edit(func(w *Write) { w.Patch.CustomFields = map[string]json.RawMessage{"a": json.RawMessage(`{`)} }),
		"unknown flag":        append(bytes.Clone(head), 0x80, 0x01),
		"padded flags":        append(bytes.Clone(head), 0x80, 0x00),
		"endless number":      append(bytes.Clone(head), bytes.Repeat([]byte{0xff}, 20)...),
		"retry of nothing":    append(append(bytes.Clone(head), hasRetryOf), make([]byte, 32)...),
		"list without an end": append(bytes.Clone(head), hasIfMatch, 0xff, 0xff, 0xff, 0xff, 0x0f),
		"null but not set":    append(bytes.Clone(head), 0, 0, 0, 0, 0, 0, 1, 0),
		"out without consent": append(bytes.Clone(head), 0, 0, 0, 0, 0, 0, 0, 0x80, 0x04),
	}
	for name, b := range tests {
		got, err := Decode(b)
		if err == nil || !cmp.Equal(got, Write{}, cmp.AllowUnexported(Patch{})) {
			t.Errorf("%s: decoded to %+v, %v", name, got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for name := range goldenWrites() {
		b := golden(f, name)
		f.Add(b)
		f.Add(b[:len(b)/2])
		f.Add(Form(b, EntrySealed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := Decode(b)
		if err != nil {
			return
		}
		if again := Form(Encode(&w), int(b[0])); !bytes.Equal(again, b) {
			t.Fatalf("%x is encoded to %x", b, again)
		}
		// What can be read can be applied, whatever it says.
		w.AcceptedAt = time.UnixMicro(math.MaxInt32)
		(&Batch{Now: epoch, Contacts: map[Ref]*Contact{w.Ref(): {Ref: w.Ref()}}}).Fold([]Entry{{Write: w}})
	})
}

func TestDigest(t *testing.T) {
	t.Parallel()
	patch := func(change func(p *Patch)) *Patch {
		p := &Patch{
			CustomFields: map[string]json.RawMessage{"a": json.RawMessage(`1`), "b": json.RawMessage(`2`)},
			Metadata:     json.RawMessage(`{"b":1,"a":2}`),
		}
		p.SetText(JobTitle, new("CEO"))
		change(p)
		if problems := p.Validate(rules()); len(problems) != 0 {
			t.Fatalf("problems %v", problems)
		}
		return p
	}
	base := patch(func(*Patch) {})
	same := patch(func(p *Patch) { p.Metadata = json.RawMessage(` {"a":2.0, "b":1e0}`) })
	if base.Digest([]int64{1}, epoch) != same.Digest([]int64{1}, epoch) {
		t.Error("another spelling has another digest")
	}
	seen := map[[32]byte]string{base.Digest(nil, time.Time{}): "base"}
	others := map[string][32]byte{
		"null":     patch(func(p *Patch) { p.SetText(JobTitle, nil) }).Digest(nil, time.Time{}),
		"empty":    patch(func(p *Patch) { p.SetText(JobTitle, new("")) }).Digest(nil, time.Time{}),
		"field":    patch(func(p *Patch) { p.SetText(CompanyName, new("CEO")) }).Digest(nil, time.Time{}),
		"tags":     patch(func(p *Patch) { p.Tags = []string{} }).Digest(nil, time.Time{}),
		"if match": base.Digest([]int64{1}, time.Time{}),
		"no match": base.Digest([]int64{}, time.Time{}),
		"as of":    base.Digest(nil, epoch),
		"kind":     (&Write{Kind: KindCreate, Patch: *base}).Digest(),
	}
	for name, digest := range others {
		if seen[digest] != "" {
			t.Errorf("%s and %s have the same digest", name, seen[digest])
		}
		seen[digest] = name
	}
}
