package signature

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPhoneKeys(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][]string{
		"+14155552671":       {"+14155552671"},
		"14155552671":        {"+14155552671"},
		"31612345678":        {"+31612345678"},
		"+44 7911 123456":    {"+447911123456"},
		"+1 (415) 555-2671":  {"+14155552671"},
		"+447700900123":      {"+447700900123"}, // reserved for fiction, still an opt-out
		"0061412345678":      {"+61412345678"},
		"tel:+14155552671":   {"+14155552671"},
		"+5215512345678":     {"+525512345678"},
		"+525512345678":      {"+525512345678"},
		"+5491123456789":     {"+5491123456789", "+541123456789"},
		"541123456789":       {"+5491123456789", "+541123456789"},
		"+999123456789":      {"+999123456789"},
		"+1234567":           {"+1234567"},
		"１４１５５５５２６７１":        {"+14155552671"},
		"12345":              nil,
		"+123456":            nil,
		"PIZZA":              nil,
		"":                   nil,
		"+1234567890123456":  nil,
		"whatsapp:+14155552": nil,
		"+1415\x005552671":   nil,
		"1415x5552671":       nil,
	} {
		if got := PhoneKeys(raw); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

func TestEmailKeys(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"Jane.Doe@Example.COM":            "jane.doe@example.com",
		" jane+tag@example.com ":          "jane+tag@example.com",
		"Jane <Jane@Example.com>":         "jane@example.com",
		`"Doe, Jane" <jane@example.com>`:  "jane@example.com",
		"rfc822;jane@example.com":         "jane@example.com",
		"RFC822; jane@example.com":        "jane@example.com",
		"jane@example.com.":               "jane@example.com",
		"jane@bücher.example":             "jane@xn--bcher-kva.example",
		"jane@xn--bcher-kva.example":      "jane@xn--bcher-kva.example",
		"jane@my_host.example":            "jane@my_host.example",
		"jane@[192.0.2.1]":                "jane@[192.0.2.1]",
		`"a b"@example.com`:               `"a b"@example.com`,
		"j..doe@example.com":              "j..doe@example.com",
		"JOSE\u0301@example.com":          "josé@example.com",
		"":                                "",
		"jane":                            "",
		"@example.com":                    "",
		"jane@":                           "",
		"a@b.example, c@d.example":        "",
		"jane doe@example.com":            "",
		"jane@exa mple.com":               "",
		"jane\x00@example.com":            "",
		"\xff@example.com":                "",
		strings.Repeat("a", 600) + "@b.c": "",
	} {
		got, ok := EmailKey(raw)
		if !ok {
			got = ""
		}
		if got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"+5491123456789", "Jane <j@bücher.example>", "whatsapp:+1", "\xff@\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, key := range PhoneKeys(s) {
			if again := PhoneKeys(key); !slices.Contains(again, key) {
				t.Errorf("%q: %q has the keys %q", s, key, again)
			}
		}
		key, ok := EmailKey(s)
		if !ok {
			return
		}
		if !utf8.ValidString(key) || strings.ContainsAny(key, "\x00\n\r") || strings.Count(key, "@") < 1 {
			t.Errorf("%q: %q", s, key)
		}
		if again, ok := EmailKey(key); ok && again != key && !strings.ContainsAny(key, `<>;"`) && !strings.HasSuffix(key, ".") {
			t.Errorf("%q: %q, then %q", s, key, again)
		}
	})
}
