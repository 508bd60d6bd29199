package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// On servers as they should be the doctor finds nothing bad, and shows people a
// table with what to do below.
func TestDoctorIsContent(t *testing.T) {
	t.Parallel()
	st, err := startStack(t.Context(), "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.stop(); err != nil {
			t.Error(err)
		}
	})
	doctor := func(people bool, args ...string) (int, string) {
		var out, errs bytes.Buffer
		args = append(args, "--database-url", st.postgres.URL())
		code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errs, people: people})
		return code, out.String() + errs.String()
	}
	if code, text := doctor(false, "migrate"); code != exitOK {
		t.Fatal(text)
	}
	code, text := doctor(false, "doctor", "--redis-url", st.redis.URL(), "--processes", "1")
	if code != exitOK || strings.Contains(text, `"bad"`) {
		t.Errorf("exit %d: %s", code, text)
	}
	code, text = doctor(true, "doctor", "--redis-url", st.redis.URL(), "--processes", "500")
	for _, want := range []string{"ok    postgres durability", "warn  connections", "\nconnections: Raise max_connections"} {
		if code != exitOK || !strings.Contains(text, want) {
			t.Errorf("exit %d, no %q in:\n%s", code, want, text)
		}
	}
}
