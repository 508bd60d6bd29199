package mirror

import "testing"

// FuzzRecords: a record of the mirror that somebody broke is one that is not
// there, and one that is read is written as something that is read the same.
func FuzzRecords(f *testing.F) {
	f.Add(`+{"ID":"0194d3c0-0000-7000-8000-000000000000","Scopes":["contacts:read"],"PerMinute":60}`, "1")
	f.Add(`-{"ID":"0194d3c0-0000-7000-8000-000000000000","Provider":"twilio","Secrets":["x"]}`, "0")
	f.Add(`{"Account":"0194d3c0-0000-7000-8000-000000000000","Revision":7,"Tags":null}`, "7")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, record, rev string) {
		if k, readable := decode([]byte(record)); readable {
			text, err := encode(k)
			if again, ok := decode([]byte(text)); err != nil || !ok || again.ID != k.ID || again.Hash != k.Hash {
				t.Errorf("key %+v becomes %q, %v", k, text, err)
			}
		}
		if e, readable := decodeEndpoint([]byte(record)); readable {
			text, err := encodeEndpoint(e)
			if again, ok := decodeEndpoint([]byte(text)); err != nil || !ok || again.ID != e.ID {
				t.Errorf("endpoint %+v becomes %q, %v", e, text, err)
			}
		}
		if s, readable := decodeSettings([]any{rev, record}); readable && s == nil {
			t.Error("settings are read and are none")
		}
	})
}
