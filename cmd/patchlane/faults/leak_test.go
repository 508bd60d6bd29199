package faults

import (
	"net/http"
	"os"
	"strings"
)

// leaks looks for every key, address, phone number and note of the stack in the
// logs of its processes, their metrics and the errors that clients saw.
func (r *run) leaks() {
	r.t.Helper()
	texts := map[string]string{}
	for _, name := range r.logs {
		b, err := os.ReadFile(name)
		if err != nil {
			r.t.Fatal(err)
		}
		texts["log "+name] = string(b)
	}
	for _, p := range r.procs {
		if status, body := p.probe("/metrics"); status == http.StatusOK {
			texts["metrics of "+p.role] = body
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	texts["errors"] = strings.Join(r.heard, "\n")
	for _, secret := range append([]string{canary}, r.private...) {
		for where, text := range texts {
			if i := strings.Index(text, secret); i >= 0 {
				r.t.Errorf("%s holds %q: …%s…", where, secret, text[max(0, i-80):min(len(text), i+120)])
			}
		}
	}
}
