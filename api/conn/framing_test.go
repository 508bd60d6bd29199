package conn

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// site is a server that counts what it was asked for and reads every body.
type site struct {
	addr    string
	guard   *Listener
	asked   atomic.Int32
	smuggle atomic.Int32
	metrics *Metrics
}

// serve runs the server behind a guard, or without one.
func serve(t *testing.T, guard bool, limits Limits) *site {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{addr: l.Addr().String(), metrics: NewMetrics(prometheus.NewRegistry())}
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		if r.URL.Path == "/smuggled" {
			s.smuggle.Add(1)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, "", http.StatusBadRequest)
		}
	})}
	if guard {
		guarded := Guard(l, limits, s.metrics)
		server.ConnState = guarded.Track
		l, s.guard = guarded, guarded
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-ended })
	return s
}

// send sends bytes, in pieces of the given size, and reads every answer.
func (s *site) send(t *testing.T, request string, piece int) []int {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for part := []byte(request); len(part) > 0; {
		n := min(piece, len(part))
		if _, err := c.Write(part[:n]); err != nil {
			break // The server has hung up already.
		}
		part = part[n:]
	}
	if half, ok := c.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
	var statuses []int
	for r := bufio.NewReader(c); ; {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return statuses
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		statuses = append(statuses, res.StatusCode)
	}
}

const (
	post     = "POST / HTTP/1.1\r\nHost: a\r\n"
	hidden   = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	fine     = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	twoParts = "1;a=b\r\nx\r\n0A \r\n0123456789\r\n0\r\nX-T: y\r\n\r\n"
)

// TestSmuggling sends every way to end a request that two parsers may take for
// two, each once in one piece and once byte by byte. Itself says what net/http
// answers without the guard, so that a release of Go that changes it is seen.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, request string
		itself        int
		reason        reason
	}{
		{"length and coding", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, 200, lengthAndCoding},
		{"coding and length", post + "Transfer-Encoding: chunked\r\ncontent-length:0\r\n\r\n0\r\n\r\n" + hidden, 200, lengthAndCoding},
		{"one length twice", post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx" + hidden, 200, twoLengths},
		{"a coding of HTTP/1.0", "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + hidden, 200, oldCoding},
		{"bare LF after the request line", "POST / HTTP/1.1\nHost: a\r\n\r\n" + hidden, 200, bareLF},
		{"bare LF after a header", "POST / HTTP/1.1\r\nHost: a\r\nX-A: b\nContent-Length: 0\r\n\r\n" + hidden, 200, bareLF},
		{"bare LF for the end", "POST / HTTP/1.1\r\nHost: a\r\n\n" + hidden, 200, bareLF},
		{"bare LF in a trailer", post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\n" + hidden, 200, bareLF},
		{"folded line", post + "X-A: b\r\n Content-Length: 5\r\n\r\n" + hidden, 200, folded},
		{"folded by a tab", post + "X-A: b\r\n\tTransfer-Encoding: chunked\r\n\r\n" + hidden, 200, folded},
		{"folded length", post + "Content-Length:\r\n 1\r\n\r\nx" + hidden, 200, badLength},
		{"folded trailer", post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n z\r\n\r\n" + hidden, 200, folded},
		{"bare CR", post + "X-A: b\rContent-Length: 5\r\n\r\n" + hidden, 400, bareCR},
		{"two lengths", post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx" + hidden, 400, twoLengths},
		{"list of lengths", post + "Content-Length: 1, 1\r\n\r\nx" + hidden, 400, badLength},
		{"signed length", post + "Content-Length: +1\r\n\r\nx" + hidden, 400, badLength},
		{"hexadecimal length", post + "Content-Length: 0x1\r\n\r\nx" + hidden, 400, badLength},
		{"length beyond 64 bits", post + "Content-Length: 18446744073709551617\r\n\r\nx" + hidden, 400, badLength},
		{"blank before the colon", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden, 400, ""},
		{"coding beside chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + hidden, 501, otherCoding},
		{"two codings", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden, 501, otherCoding},
		{"misspelt coding", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden, 501, otherCoding},
		{"coding with a tab", post + "Transfer-Encoding:\tchunked\v\r\n\r\n0\r\n\r\n" + hidden, 400, ""},
		{"version", "POST / HTTP/3.0\r\nHost: a\r\n\r\n" + hidden, 505, otherVersion},
		{"line before the request", "\r\n" + hidden, 400, ""},
		{"two hosts", post + "Host: b\r\n\r\n" + hidden, 400, ""},
		{"no host", "POST / HTTP/1.1\r\n\r\n" + hidden, 400, ""},
		{"control character", post + "X-A: \x01\r\n\r\n" + hidden, 400, ""},
		{"chunk of no size", post + "Transfer-Encoding: chunked\r\n\r\n;x\r\n\r\n" + hidden, 400, badChunk},
		{"chunk size with a sign", post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + hidden, 400, badChunk},
		{"chunk size with 0x", post + "Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n" + hidden, 400, badChunk},
		{"chunk size beyond 64 bits", post + "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\nx\r\n0\r\n\r\n" + hidden, 400, badChunk},
		{"chunk longer than said", post + "Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n" + hidden, 400, badChunk},
		{"bare LF after a chunk", post + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n" + hidden, 400, badChunk},
		{"bare LF in an extension", post + "Transfer-Encoding: chunked\r\n\r\n1;a\nx\r\n0\r\n\r\n" + hidden, 400, bareLF},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := serve(t, false, Limits{}).send(t, c.request, len(c.request)); len(got) == 0 || got[0] != c.itself {
				t.Errorf("net/http itself answers %v, want %d first", got, c.itself)
			}
			for _, piece := range []int{len(c.request), 1} {
				s := serve(t, true, Limits{})
				// A good request before the bad one has its answer all the same.
				got := s.send(t, fine+c.request, piece)
				if len(got) != 2 || got[0] != 200 || got[1] != 400 {
					t.Errorf("pieces of %d: got %v, want 200 and 400", piece, got)
				}
				if s.smuggle.Load() > 0 {
					t.Errorf("pieces of %d: the hidden request was served", piece)
				}
				if c.reason != "" && testutil.ToFloat64(s.metrics.refused.WithLabelValues(string(c.reason))) != 1 {
					t.Errorf("pieces of %d: not counted as %s", piece, c.reason)
				}
			}
		})
	}
}

// TestGoodRequestsPass sends what the framing must not stand in the way of.
func TestGoodRequestsPass(t *testing.T) {
	t.Parallel()
	request := fine +
		post + "Content-Length: 5\r\n\r\nhello" +
		post + "content-length:\t5 \r\nX-Long: " + strings.Repeat("a", 5000) + "\r\n\r\nhello" +
		post + "Transfer-Encoding: Chunked\r\n\r\n" + twoParts +
		post + "TRANSFER-ENCODING: chunked\r\n\r\n" + "0\r\n\r\n" +
		post + "Content-Length: 0\r\nExpect: 100-continue\r\n\r\n" +
		"PATCH http://a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("\n", 70000) +
		"GET / HTTP/1.0\r\n\r\n"
	for _, piece := range []int{1, 7, 4096, len(request)} {
		s := serve(t, true, Limits{})
		got := s.send(t, request, piece)
		if len(got) != 8 || s.asked.Load() != 8 {
			t.Errorf("pieces of %d: %v", piece, got)
		}
	}
}

// ends lists where the framing sees requests end, and whether it waits for more.
func ends(data []byte) (at []int, waits bool) {
	var f framing
	for i := range data {
		fresh := f == framing{}
		if _, err := f.scan(data[i : i+1]); err != nil {
			return at, false
		}
		if (f == framing{}) && !fresh {
			at = append(at, i+1)
		}
	}
	return at, true
}

// FuzzFraming holds the framing against net/http: what both accept ends for
// both at the same byte.
func FuzzFraming(f *testing.F) {
	for _, seed := range []string{
		fine, post + "Content-Length: 5\r\n\r\nhello" + fine, post + "Transfer-Encoding: chunked\r\n\r\n" + twoParts + fine,
		post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		post + "X-A: b\r\n Content-Length: 5\r\n\r\n", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\n" + hidden, "\r\n\r\n", "G / HTTP/1.1\n\n",
		post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx" + hidden,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		at, waits := ends(data)
		whole := bytes.NewReader(data)
		r := bufio.NewReader(whole)
		for i := 0; ; i++ {
			req, err := http.ReadRequest(r)
			if err != nil || req.ProtoMajor != 1 || (req.Proto != "HTTP/1.0" && req.Proto != "HTTP/1.1") {
				return // The server would hang up here.
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if i >= len(at) {
				if waits {
					t.Fatalf("request %d is whole for net/http, and the framing waits for more", i)
				}
				return
			}
			if end := len(data) - whole.Len() - r.Buffered(); end != at[i] {
				t.Fatalf("request %d ends at %d for net/http and at %d for the framing", i, end, at[i])
			}
		}
	})
}

// BenchmarkFraming is what following a usual request costs.
func BenchmarkFraming(b *testing.B) {
	request := []byte("PATCH /v1/contacts/0194d3c0-0000-7000-8000-000000000000 HTTP/1.1\r\nHost: api.example.com\r\n" +
		"Authorization: Bearer pl_0123456789012345678901234567890123456789\r\nContent-Type: application/json\r\n" +
		"Idempotency-Key: row-17\r\nContent-Length: 20\r\n\r\n" + `{"job_title": "CEO"}`)
	b.SetBytes(int64(len(request)))
	var f framing
	for b.Loop() {
		if _, err := f.scan(request); err != nil {
			b.Fatal(err)
		}
	}
}
