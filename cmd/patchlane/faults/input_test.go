package faults

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// inputFaults are what clients send: 17 to 19, and 21.
func inputFaults() []fault {
	return []fault{
		{number: 17, name: "huge bodies, deep JSON, a million members, gzip bomb", brief: true, run: hugeBodies},
		{number: 17, name: "fuzzing client", brief: true, run: fuzz},
		{number: 18, name: "slowloris, slow body, header flood, smuggling", brief: true, run: slowClients},
		{number: 19, name: "keys and personal data in every place, servers cut off", brief: true, run: canaries},
		{number: 21, name: "SQL and JSON tricks in every field", brief: true, run: tricks},
	}
}

// hugeBody is a body and how it is answered.
type hugeBody struct {
	name   string
	body   []byte
	header http.Header
	want   int
}

// bomb is a gzip bomb: a small body that unpacks to 64 MiB.
func bomb() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 64 {
		_, _ = w.Write(zeros)
	}
	_ = w.Close()
	return b.Bytes()
}

// hugeBodies lists what must be refused, and cheaply.
func hugeBodyList() []hugeBody {
	members := func(most int) []byte {
		var b bytes.Buffer
		b.WriteString(`{"metadata":{"a":0`)
		for i := 0; b.Len() < most; i++ {
			fmt.Fprintf(&b, `,"%x":0`, i)
		}
		b.WriteString("}}")
		return b.Bytes()
	}
	deep := func(text string) []byte {
		return []byte(`{"metadata":{"a":` + strings.Repeat(text, 500_000/len(text)))
	}
	return []hugeBody{
		{"2 MiB", bytes.Repeat([]byte(" "), 2<<20), nil, 413},
		{"100 MiB", bytes.Repeat([]byte(" "), 100<<20), nil, 413},
		{"a million members", members(10 << 20), nil, 413},
		{"as many members as fit", members(1<<20 - 100), nil, 400},
		{"deep arrays", deep("["), nil, 400},
		{"deep objects", deep(`{"a":`), nil, 400},
		{"a long number", []byte(`{"metadata":{"n":` + strings.Repeat("9", 1<<20-100) + `}}`), nil, 400},
		{"a long name", []byte(`{"` + strings.Repeat("n", 1<<20-100) + `":1}`), nil, 400},
		{"gzip bomb", bomb(), http.Header{"Content-Encoding": {"gzip"}}, 415},
		{"gzip bomb, twice", bomb(), http.Header{"Content-Encoding": {"gzip, gzip"}}, 415},
	}
}

// hugeBodies sends each from many clients at once; the memory of the API stays
// within what its bound on bodies allows.
func hugeBodies(r *run) {
	apis, _ := r.processes(1, 1)
	api := apis[0]
	person := r.createContacts(r.t, api.url, 1)[0]
	tr := r.begin(r.t, apis, load{contacts: 10, clients: 2, pace: 20 * time.Millisecond}, r.seed)
	before, most := api.memory(r.t), 0.0
	for _, h := range hugeBodyList() {
		var wg sync.WaitGroup
		for range r.rounds(4, 32) {
			wg.Go(func() {
				for range r.rounds(2, 8) {
					r.hugeOne(api, person.id, &h)
				}
			})
		}
		wg.Wait()
		most = max(most, api.memory(r.t))
	}
	r.note("memory %.0f MiB before, %.0f MiB at most", before, most)
	// 128 MiB of bodies, what reading them takes, and the garbage of it.
	if most > before+768 {
		r.t.Errorf("memory went from %.0f to %.0f MiB", before, most)
	}
	r.judge(tr.end())
}

// hugeOne sends one of them. The API may hang up while a body is still on its
// way, but not before it has answered.
func (r *run) hugeOne(api *process, id string, h *hugeBody) {
	status, _, err := r.call(r.t.Context(), http.MethodPatch, api.url+"/v1/contacts/"+id, h.header, h.body)
	r.mu.Lock()
	r.injected(1)
	r.mu.Unlock()
	if err != nil && h.want == http.StatusRequestEntityTooLarge {
		return // The answer was lost in the reset of a connection that still sent.
	}
	if status != h.want && status != http.StatusServiceUnavailable {
		r.t.Errorf("%s: %d %v, want %d", h.name, status, err, h.want)
	}
}

// slow is a client that never ends what it began.
type slow struct {
	name, begin, drip string
	// cut is how long it may stay.
	cut time.Duration
}

func slowList(key, id string) []slow {
	body := "PATCH /v1/contacts/" + id + " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + key + "\r\nContent-Type: application/json\r\n"
	return []slow{
		{"nothing at all", "", "", 5 * time.Second},
		{"slowloris", "GET / HTTP/1.1\r\nHost: a\r\n", "X-A: b\r\n", 5 * time.Second},
		{"half a request line", "GET /", "a", 5 * time.Second},
		{"slow body", body + "Content-Length: 1000\r\n\r\n{", " ", 15 * time.Second},
		{"slow chunks", body + "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n", 15 * time.Second},
		{"slow body without a key", "POST /v1/contacts HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", " ", 5 * time.Second},
	}
}

// slowClients holds connections open by every trick, floods headers and smuggles
// requests, while ordinary clients go on.
func slowClients(r *run) {
	apis, _ := r.processes(1, 1)
	api := apis[0]
	person := r.createContacts(r.t, api.url, 1)[0]
	tr := r.begin(r.t, apis, load{contacts: 10, clients: 2, pace: 20 * time.Millisecond}, r.seed)
	before := api.memory(r.t)
	var wg sync.WaitGroup
	for _, s := range slowList(r.key, person.id) {
		for range r.rounds(5, 200) {
			wg.Go(func() { r.slowOne(api.inside(), &s) })
		}
	}
	r.breakIn(api.inside())
	wg.Wait()
	after := api.memory(r.t)
	r.note("memory %.0f MiB before, %.0f MiB after", before, after)
	if after > before+256 {
		r.t.Errorf("memory went from %.0f to %.0f MiB", before, after)
	}
	r.judge(tr.end())
}

// slowOne drips until it is cut off, which has to be in time.
func (r *run) slowOne(addr string, s *slow) {
	c, err := (&net.Dialer{}).DialContext(r.t.Context(), "tcp", addr)
	if err != nil {
		r.t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	began := time.Now()
	limit := s.cut + 2*time.Second
	if r.brief {
		limit += crowded
	}
	_ = c.SetReadDeadline(began.Add(limit))
	_, _ = io.WriteString(c, s.begin)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				_, _ = io.WriteString(c, s.drip)
			}
		}
	}()
	if _, err := io.Copy(io.Discard, c); isTimeout(err) {
		r.t.Errorf("%s: still connected after %s", s.name, time.Since(began))
	}
	r.mu.Lock()
	r.injected(1)
	r.mu.Unlock()
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error) //nolint:errorlint // io.Copy returns it as it is.
	return ok && timeout.Timeout()
}

// breakIn sends what has to be answered 4xx, with a write hidden behind it that
// must not be made.
func (r *run) breakIn(addr string) {
	post := "POST /v1/contacts HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + r.key + "\r\nContent-Type: application/json\r\n"
	hidden := post + "Content-Length: 33\r\n\r\n" + `{"external_id":"smuggled-inside"}`
	for _, request := range []struct {
		text string
		want int
	}{
		{post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, 400},
		{post + "Transfer-Encoding: chunked\r\nContent-Length: 400\r\n\r\n0\r\n\r\n" + hidden, 400},
		{post + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + hidden, 400},
		{post + "Content-Length: 0\r\nContent-Length: 500\r\n\r\n" + hidden, 400},
		{post + "X: y\nContent-Length: 0\r\n\r\n" + hidden, 400},
		{post + "X: y\r\n Content-Length: 500\r\n\r\n" + hidden, 400},
		{post + "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n" + hidden, 400},
		{"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + hidden, 400},
		{post + "X: " + strings.Repeat("x", 64<<10) + "\r\n\r\n" + hidden, 431},
		{post + strings.Repeat("X-A: b\r\n", 8<<10) + "\r\n" + hidden, 431},
	} {
		r.breakOne(addr, request.text, request.want)
	}
	status, body, err := r.call(r.t.Context(), http.MethodGet, "http://"+addr+"/v1/contacts?external_id=smuggled-inside", nil, nil)
	var list struct{ Data []json.RawMessage }
	if err != nil || status != http.StatusOK || json.Unmarshal(body, &list) != nil || len(list.Data) > 0 {
		r.t.Errorf("a hidden request was served: %d %s %v", status, body, err)
	}
}

func (r *run) breakOne(addr, request string, want int) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		r.t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, request)
	r.mu.Lock()
	r.injected(1)
	r.mu.Unlock()
	answers := bufio.NewReader(c)
	for n := 0; ; n++ {
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			if n == 0 && want != http.StatusRequestHeaderFieldsTooLarge {
				r.t.Errorf("no answer to %.200q: %v", request, err)
			}
			return
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != want || n > 0 {
			r.t.Errorf("answer %d to %.200q: %d, want %d alone", n+1, request, res.StatusCode, want)
		}
	}
}
