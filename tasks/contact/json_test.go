package contact

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		` { "b" : 1 , "a" : [ ] , "" : { } } `: `{"":{},"a":[],"b":1}`,
		`{"aa":1,"b":2}`:                       `{"b":2,"aa":1}`,
		`"\u0041\/\b\f\n\r\t\"\\\u001f\u007f"`: "\"A/\\b\\f\\n\\r\\t\\\"\\\\\\u001f\u007f\"",
		`"\ud83d\uDE00"`:                       `"😀"`,
		`"<>&\u2028"`:                          "\"<>&\u2028\"",
		`[true,false,null]`:                    `[true,false,null]`,
		`-0`:                                   `0`,
		`0e99999999999`:                        `0`,
		`1.50`:                                 `1.5`,
		`1E2`:                                  `100`,
		`100e-2`:                               `1`,
		`12345678901234567890123`:              `12345678901234567890123`,
		`0.000001`:                             `0.000001`,
		`0.0000001`:                            `1e-7`,
		`-12.5e-9`:                             `-1.25e-8`,
		`1e21`:                                 `1e21`,
		`1e20`:                                 `100000000000000000000`,
		`1.7976931348623157e308`:               `1.7976931348623157e308`,
		`5e-324`:                               `5e-324`,
		`9007199254740993`:                     `9007199254740993`,
	}
	for in, want := range tests {
		got, err := canonical([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("canonical(%s) = %s, %v, want %s", in, got, err, want)
		}
		if again, err := canonical(got); err != nil || !bytes.Equal(again, got) {
			t.Errorf("canonical(%s) = %s, %v: not its own form", got, again, err)
		}
	}
}

func TestCanonicalRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]error{
		``: errJSONSyntax, ` `: errJSONSyntax, `{`: errJSONSyntax, `[1`: errJSONSyntax, `[1,]`: errJSONSyntax,
		`{"a"}`: errJSONSyntax, `{"a":}`: errJSONSyntax, `{a:1}`: errJSONSyntax, `{"a":1,}`: errJSONSyntax,
		`"a`: errJSONSyntax, `"\`: errJSONSyntax, `"\x"`: errJSONSyntax, `"\u12"`: errJSONSyntax, `"\u12g4"`: errJSONSyntax,
		"\"\n\"": errJSONSyntax, `1 2`: errJSONSyntax, `01`: errJSONSyntax, `-`: errJSONSyntax, `1.`: errJSONSyntax,
		`.5`: errJSONSyntax, `1e`: errJSONSyntax, `+1`: errJSONSyntax, `NaN`: errJSONSyntax, `tru`: errJSONSyntax, `truex`: errJSONSyntax,
		`"\u0000"`: errJSONNUL, `{"\u0000":1}`: errJSONNUL, "\"\x00\"": errJSONNUL,
		`"\ud800"`: errJSONSurrogate, `"\ud800\u0041"`: errJSONSurrogate, `"\udc00"`: errJSONSurrogate, `"\ud800x"`: errJSONSurrogate,
		"\"\xff\"": errJSONUTF8, "\"\xed\xa0\x80\"": errJSONUTF8,
		`{"a":1,"b":2,"a":3}`: errJSONDuplicate, `[{"a":1,"\u0061":1}]`: errJSONDuplicate,
		`1e309`: errJSONNumber, `-2e308`: errJSONNumber, `1e-400`: errJSONNumber, `1e999999999999`: errJSONNumber,
		strings.Repeat("9", 401): errJSONNumber, "0." + strings.Repeat("1", 20000): errJSONNumber,
		strings.Repeat("[", 101) + strings.Repeat("]", 101): errJSONDepth,
		strings.Repeat("[", 1<<20):                          errJSONDepth,
	}
	for in, want := range tests {
		if got, err := canonical([]byte(in)); !errors.Is(err, want) {
			t.Errorf("canonical(%.40s) = %.40s, %v, want %v", in, got, err, want)
		}
	}
	if _, err := canonical([]byte(strings.Repeat("[", 100) + strings.Repeat("]", 100))); err != nil {
		t.Errorf("100 levels: %v", err)
	}
}

// genValue draws a JSON value as Go knows it.
func genValue(depth int) *rapid.Generator[any] {
	leaf := []*rapid.Generator[any]{
		rapid.Just(any(nil)), rapid.Bool().AsAny(), rapid.Float64().AsAny(), rapid.IntRange(-1000, 1000).AsAny(),
		rapid.StringOf(rapid.RuneFrom([]rune("ab\"\\\n\u0001é😀<"))).AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(leaf...)
	}
	names := rapid.StringOfN(rapid.RuneFrom([]rune("ab\"é")), 0, 3, -1)
	return rapid.OneOf(slices.Concat(leaf, []*rapid.Generator[any]{
		rapid.SliceOfN(genValue(depth-1), 0, 4).AsAny(),
		rapid.MapOfN(names, genValue(depth-1), 0, 4).AsAny(),
	})...)
}

func decodeAny(t *rapid.T, b []byte) any {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("decode %s: %v", b, err)
	}
	return numbers(v)
}

// numbers replaces the spellings of numbers by what they stand for.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		r, _ := new(big.Rat).SetString(v.String())
		return r.RatString()
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

// The canonical form means what the value meant, and is the same for every
// spelling of it.
func TestCanonicalKeepsMeaning(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := genValue(3).Draw(t, "value")
		one, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		two, err := json.MarshalIndent(v, " ", "\t")
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		form, err := canonical(one)
		if err != nil {
			t.Fatalf("canonical(%s): %v", one, err)
		}
		if other, err := canonical(two); err != nil || !bytes.Equal(form, other) {
			t.Fatalf("canonical(%s) = %s, %v, want %s", two, other, err, form)
		}
		if !reflect.DeepEqual(decodeAny(t, form), decodeAny(t, one)) {
			t.Fatalf("canonical(%s) = %s", one, form)
		}
	})
}

// RFC 7396, appendix A, and our root: an object always.
func TestMergeFollowsTheRFC(t *testing.T) {
	t.Parallel()
	tests := []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"a":1}`, `{"a":{"b":null}}`, `{"a":{}}`},
	}
	for _, tt := range tests {
		target, err := parseObject([]byte(tt.target))
		if err != nil {
			t.Fatal(err)
		}
		patch, err := parseObject([]byte(tt.patch))
		if err != nil {
			t.Fatal(err)
		}
		merged := target.with(target.mergeEdits(patch))
		if got := string(merged.json()); got != tt.want || merged.size() != len(got) {
			t.Errorf("merge %s into %s = %s (size %d), want %s", tt.patch, tt.target, got, merged.size(), tt.want)
		}
	}
}

func TestObjectEditsReachTheirEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from, err := parseObject(genObject().Draw(t, "from"))
		if err != nil {
			t.Fatal(err)
		}
		to, err := parseObject(genObject().Draw(t, "to"))
		if err != nil {
			t.Fatal(err)
		}
		got := from.with(from.replaceEdits(to))
		if string(got.json()) != string(to.json()) {
			t.Fatalf("%s edited to %s, want %s", from.json(), got.json(), to.json())
		}
	})
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":"\ud83d\ude00"}],"c":-1.5e3}`, `"\u0000"`, `[[[]]]`, `{"a":1,"a":2}`, `1e999`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		form, err := canonical(b)
		if err != nil {
			return
		}
		if !json.Valid(b) || !json.Valid(form) {
			t.Fatalf("accepted %q as %q", b, form)
		}
		if again, err := canonical(form); err != nil || !bytes.Equal(again, form) {
			t.Fatalf("%q is not its own form: %q, %v", form, again, err)
		}
	})
}
