package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// abusers are the connections that fire at once, volley what each sends
	// before it reads the answers.
	abusers = 96
	volley  = 32
	// stockSize is how many requests an abuser makes at a time; each is fired
	// stockUses times on average, in another order.
	stockSize, stockUses = 1024, 4
	// leastAbuse is how many answers a run has at least, however long that takes.
	leastAbuse = 3000
)

// abuse is what a fuzzing client did and was told.
type abuse struct {
	addr     string
	answered atomic.Int64
	cut      atomic.Int64 // connections that the server closed
	statuses [600]atomic.Int64

	mu      sync.Mutex
	strange []string
	bodies  []string
}

// wonder keeps an answer that no request may have.
func (a *abuse) wonder(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.strange) < 5 {
		a.strange = append(a.strange, fmt.Sprintf(format, args...))
	}
}

// fire sends volleys until ctx ends, over one connection after the other.
func (a *abuse) fire(ctx context.Context, g *arsenal) {
	stock := make([]ammunition, stockSize)
	for ctx.Err() == nil {
		for i := range stock {
			stock[i] = g.request()
		}
		for fired := 0; fired < stockSize*stockUses && ctx.Err() == nil; {
			c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", a.addr)
			if err != nil {
				if ctx.Err() == nil {
					a.wonder("dial: %v", err)
				}
				return
			}
			fired += a.volleys(ctx, c, g, stock)
			_ = c.Close()
		}
	}
}

// volleys uses a connection until it is cut.
func (a *abuse) volleys(ctx context.Context, c net.Conn, g *arsenal, stock []ammunition) (fired int) {
	r := bufio.NewReaderSize(c, 32<<10)
	var out bytes.Buffer
	shots := make([]*ammunition, volley)
	for range 16 {
		if ctx.Err() != nil {
			return fired
		}
		out.Reset()
		for i := range shots {
			shots[i] = &stock[g.dice.IntN(len(stock))]
		}
		if g.one(4) {
			last := g.breaker()
			shots[volley-1] = &last
		}
		for _, s := range shots {
			out.Write(s.raw)
		}
		_ = c.SetDeadline(time.Now().Add(60 * time.Second))
		_, _ = c.Write(out.Bytes()) // What was refused meanwhile shows in the answers.
		for _, s := range shots {
			if err := a.answer(r, s); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					a.wonder("no answer within a minute to %.300q", s.raw)
				}
				a.cut.Add(1)
				return fired
			}
			fired++
		}
	}
	return fired
}

// answer reads one answer, past those that only say to go on.
func (a *abuse) answer(r *bufio.Reader, to *ammunition) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
			a.wonder("no status line: %.80q after %.300q", line, to.raw)
			return io.ErrUnexpectedEOF
		}
		status, _ := strconv.Atoi(string(line[9:12]))
		length, err := header(r)
		if err != nil {
			return err
		}
		if status < 200 {
			continue
		}
		a.answered.Add(1)
		a.statuses[min(status, 599)].Add(1)
		if to.head || status == http.StatusNoContent {
			length = 0
		}
		keep := status >= 400 && a.answered.Load()%97 == 0
		if err := a.read(r, length, keep); err != nil {
			return err
		}
		if (status >= 500 && status != http.StatusServiceUnavailable) || status/100 == 3 {
			a.wonder("%d to %.500q", status, to.raw)
		}
		return nil
	}
}

// header reads to the end of a header and returns the length of the body; less
// than 0: up to the end of the connection.
func header(r *bufio.Reader) (length int64, err error) {
	length = -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			return length, nil
		}
		if len(line) > 16 && bytes.EqualFold(line[:15], []byte("content-length:")) {
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(line[15:])), 10, 64); err != nil {
				return 0, err
			}
		}
	}
}

// read reads a body, and keeps some of those of errors, to be searched.
func (a *abuse) read(r *bufio.Reader, length int64, keep bool) error {
	if length < 0 {
		_, err := io.Copy(io.Discard, r)
		return errors.Join(err, io.EOF)
	}
	if !keep {
		_, err := io.CopyN(io.Discard, r, length)
		return err
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.bodies) < 2000 {
		a.bodies = append(a.bodies, string(body))
	}
	return nil
}

// gauge reads one figure of a process' metrics, as soon as they are answered.
func (p *process) gauge(t *testing.T, name string) (value float64) {
	t.Helper()
	eventually(t, 60*time.Second, func() error {
		_, body := p.probe("/metrics")
		for line := range strings.Lines(body) {
			if text, found := strings.CutPrefix(line, name+" "); found {
				var err error
				value, err = strconv.ParseFloat(strings.TrimSpace(text), 64)
				return err
			}
		}
		return fmt.Errorf("no %s in the metrics: %.200s", name, body)
	})
	return value
}

// memory is the resident memory of a process, in MiB.
func (p *process) memory(t *testing.T) float64 {
	t.Helper()
	return p.gauge(t, "process_resident_memory_bytes") / (1 << 20)
}

// inside is where a process listens, past the wire in front of it.
func (p *process) inside() string {
	for i, arg := range p.args {
		if arg == "--listen" {
			return p.args[i+1]
		}
	}
	return ""
}

// arsenals makes an arsenal for each abuser, with an account of their own that
// has a key of each dialect, some contacts and some endpoints.
func (r *run) arsenals(api *process) []*arsenal {
	r.t.Helper()
	var account struct{ ID string }
	r.runJSON(&account, "admin", "account", "create", "--name", "abusers")
	common := arsenal{}
	for _, dialect := range []string{"native", "trustpager", "routera", "leadlex", "callbell"} {
		common.keys = append(common.keys, r.newKey(account.ID, "--dialect", dialect))
	}
	for _, provider := range []string{"twilio", "sendgrid", "mailgun", "standard", "brevo"} {
		var made struct{ Path string }
		secret := map[string]string{
			"sendgrid": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
			"standard": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYq=",
		}[provider]
		if secret == "" {
			secret = "secret-of-the-provider-0123456789"
		}
		r.runJSON(&made, "admin", "endpoint", "create", "--account", account.ID, "--provider", provider, "--secret", secret)
		r.secret(secret)
		common.hooks = append(common.hooks, made.Path)
	}
	for range 8 {
		status, body, err := r.callAs(r.t.Context(), common.keys[0], http.MethodPost, api.url+"/v1/contacts", nil, []byte(`{"first_name":"Prey"}`))
		if err != nil || status != http.StatusCreated {
			r.t.Fatalf("create: %d %s %v", status, body, err)
		}
		var reply struct{ Data struct{ ID string } }
		if err := json.Unmarshal(body, &reply); err != nil {
			r.t.Fatal(err)
		}
		common.contacts = append(common.contacts, reply.Data.ID)
	}
	list := make([]*arsenal, abusers)
	for i := range list {
		g := common
		g.dice = rand.New(rand.NewPCG(r.seed, uint64(i)))
		list[i] = &g
	}
	return list
}

// fuzz fires at an API for a time (PATCHLANE_ABUSE), while ordinary clients go
// on: nothing of theirs may be lost, no answer may be a failure of the server,
// and when it is over the process has to be what it was before.
func fuzz(r *run) {
	d := time.Duration(r.rounds(3, 20)) * time.Second
	if text := os.Getenv("PATCHLANE_ABUSE"); text != "" {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			r.t.Fatal(err)
		}
		r.env = append(r.env, "PATCHLANE_LOG_LEVEL=warn") // A line a request would be gigabytes.
	}
	apis, _ := r.processes(1, 1)
	api := apis[0]
	list := r.arsenals(api)
	a := &abuse{addr: api.inside()}
	tr := r.begin(r.t, apis, load{contacts: 10, clients: 2, pace: 20 * time.Millisecond, keyless: 0.1}, r.seed)
	goroutines := api.gauge(r.t, "go_goroutines")
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	var wg sync.WaitGroup
	began := time.Now()
	for _, g := range list {
		wg.Go(func() { a.fire(ctx, g) })
	}
	// Memory is measured once everything is warm, and again at the end.
	r.pass(d / 4)
	warm, most := api.memory(r.t), 0.0
	for time.Since(began) < d || a.answered.Load() < leastAbuse {
		r.pass(min(d/8, 5*time.Second))
		most = max(most, api.memory(r.t))
	}
	cancel()
	wg.Wait()
	took := time.Since(began)
	r.injected(int(a.answered.Load()))
	r.note("%d answered in %.0f s, %d connections cut; memory %.0f MiB after a quarter of the time, %.0f MiB at most later",
		a.answered.Load(), took.Seconds(), a.cut.Load(), warm, most)
	r.note("answers: %s", a.summary())
	if most > 1.5*warm+96 {
		r.t.Errorf("memory went from %.0f to %.0f MiB", warm, most)
	}
	for _, s := range a.strange {
		r.t.Error(s)
	}
	r.judge(tr.end())
	r.client.CloseIdleConnections()
	eventually(r.t, 30*time.Second, func() error {
		if now := api.gauge(r.t, "go_goroutines"); now > goroutines+20 {
			return fmt.Errorf("%v goroutines, %v before", now, goroutines)
		}
		return nil
	})
	a.searchBodies(r)
}

// summary counts the answers by their status.
func (a *abuse) summary() string {
	var parts []string
	for status := range a.statuses {
		if n := a.statuses[status].Load(); n > 0 {
			parts = append(parts, fmt.Sprintf("%d: %d", status, n))
		}
	}
	return strings.Join(parts, ", ")
}

// searchBodies looks for what no error may show: words of servers, libraries and
// the code inside.
func (a *abuse) searchBodies(r *run) {
	r.t.Helper()
	for _, body := range a.bodies {
		r.hear([]byte(body))
		for _, word := range []string{"SQLSTATE", "pgx", "goroutine ", "redis:", ".go:", "runtime error", "dial tcp", "json: ", "patchlane/", "jsontext"} {
			if strings.Contains(body, word) {
				r.t.Errorf("an error shows %q: %.300s", word, body)
			}
		}
	}
}
