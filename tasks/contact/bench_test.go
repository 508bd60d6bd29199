package contact

import (
	"encoding/json"
	"fmt"
	"testing"
)

// benchEntries makes a batch like the ones of a busy lane: hot of a hundred
// writes go to one contact.
func benchEntries(n, hot int) (*Batch, []Entry) {
	b := &Batch{Now: epoch, NotesLimit: 64 << 10, Contacts: map[Ref]*Contact{}}
	entries := make([]Entry, n)
	for i := range entries {
		id := idOf(uint64(1000 + i))
		if i%100 < hot {
			id = idOf(1)
		}
		w := Write{ID: idOf(uint64(5000 + i)), Account: idOf(2), Contact: id, Kind: KindPatch, AcceptedAt: epoch, Actor: "key", Source: SourceBatch}
		w.Patch.SetText(JobTitle, new(fmt.Sprint("title ", i)))
		w.Patch.SetText(Email, new("jo@example.org"))
		w.Patch.NotesAppend = new(fmt.Sprint("note ", i))
		w.Patch.MetadataMerge = json.RawMessage(fmt.Sprintf(`{"counter":%d}`, i))
		entries[i] = Entry{Write: w}
		c := &Contact{Ref: w.Ref(), Version: 3, Tags: []string{"a"}, Metadata: json.RawMessage(`{"plan": "gold", "counter": 1}`)}
		c.Text[Email], c.Text[JobTitle] = new("jo@example.org"), new("title")
		b.Contacts[c.Ref] = c
	}
	return b, entries
}

func BenchmarkFold(b *testing.B) {
	for name, hot := range map[string]int{"uniform": 0, "hot": 100} {
		b.Run(name, func(b *testing.B) {
			batch, entries := benchEntries(500, hot)
			b.ReportAllocs()
			for b.Loop() {
				if out := batch.Fold(entries); out.Consumed != len(entries) {
					b.Fatalf("consumed %d", out.Consumed)
				}
			}
			b.ReportMetric(float64(len(entries))*float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	_, entries := benchEntries(1, 0)
	b.ReportAllocs()
	for b.Loop() {
		Encode(&entries[0].Write)
	}
}

func BenchmarkDecode(b *testing.B) {
	_, entries := benchEntries(1, 0)
	raw := Encode(&entries[0].Write)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		var p Patch
		p.SetText(FirstName, new(" Jo "))
		p.SetText(Email, new("Jo@Example.org"))
		p.SetText(Phone, new("+61412345678"))
		p.SetText(JobTitle, new("CEO"))
		p.MetadataMerge = json.RawMessage(`{"plan":"gold","counter":1}`)
		if problems := p.Validate(rules()); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
