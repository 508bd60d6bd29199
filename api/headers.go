package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

const (
	// maxWait is the longest wait that a client may ask for.
	maxWait = 30 * time.Second
	// defaultWait is how long a create, archive or restore waits without Prefer.
	defaultWait = 10 * time.Second
	// readWait is how long a read waits for ?after without Prefer.
	readWait = 5 * time.Second
)

// preference is what the Prefer header asks for.
type preference struct {
	// wait is the time to wait; waits tells whether one was asked for.
	wait  time.Duration
	waits bool
	// async asks for a 202 at once, or at the end of the wait.
	async bool
}

// parsePrefer reads every Prefer header. What it does not know or cannot read
// is ignored, as RFC 7240 demands; of a repeated preference the first stands.
func parsePrefer(h http.Header) preference {
	var p preference
	for _, line := range h.Values("Prefer") {
		for item := range strings.SplitSeq(line, ",") {
			token, _, _ := strings.Cut(item, ";")
			name, value, _ := strings.Cut(token, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "respond-async":
				p.async = true
			case "wait":
				n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
				if err == nil && !p.waits {
					p.wait, p.waits = min(time.Duration(n)*time.Second, maxWait), true
				}
			}
		}
	}
	return p
}

// duration is how long to wait when the default is def.
func (p preference) duration(def time.Duration) time.Duration {
	switch {
	case p.waits:
		return p.wait
	case p.async:
		return 0
	default:
		return def
	}
}

// applied is the Preference-Applied header; empty: none was asked for.
func (p preference) applied() string {
	var parts []string
	if p.async {
		parts = append(parts, "respond-async")
	}
	if p.waits {
		parts = append(parts, "wait="+strconv.Itoa(int(p.wait/time.Second)))
	}
	return strings.Join(parts, ", ")
}

// conditions are the headers of a write that say when and how often it counts.
type conditions struct {
	// key is the idempotency key; empty: none.
	key     string
	ifMatch []int64
	asOf    time.Time
}

// parseConditions reads Idempotency-Key, If-Match and X-As-Of. Bad ones are
// problems like those of the body, and reported beside them.
func parseConditions(h http.Header) (conditions, []contact.FieldError) {
	var c conditions
	var problems []contact.FieldError
	if values := h.Values("Idempotency-Key"); len(values) > 0 {
		if c.key = values[0]; len(values) > 1 || !validKey(c.key) {
			problems = append(problems, contact.FieldError{
				Field: "Idempotency-Key", Code: contact.ProblemInvalidFormat, Message: "Send one key of 1 to 255 printable ASCII characters.",
			})
		}
	}
	if values := h.Values("If-Match"); len(values) > 0 {
		versions, ok := parseIfMatch(strings.Join(values, ","))
		if c.ifMatch = versions; !ok {
			problems = append(problems, contact.FieldError{
				Field: "If-Match", Code: contact.ProblemInvalidFormat, Message: `Send the version as an entity tag, such as "7", or *.`,
			})
		}
	}
	if values := h.Values("X-As-Of"); len(values) > 0 {
		at, err := dialect.ParseTime(values[0])
		if c.asOf = at; err != nil || len(values) > 1 {
			problems = append(problems, contact.FieldError{
				Field: "X-As-Of", Code: contact.ProblemInvalidFormat, Message: "Send one RFC 3339 time, such as 2026-11-22T03:00:00Z.",
			})
		}
	}
	return c, problems
}

// validKey tells whether an idempotency key is printable and of a fair length.
func validKey(key string) bool {
	if key == "" || len(key) > 255 {
		return false
	}
	for i := range len(key) {
		if key[i] < 0x20 || key[i] > 0x7e {
			return false
		}
	}
	return true
}

// parseIfMatch reads a list of entity tags. `*` asks for any version: nil. A
// weak or foreign tag is well-formed and matches nothing, so the list may come
// out empty and not nil. A bare number is taken for its tag.
func parseIfMatch(s string) ([]int64, bool) {
	if strings.TrimSpace(s) == "*" {
		return nil, true
	}
	versions := []int64{}
	for item := range strings.SplitSeq(s, ",") {
		tag := strings.TrimSpace(item)
		weak := strings.HasPrefix(tag, "W/")
		tag = strings.TrimPrefix(tag, "W/")
		inner, quoted := unquoteTag(tag)
		if n, err := strconv.ParseInt(inner, 10, 64); err == nil && n >= 0 && !weak {
			versions = append(versions, n)
		} else if !quoted {
			return nil, false
		}
	}
	return versions, true
}

// unquoteTag takes the quotes off an opaque tag.
func unquoteTag(tag string) (inner string, quoted bool) {
	if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return tag, false
	}
	inner = tag[1 : len(tag)-1]
	return inner, !strings.ContainsRune(inner, '"')
}

// entityTag is the tag of a version.
func entityTag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// noneMatch tells whether If-None-Match names the version (weak comparison).
func noneMatch(h http.Header, version int64) bool {
	for item := range strings.SplitSeq(strings.Join(h.Values("If-None-Match"), ","), ",") {
		tag := strings.TrimPrefix(strings.TrimSpace(item), "W/")
		if tag == "*" || tag == entityTag(version) {
			return true
		}
	}
	return false
}

// traceParent returns a well-formed W3C trace context, else nothing.
func traceParent(h http.Header) string {
	v := h.Get("traceparent")
	if len(v) != 55 || v[2] != '-' || v[35] != '-' || v[52] != '-' || v[:2] == "ff" {
		return ""
	}
	for i := range len(v) {
		hex := v[i] >= '0' && v[i] <= '9' || v[i] >= 'a' && v[i] <= 'f'
		if !hex && v[i] != '-' {
			return ""
		}
	}
	return v
}

// validRequestID tells whether a client's request id may be echoed and logged.
func validRequestID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		if id[i] <= 0x20 || id[i] > 0x7e {
			return false
		}
	}
	return true
}
