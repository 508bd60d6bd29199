package signature

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxPairs bounds the fields of a form.
const maxPairs = 1000

// pair is one field of a form, decoded.
type pair struct{ key, value string }

// form is the fields of a form in the order in which they came.
type form []pair

// errForm says that a form cannot be read.
var errForm = errors.New("form cannot be read")

// parseForm reads a form or a query. net/url would drop a field that holds a
// semicolon, and the order.
func parseForm(raw string) (form, error) {
	var out form
	if raw == "" {
		return out, nil
	}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if len(out) == maxPairs {
			return nil, errForm
		}
		k, v, _ := strings.Cut(part, "=")
		key, err := url.QueryUnescape(k)
		if err != nil {
			return nil, errForm
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			return nil, errForm
		}
		out = append(out, pair{key, value})
	}
	return out, nil
}

// get returns the value of a field, or "".
func (f form) get(key string) string {
	for _, p := range f {
		if p.key == key {
			return p.value
		}
	}
	return ""
}

// has tells whether a field is there.
func (f form) has(key string) bool {
	return slices.ContainsFunc(f, func(p pair) bool { return p.key == key })
}

// repeats tells whether a field occurs twice.
func (f form) repeats() bool {
	seen := make(map[string]bool, len(f))
	for _, p := range f {
		if seen[p.key] {
			return true
		}
		seen[p.key] = true
	}
	return false
}

// contradicts tells whether a field occurs with two values.
func (f form) contradicts() bool {
	seen := make(map[string]string, len(f))
	for _, p := range f {
		if v, ok := seen[p.key]; ok && v != p.value {
			return true
		}
		seen[p.key] = p.value
	}
	return false
}

// sorted returns the distinct fields in byte order of key, then value.
func (f form) sorted() form {
	out := slices.Clone(f)
	slices.SortFunc(out, func(a, b pair) int {
		if c := strings.Compare(a.key, b.key); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	return slices.Compact(out)
}

// concat joins the sorted fields as key, value, key, value.
func (f form) concat() string {
	var b strings.Builder
	for _, p := range f.sorted() {
		b.WriteString(p.key)
		b.WriteString(p.value)
	}
	return b.String()
}

// isForm tells whether the body is declared as a form.
func isForm(h http.Header) bool {
	return mediaType(h) == "application/x-www-form-urlencoded"
}

// mediaType returns the media type of a body, without its parameters.
func mediaType(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// formOf returns the fields of a request: of the query for GET, else of the
// body.
func formOf(req Request) (form, error) {
	if req.Method == http.MethodGet {
		return parseForm(req.RawQuery)
	}
	return parseForm(string(req.Body))
}
