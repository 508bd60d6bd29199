package bench

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// measure runs a command against a server and returns the figures and what was
// said on stderr.
func measure(t *testing.T, c Command) (*Report, string) {
	t.Helper()
	if c.Key == "" {
		c.Key = "key"
	}
	var stderr bytes.Buffer
	r, err := c.Measure(t.Context(), &stderr)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	return r, stderr.String()
}

func TestHonest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Command{
		"single":           {Writes: 700, Contacts: 5, Concurrency: 8, Verify: true},
		"batch":            {Writes: 2503, Contacts: 20, Concurrency: 4, Batch: 100, Verify: true, Hot: 0.5},
		"open loop":        {Writes: 300, Contacts: 20, Rate: 3000, Verify: true},
		"duration":         {Duration: 200 * time.Millisecond, Contacts: 20, Batch: 10, Rate: 2000},
		"many contacts":    {Writes: 100, Contacts: 1203, Verify: true},
		"one hot contact":  {Writes: 500, Contacts: 3, Hot: 1, Verify: true},
		"without a margin": {Writes: 1, Contacts: 1, Verify: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c.URL = newFake(t)
			r, said := measure(t, c)
			if err := r.Err(); err != nil {
				t.Error(err)
			}
			if c.Writes > 0 && r.Accepted != c.Writes {
				t.Errorf("accepted %d of %d", r.Accepted, c.Writes)
			}
			if c.Duration > 0 && (r.Accepted < 390 || r.Accepted > 410) {
				t.Errorf("accepted %d at 2000/s in 0.2 s", r.Accepted)
			}
			if r.applied != r.Accepted || r.Accept.P50 <= 0 || r.Accept.P99 < r.Accept.P50 {
				t.Errorf("%+v", r)
			}
			if said != "" {
				t.Errorf("said %q", said)
			}
		})
	}
}

// TestCaught spoils one patch of many in different ways: the run must say which
// flaw it has, with --verify where only the contact shows it.
func TestCaught(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(f *fake, c *fakeContact, apply func())
		count func(*Report) int
	}{
		"never applied": {
			func(*fake, *fakeContact, func()) {},
			func(r *Report) int { return r.Lost },
		},
		"forgotten by the ledger": {
			func(f *fake, c *fakeContact, apply func()) { apply(); f.forget(c) },
			func(r *Report) int { return r.Lost },
		},
		"note lost": {
			func(_ *fake, c *fakeContact, apply func()) { apply(); c.notes = c.notes[:len(c.notes)-1] },
			func(r *Report) int { return r.Lost },
		},
		"audit row lost": {
			func(_ *fake, c *fakeContact, apply func()) { apply(); c.log = c.log[:len(c.log)-1] },
			func(r *Report) int { return r.Lost },
		},
		"applied twice": {
			func(_ *fake, _ *fakeContact, apply func()) { apply(); apply() },
			func(r *Report) int { return r.Doubled },
		},
		"note doubled": {
			func(_ *fake, c *fakeContact, apply func()) {
				apply()
				c.notes = append(c.notes, c.notes[len(c.notes)-1])
			},
			func(r *Report) int { return r.Doubled },
		},
		"twice in the ledger": {
			func(_ *fake, c *fakeContact, apply func()) {
				apply()
				c.ledger = append(c.ledger, c.ledger[len(c.ledger)-1])
			},
			func(r *Report) int { return r.Doubled },
		},
		"applied behind a later one": {
			func(_ *fake, c *fakeContact, apply func()) { c.held = apply },
			func(r *Report) int { return r.Disordered },
		},
		"notes in another order": {
			func(_ *fake, c *fakeContact, apply func()) { apply(); slices.Reverse(c.notes) },
			func(r *Report) int { return r.Disordered },
		},
		"audit row with another old value": {
			func(_ *fake, c *fakeContact, apply func()) { apply(); c.log[len(c.log)-1].Old = nil },
			func(r *Report) int { return r.Disordered },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, url := newFake(t)
			f.spoil = func(n int, c *fakeContact, apply func()) {
				switch held := c.held; {
				case n == 57:
					tc.spoil(f, c, apply)
				case held != nil && n > 90: // surely sent after the held one was acknowledged
					c.held = nil
					apply()
					held()
				default:
					apply()
				}
			}
			r, _ := measure(t, Command{URL: url, Writes: 300, Contacts: 2, Concurrency: 3, Verify: true, Settle: 5 * time.Second})
			if tc.count(r) == 0 || r.Err() == nil {
				t.Errorf("not caught: lost %d, doubled %d, disordered %d, %v", r.Lost, r.Doubled, r.Disordered, r.Err())
			}
		})
	}
}

func TestDisorderWithinBatch(t *testing.T) {
	t.Parallel()
	f, url := newFake(t)
	f.spoil = func(n int, c *fakeContact, apply func()) {
		switch held := c.held; {
		case n == 57:
			c.held = apply
		case held != nil:
			c.held = nil
			apply()
			held()
		default:
			apply()
		}
	}
	r, _ := measure(t, Command{URL: url, Writes: 200, Contacts: 1, Concurrency: 1, Batch: 100})
	if r.Disordered != 1 || r.Lost != 0 || r.Doubled != 0 {
		t.Errorf("lost %d, doubled %d, disordered %d", r.Lost, r.Doubled, r.Disordered)
	}
}

// TestHindered answers with everything that is to be repeated: no write is
// lost or doubled by it, and every one is accepted in the end.
func TestHindered(t *testing.T) {
	t.Parallel()
	for name, batch := range map[string]int{"single": 1, "batch": 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, url := newFake(t)
			f.hinder = func(n int, w http.ResponseWriter) bool {
				switch n % 23 {
				case 3:
					w.Header().Set("Retry-After", "0.01")
					problem(w, http.StatusTooManyRequests, "rate_limited")
				case 7:
					problem(w, http.StatusServiceUnavailable, "overloaded")
				case 11:
					problem(w, http.StatusInternalServerError, "internal_error")
				case 17:
					panic(http.ErrAbortHandler)
				default:
					return false
				}
				return true
			}
			f.rowStatus = func(n int) int { return map[bool]int{true: http.StatusServiceUnavailable}[n%31 == 0] }
			r, _ := measure(t, Command{URL: url, Writes: 400, Contacts: 4, Concurrency: 8, Batch: batch, Verify: true})
			if err := r.Err(); err != nil || r.Accepted != 400 {
				t.Errorf("accepted %d, %v", r.Accepted, err)
			}
		})
	}
}

// TestLostReply applies a write and cuts the connection: the repetition with
// the same key must be what is counted.
func TestLostReply(t *testing.T) {
	t.Parallel()
	f, url := newFake(t)
	cut := 0
	f.spoil = func(n int, _ *fakeContact, apply func()) {
		apply()
		if n%50 == 0 {
			cut++
			panic(http.ErrAbortHandler)
		}
	}
	r, _ := measure(t, Command{URL: url, Writes: 300, Contacts: 3, Verify: true, Concurrency: 4})
	if err := r.Err(); err != nil || r.Accepted != 300 || cut == 0 {
		t.Errorf("accepted %d after %d cuts, %v", r.Accepted, cut, err)
	}
}

func TestPending(t *testing.T) {
	t.Parallel()
	f, url := newFake(t)
	f.never = true
	r, _ := measure(t, Command{URL: url, Writes: 10, Contacts: 2, Settle: 200 * time.Millisecond})
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "10 writes have no outcome yet") {
		t.Errorf("%v", err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	t.Run("rows", func(t *testing.T) {
		t.Parallel()
		f, url := newFake(t)
		f.rowStatus = func(n int) int { return map[bool]int{true: http.StatusConflict}[n == 40] }
		r, _ := measure(t, Command{URL: url, Writes: 100, Contacts: 2, Batch: 10})
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), "1 writes were refused, the first: answered 409") {
			t.Errorf("%v", err)
		}
	})
	t.Run("key", func(t *testing.T) {
		t.Parallel()
		_, url := newFake(t)
		c := Command{URL: url, Key: "other", Writes: 100}
		if _, err := c.Measure(t.Context(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("%v", err)
		}
	})
}

func TestRemarks(t *testing.T) {
	t.Parallel()
	f, url := newFake(t)
	f.audit = false
	c := Command{URL: url, Writes: 200, Contacts: 1, Verify: true}
	r, said := measure(t, c)
	if err := r.Err(); err != nil || !strings.Contains(said, "crm_audit:read") {
		t.Errorf("%q, %v", said, err)
	}
	p := profile{contacts: []*target{{}}, notes: 1, dice: newProfile(1, &run{Command: c.withDefaults()}).dice}
	var notes int64
	for range 20_000 {
		if w := p.next(); w.note {
			notes += int64(len(w.token()) + 1)
		}
	}
	if notes > notesBudget || notes < notesBudget-20 {
		t.Errorf("%d bytes of notes", notes)
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	_, url := newFake(t)
	c := Command{URL: url + "/", Key: "key", Writes: 50, Contacts: 2, Verify: true, JSON: true}
	var stdout, stderr bytes.Buffer
	if err := c.Run(t.Context(), &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || strings.Count(stdout.String(), "\n") != 1 {
		t.Fatalf("%q: %v", stdout.String(), err)
	}
	keys := make([]string, 0, len(got))
	for k := range got {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	want := "accept_ms accepted accepted_per_s applied_per_s apply_ms disordered doubled lost"
	if strings.Join(keys, " ") != want {
		t.Errorf("keys %v", keys)
	}
	c.JSON = false
	stdout.Reset()
	if err := c.Run(t.Context(), &stdout, &stderr); err != nil || !strings.Contains(stdout.String(), "lost 0, doubled 0, disordered 0") {
		t.Errorf("%q, %v", stdout.String(), err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	share := 1.5
	c := Command{URL: "nowhere", Rate: -1, Batch: 1001, Writes: -1, Contacts: -1, Hot: 2, Notes: &share, Concurrency: -1, Duration: -1, Settle: -1}
	_, err := c.Measure(t.Context(), &bytes.Buffer{})
	for _, flag := range []string{"url", "key", "rate", "batch", "writes", "contacts", "hot", "notes", "concurrency", "duration", "settle"} {
		if err == nil || !strings.Contains(err.Error(), "--"+flag+":") {
			t.Errorf("nothing about --%s: %v", flag, err)
		}
	}
}

// TestIntendedTimes holds the latency of an open loop against a server that
// stalls once: the requests that had to wait behind the stall count it in.
func TestIntendedTimes(t *testing.T) {
	t.Parallel()
	p := &pace{start: time.Unix(100, 0), rate: 1000, batch: 10, total: 25}
	for i, want := range []struct {
		n  int
		at time.Duration
	}{{10, 0}, {10, 10 * time.Millisecond}, {5, 20 * time.Millisecond}, {0, 0}} {
		n, at, ok := p.next(time.Unix(200, 0))
		if n != want.n || ok != (want.n > 0) || (ok && at.Sub(p.start) != want.at) {
			t.Errorf("%d: %d writes at %v, %v", i, n, at, ok)
		}
	}
	spanned := &pace{start: time.Unix(100, 0), batch: 1, span: time.Second}
	if _, _, ok := spanned.next(time.Unix(101, 0)); ok {
		t.Error("goes on after its time")
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	if d := retryAfter("2"); d != 2*time.Second {
		t.Error(d)
	}
	if d := retryAfter(time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat)); d < 25*time.Second || d > 30*time.Second {
		t.Error(d)
	}
	if d := retryAfter("soon"); d != 0 {
		t.Error(d)
	}
}
