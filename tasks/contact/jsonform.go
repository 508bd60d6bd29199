package contact

import (
	"bytes"
	"errors"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may nest.
const maxDepth = 100

// What makes a JSON value unfit to be stored. Each text completes the sentence
// "the value …" and may be shown to a client.
var (
	errJSONSyntax    = errors.New("is not valid JSON")
	errJSONDepth     = errors.New("is nested deeper than 100 levels")
	errJSONNUL       = errors.New("holds the character U+0000, which cannot be stored")
	errJSONSurrogate = errors.New("holds half of a surrogate pair")
	errJSONUTF8      = errors.New("is not valid UTF-8")
	errJSONDuplicate = errors.New("names a member of an object twice")
	errJSONNumber    = errors.New("holds a number outside the range of a 64-bit float")
)

// appendCanonical appends the one spelling that all equal JSON values share:
// no white space, members ordered by the length and then the bytes of their
// names (as jsonb orders them), the fewest escapes, numbers by value. Two
// values mean the same to jsonb if and only if their canonical forms are the
// same bytes. It refuses whatever jsonb could not store.
func appendCanonical(dst, src []byte) ([]byte, error) {
	if !utf8.Valid(src) {
		return dst, errJSONUTF8
	}
	c := canon{src: src}
	c.space()
	dst, err := c.value(dst, 0)
	if err != nil {
		return dst, err
	}
	if c.space(); c.pos != len(src) {
		return dst, errJSONSyntax
	}
	return dst, nil
}

// canonical is appendCanonical into a slice of its own.
func canonical(src []byte) ([]byte, error) {
	return appendCanonical(make([]byte, 0, len(src)), src)
}

// canon reads src, which is valid UTF-8, from pos on.
type canon struct {
	src []byte
	pos int
}

// space skips white space.
func (c *canon) space() {
	for c.pos < len(c.src) {
		switch c.src[c.pos] {
		case ' ', '\t', '\n', '\r':
			c.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (c *canon) peek() byte {
	if c.pos < len(c.src) {
		return c.src[c.pos]
	}
	return 0
}

// next skips white space, the byte b if it is next, and white space again.
func (c *canon) next(b byte) bool {
	c.space()
	if c.peek() != b {
		return false
	}
	c.pos++
	c.space()
	return true
}

// value appends the next value; depth counts the arrays and objects around it.
func (c *canon) value(dst []byte, depth int) ([]byte, error) {
	switch b := c.peek(); {
	case b == '{' || b == '[':
		if depth == maxDepth {
			return dst, errJSONDepth
		}
		if c.pos++; b == '{' {
			return c.object(dst, depth+1)
		}
		return c.array(dst, depth+1)
	case b == '"':
		return c.str(dst)
	case b == '-' || ('0' <= b && b <= '9'):
		return c.number(dst)
	default:
		return c.literal(dst)
	}
}

func (c *canon) literal(dst []byte) ([]byte, error) {
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(c.src[c.pos:], []byte(word)) {
			c.pos += len(word)
			return append(dst, word...), nil
		}
	}
	return dst, errJSONSyntax
}

func (c *canon) array(dst []byte, depth int) ([]byte, error) {
	dst = append(dst, '[')
	if c.next(']') {
		return append(dst, ']'), nil
	}
	var err error
	for {
		if dst, err = c.value(dst, depth); err != nil {
			return dst, err
		}
		if c.next(']') {
			return append(dst, ']'), nil
		}
		if !c.next(',') {
			return dst, errJSONSyntax
		}
		dst = append(dst, ',')
	}
}

// span is where one member stands in the output: its name from start to name,
// its value, after the colon, to end.
type span struct{ start, name, end int }

func (c *canon) object(dst []byte, depth int) ([]byte, error) {
	dst = append(dst, '{')
	if c.next('}') {
		return append(dst, '}'), nil
	}
	var few [16]span
	spans, first := few[:0], len(dst)
	var err error
	for {
		s := span{start: len(dst)}
		if c.peek() != '"' {
			return dst, errJSONSyntax
		}
		if dst, err = c.str(dst); err != nil {
			return dst, err
		}
		s.name = len(dst)
		if !c.next(':') {
			return dst, errJSONSyntax
		}
		if dst, err = c.value(append(dst, ':'), depth); err != nil {
			return dst, err
		}
		s.end = len(dst)
		spans = append(spans, s)
		if c.next('}') {
			break
		}
		if !c.next(',') {
			return dst, errJSONSyntax
		}
		dst = append(dst, ',')
	}
	if err := orderMembers(dst, first, spans); err != nil {
		return dst, err
	}
	return append(dst, '}'), nil
}

// orderMembers puts the members of one object, which begin at first, into
// canonical order in place.
func orderMembers(dst []byte, first int, spans []span) error {
	byName := func(a, b span) int { return compareNames(dst[a.start:a.name], dst[b.start:b.name]) }
	sorted := true
	for i := 1; i < len(spans) && sorted; i++ {
		sorted = byName(spans[i-1], spans[i]) < 0
	}
	if sorted {
		return nil
	}
	slices.SortFunc(spans, byName)
	out := make([]byte, 0, len(dst)-first)
	for i, s := range spans {
		if i > 0 {
			if byName(spans[i-1], s) == 0 {
				return errJSONDuplicate
			}
			out = append(out, ',')
		}
		out = append(out, dst[s.start:s.end]...)
	}
	copy(dst[first:], out)
	return nil
}

// compareNames orders member names as jsonb does: the shorter first.
func compareNames(a, b []byte) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return bytes.Compare(a, b)
}

// str appends the next string with the fewest escapes.
func (c *canon) str(dst []byte) ([]byte, error) {
	dst = append(dst, '"')
	for c.pos++; c.pos < len(c.src); {
		run := c.pos
		for c.pos < len(c.src) && plain(c.src[c.pos]) {
			c.pos++
		}
		dst = append(dst, c.src[run:c.pos]...)
		switch b := c.peek(); {
		case c.pos == len(c.src):
			return dst, errJSONSyntax
		case b == '"':
			c.pos++
			return append(dst, '"'), nil
		case b != '\\':
			if b == 0 {
				return dst, errJSONNUL
			}
			return dst, errJSONSyntax
		}
		r, err := c.escape()
		if err != nil {
			return dst, err
		}
		dst = appendRune(dst, r)
	}
	return dst, errJSONSyntax
}

// escape reads one escape sequence, a surrogate pair as one.
func (c *canon) escape() (rune, error) {
	if c.pos+1 >= len(c.src) {
		return 0, errJSONSyntax
	}
	b := c.src[c.pos+1]
	if b != 'u' {
		i := bytes.IndexByte([]byte(`"\/bfnrt`), b)
		if i < 0 {
			return 0, errJSONSyntax
		}
		c.pos += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	r, ok := c.hex()
	switch {
	case !ok:
		return 0, errJSONSyntax
	case r == 0:
		return 0, errJSONNUL
	case !utf16.IsSurrogate(r):
		return r, nil
	}
	low, ok := c.hex()
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, errJSONSurrogate
	}
	return r, nil
}

// hex reads a backslash, a u and four hexadecimal digits; false if that is not
// what comes next.
func (c *canon) hex() (rune, bool) {
	if len(c.src)-c.pos < 6 || c.src[c.pos] != '\\' || c.src[c.pos+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, b := range c.src[c.pos+2 : c.pos+6] {
		r <<= 4
		switch {
		case '0' <= b && b <= '9':
			r |= rune(b - '0')
		case 'a' <= b|0x20 && b|0x20 <= 'f':
			r |= rune(b|0x20-'a') + 10
		default:
			return 0, false
		}
	}
	c.pos += 6
	return r, true
}
