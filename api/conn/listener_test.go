package conn

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// caller is a client that stays.
type caller struct {
	net.Conn
	r *bufio.Reader
}

func (s *site) dial(t *testing.T) *caller {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &caller{c, bufio.NewReader(c)}
}

// ask sends a request and returns the status; 0: cut off.
func (c *caller) ask(t *testing.T) int {
	t.Helper()
	_, _ = io.WriteString(c, fine)
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode == http.StatusServiceUnavailable {
		var problem struct{ Code string }
		if err := json.Unmarshal(body, &problem); err != nil || problem.Code != "overloaded" || res.Header.Get("Retry-After") == "" {
			t.Errorf("503 says %q, %v", body, res.Header)
		}
	}
	return res.StatusCode
}

// until polls what the server learns a moment later.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (s *site) counts(open, evicted, away int) bool {
	return testutil.ToFloat64(s.metrics.open) == float64(open) && testutil.ToFloat64(s.metrics.evicted) == float64(evicted) &&
		testutil.ToFloat64(s.metrics.turnedAway) == float64(away)
}

// TestConnectionLimit fills the places: a new connection takes that of the one
// idle longest, and is turned away while none is idle.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	s := serve(t, true, Limits{Total: 3})
	first, second := s.dial(t), s.dial(t)
	for _, c := range []*caller{first, second} {
		if got := c.ask(t); got != http.StatusOK {
			t.Fatalf("got %d", got)
		}
		// The order in which they became idle is the order of their answers.
		until(t, "the connection is idle", func() bool {
			s.guard.mu.Lock()
			defer s.guard.mu.Unlock()
			return s.guard.idle.Len() > 0 && (c == first || s.guard.idle.Len() == 2)
		})
	}
	if third := s.dial(t); third.ask(t) != http.StatusOK {
		t.Fatal("the third place is not given")
	}
	_ = first.SetDeadline(time.Now().Add(10 * time.Second))
	fourth := s.dial(t)
	if got := fourth.ask(t); got != http.StatusOK {
		t.Fatalf("a new connection beside idle ones: %d", got)
	}
	if got := first.ask(t); got != 0 {
		t.Errorf("the connection idle longest answers %d", got)
	}
	if got := second.ask(t); got != http.StatusOK {
		t.Errorf("the other idle connection answers %d", got)
	}
	until(t, "one was evicted", func() bool { return s.counts(3, 1, 0) })

	// Busy connections are not evicted: half a request is busy until its time
	// is over, and slow ones are cut by the server's own deadlines.
	busy := serve(t, true, Limits{Total: 2})
	a, b := busy.dial(t), busy.dial(t)
	_, _ = io.WriteString(a, "GET / HT")
	_, _ = io.WriteString(b, "GET / HT")
	until(t, "both are in", func() bool { return busy.counts(2, 0, 0) })
	if got := busy.dial(t).ask(t); got != http.StatusServiceUnavailable && got != 0 {
		t.Errorf("a connection too many: %d", got)
	}
	until(t, "it was turned away", func() bool { return busy.counts(2, 0, 1) })
	_ = a.Close()
	until(t, "a place is free", func() bool { return busy.counts(1, 0, 1) })
	if got := busy.dial(t).ask(t); got != http.StatusOK {
		t.Errorf("the free place: %d", got)
	}
}

// TestClientLimit bounds one address and not another.
func TestClientLimit(t *testing.T) {
	t.Parallel()
	s := serve(t, true, Limits{Client: 2})
	a, b := s.dial(t), s.dial(t)
	if a.ask(t) != http.StatusOK || b.ask(t) != http.StatusOK {
		t.Fatal("refused within the limit")
	}
	if got := s.dial(t).ask(t); got != http.StatusServiceUnavailable && got != 0 {
		t.Errorf("the third of one client: %d", got)
	}
	other := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := other.DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if got := (&caller{c, bufio.NewReader(c)}).ask(t); got != http.StatusOK {
		t.Errorf("another client: %d", got)
	}
}

// TestBusyAnswer holds the answer, which is written by hand.
func TestBusyAnswer(t *testing.T) {
	t.Parallel()
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(busyAnswer)), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || int64(len(body)) != res.ContentLength || !strings.HasSuffix(busyAnswer, string(body)) || !json.Valid(body) {
		t.Errorf("%d bytes of %d, %v: %q", len(body), res.ContentLength, err, body)
	}
}

func TestClientOf(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"10.0.0.7:1": "10.0.0.7", "[::ffff:10.0.0.7]:1": "10.0.0.7", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64",
	} {
		if got := clientOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}
