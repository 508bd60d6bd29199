package contact

import (
	"encoding/json"
	"unicode/utf8"
)

// plain tells whether a byte stands for itself inside a JSON string.
func plain(b byte) bool { return b >= ' ' && b != '"' && b != '\\' }

// appendString appends s as a JSON string with the fewest escapes: values come
// back byte for byte, and nothing is escaped for HTML's sake. s is valid UTF-8.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	run := 0
	for i := range len(s) {
		if plain(s[i]) {
			continue
		}
		dst = appendRune(append(dst, s[run:i]...), rune(s[i]))
		run = i + 1
	}
	return append(append(dst, s[run:]...), '"')
}

// appendRune appends one character of a JSON string, escaped if it must be.
func appendRune(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	if r < ' ' {
		return append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&0xf])
	}
	return utf8.AppendRune(dst, r)
}

// appendStrings appends a JSON array of strings.
func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

// unquote returns the string that a JSON string stands for.
func unquote(quoted []byte) string {
	if len(quoted) < 2 {
		return ""
	}
	inner := quoted[1 : len(quoted)-1]
	for _, b := range inner {
		if b == '\\' {
			var s string
			if json.Unmarshal(quoted, &s) != nil {
				return ""
			}
			return s
		}
	}
	return string(inner)
}

// isNull tells whether a JSON value is null; so is nothing at all.
func isNull(v []byte) bool { return len(v) == 0 || string(v) == "null" }
