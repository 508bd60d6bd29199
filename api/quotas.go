package api

import (
	"net/http"
	"strconv"
	"time"

	"patchlane/tasks/contact"
)

// showQuotas writes the headers of a limited key: RateLimit and RateLimit-Policy
// name every rate (draft-ietf-httpapi-ratelimit-headers), X-RateLimit-* the one of
// which the least is left, of equal ones that which takes longer to come back. It
// runs for every request of such a key, so all of them share one piece of text.
func showQuotas(h http.Header, quotas []contact.Quota, now time.Time) {
	if len(quotas) == 0 {
		return
	}
	least := &quotas[0]
	var room [192]byte
	b := room[:0]
	var ends [5]int
	for i := range quotas {
		q := &quotas[i]
		b = appendItem(b, i > 0, q.Name, "q", int64(q.Limit), "w", int64(q.Period/time.Second))
		if q.Remaining < least.Remaining || q.Remaining == least.Remaining && q.Reset > least.Reset {
			least = q
		}
	}
	ends[0] = len(b)
	for i := range quotas {
		q := &quotas[i]
		b = appendItem(b, i > 0, q.Name, "r", int64(q.Remaining), "t", seconds(q.Reset))
	}
	ends[1] = len(b)
	b = strconv.AppendInt(b, int64(least.Limit), 10)
	ends[2] = len(b)
	b = strconv.AppendInt(b, int64(least.Remaining), 10)
	ends[3] = len(b)
	b = strconv.AppendInt(b, now.Add(least.Reset+time.Second-1).Unix(), 10)
	ends[4] = len(b)
	text, values, from := string(b), make([]string, len(ends)), 0
	for i, name := range [...]string{
		"Ratelimit-Policy", "Ratelimit", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset",
	} {
		values[i] = text[from:ends[i]]
		h[name] = values[i : i+1 : i+1]
		from = ends[i]
	}
}

// appendItem appends an item of a structured field with two parameters.
func appendItem(b []byte, more bool, name, p1 string, v1 int64, p2 string, v2 int64) []byte {
	if more {
		b = append(b, ", "...)
	}
	b = append(append(append(append(b, '"'), name...), `";`...), p1...)
	b = append(strconv.AppendInt(append(b, '='), v1, 10), ';')
	return strconv.AppendInt(append(append(b, p2...), '='), v2, 10)
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
