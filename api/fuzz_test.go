package api

import (
	"net/http"
	"testing"
)

// FuzzHeaders: what stands in the headers of a write is within its bounds, or a
// problem.
func FuzzHeaders(f *testing.F) {
	f.Add("wait=5, respond-async", "row-17", `"7", W/"8"`, "2026-11-22T03:00:00.123456Z", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "id")
	f.Add(`wait="30"; x=y,,`, "\x7f", "*", "9999-99-99", "", "\n")
	f.Add("wait=18446744073709551616", "", `"-1"`, "0001-01-01T00:00:00+23:59", "ff-", "")
	f.Fuzz(func(t *testing.T, prefer, key, match, asOf, trace, request string) {
		h := http.Header{"Prefer": {prefer}, "Idempotency-Key": {key}, "If-Match": {match}, "X-As-Of": {asOf}, "Traceparent": {trace}}
		p := parsePrefer(h)
		if p.wait < 0 || p.wait > maxWait || p.duration(maxWait) > maxWait {
			t.Errorf("%q waits %s", prefer, p.wait)
		}
		if again := parsePrefer(http.Header{"Prefer": {p.applied()}}); again != p {
			t.Errorf("%q is applied as %q", prefer, p.applied())
		}
		c, problems := parseConditions(h)
		bad := map[string]bool{}
		for _, problem := range problems {
			bad[problem.Field] = true
		}
		if !bad["Idempotency-Key"] && (len(c.key) > 255 || c.key == "") {
			t.Errorf("key %q is taken", c.key)
		}
		for _, v := range c.ifMatch {
			if v < 0 {
				t.Errorf("%q matches version %d", match, v)
			}
		}
		if got := traceParent(h); got != "" && (got != trace || len(got) < 55) {
			t.Errorf("trace %q of %q", got, trace)
		}
		if validRequestID(request) && (request == "" || len(request) > 255) {
			t.Errorf("request id %q", request)
		}
	})
}
