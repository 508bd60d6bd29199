package api

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"patchlane/api/token"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
	"patchlane/tasks/lane/lanetest"
	"patchlane/tasks/limit"
)

// The clients of the benchmark, and the writes that one side sends in a turn.
const (
	benchClients = 256
	benchTurn    = 2000
)

// BenchmarkAcceptWithLimits compares accepting with limits, and with limits and
// credits, against accepting the same writes with neither, by turns in one run: over
// HTTP, with a Redis that fsyncs every answer. on/off is the part of the throughput
// that is left: the median of all pairs of turns, beside its quartiles. The processor
// time that a write takes, of client, API and Redis, tells the same where others use
// the machine, too.
func BenchmarkAcceptWithLimits(b *testing.B) {
	for name, dialect := range map[string]string{"limits": "native", "limits and credits": "trustpager"} {
		b.Run(name, func(b *testing.B) { benchAccept(b, dialect) })
	}
}

func benchAccept(b *testing.B, dialect string) {
	b.Helper()
	p := newPair(b)
	free := p.key("free-0123456789", contact.Key{Dialect: dialect})
	limited := p.key("limited-0123456789", contact.Key{Dialect: dialect, PerMinute: 1 << 30, PerDay: 1 << 30})
	p.turn(b, 0, free, benchClients)
	p.turn(b, 1, limited, benchClients)
	b.ResetTimer()
	var off, on, parts []float64
	var spent [2]time.Duration
	for left := b.N; left > 0; left -= benchTurn {
		n := min(left, benchTurn)
		begin := p.processor(b)
		off = append(off, p.turn(b, 0, free, n))
		middle := p.processor(b)
		on = append(on, p.turn(b, 1, limited, n))
		spent[0], spent[1] = spent[0]+middle-begin, spent[1]+p.processor(b)-middle
		parts = append(parts, on[len(on)-1]/off[len(off)-1])
	}
	for _, figures := range [][]float64{off, on, parts} {
		slices.Sort(figures)
	}
	b.ReportMetric(off[len(off)/2], "off/s")
	b.ReportMetric(on[len(on)/2], "on/s")
	b.ReportMetric(parts[len(parts)/4], "on/off-q1")
	b.ReportMetric(parts[len(parts)/2], "on/off")
	b.ReportMetric(parts[3*len(parts)/4], "on/off-q3")
	b.ReportMetric(float64(spent[0].Microseconds())/float64(b.N), "off-µs")
	b.ReportMetric(float64(spent[1].Microseconds())/float64(b.N), "on-µs")
	b.ReportMetric(spent[0].Seconds()/spent[1].Seconds(), "off/on-µs")
	b.ReportMetric(0, "ns/op")
}

// What the benchmark sends is charged, each write once.
func TestAcceptOverHTTPIsCharged(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	before, err := p.limits.Balance(t.Context(), p.account)
	if err != nil {
		t.Fatal(err)
	}
	key := p.key("limited-0123456789", contact.Key{Dialect: "trustpager", PerDay: 1 << 30})
	p.turn(t, 0, key, 100)
	p.turn(t, 1, key, 300)
	after, err := p.limits.Balance(t.Context(), p.account)
	if err != nil || before.Left-after.Left != 600 {
		t.Errorf("charged %d, %v; want 600", before.Left-after.Left, err)
	}
}

// sink takes the lines of a log.
type sink struct{}

func (sink) Write(b []byte) (int, error) { return len(b), nil }

// pair is two servers on the same lanes, of which the second one has limits and
// credits.
type pair struct {
	*world
	account uuid.UUID
	limits  *limit.Limiter
	redis   *redis.Client
	urls    [2]string
	paths   []string
	client  *http.Client
}

func newPair(tb testing.TB) *pair {
	tb.Helper()
	p := &pair{world: newWorld(), account: uuid.New(), client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: benchClients},
	}}
	server := lanetest.Start(tb, true)
	p.redis = server.Client(tb)
	lanes := lane.New(server.Client(tb), lane.Config{
		Counts: contact.LaneCounts{Contact: 32, Address: 8}, Limit: 1 << 30, Share: 1,
	})
	appender := lane.NewAppender(lanes, lane.AppenderConfig{
		Ring: func(context.Context, contact.Lane, int64) error { return nil },
	})
	limits := limit.New(server.Client(tb), limit.Config{Book: &books{}})
	tb.Cleanup(func() {
		p.client.CloseIdleConnections()
		for _, end := range []func(context.Context) error{appender.Close, limits.Close} {
			if err := end(context.WithoutCancel(tb.Context())); err != nil {
				tb.Error(err)
			}
		}
	})
	if err := limits.SetBalance(tb.Context(), contact.Balance{Account: p.account, Left: 1 << 40}); err != nil {
		tb.Fatal(err)
	}
	p.limits = limits
	for i, l := range []limiter{freely{}, limits} {
		s, err := New(Options{
			Lanes:    contact.LaneCounts{Contact: 32, Address: 8},
			Contacts: p, Ledger: p, Failed: p, Keys: keyTruth{p.world}, Mirror: keyCopy{p.world},
			Settings: lawBook{p.world}, SettingsEditor: lawBook{p.world}, SettingsMirror: lawCopy{p.world},
			Tokens: newTokens(tb, token.Config{}), Appender: appender, Lane: lanes, Replies: p, Limits: l,
			Ready:      func(context.Context) Readiness { return Readiness{} },
			Logger:     slog.New(slog.NewJSONHandler(sink{}, nil)), // a log is written, too
			Registerer: prometheus.NewRegistry(),
			Optouts:    newHookWorld().options(),
		})
		if err != nil {
			tb.Fatal(err)
		}
		front := httptest.NewServer(s.Handler())
		tb.Cleanup(func() { front.Close(); s.Close() })
		p.urls[i] = front.URL
	}
	for range 1000 {
		ref := contact.Ref{Account: p.account, ID: uuid.New()}
		p.contacts[ref] = &contact.Contact{Ref: ref, Version: 1}
		p.paths = append(p.paths, "/v1/contacts/"+ref.ID.String())
	}
	return p
}

// key adds a key of the account.
func (p *pair) key(secret string, k contact.Key) string {
	k.Account, k.Scopes = p.account, contact.Scopes()
	p.addKey(secret, k)
	return secret
}

// processor is the time that this process and Redis have had of the processors.
func (p *pair) processor(tb testing.TB) (sum time.Duration) {
	tb.Helper()
	var mine syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &mine); err != nil {
		tb.Fatal(err)
	}
	info, err := p.redis.Info(tb.Context(), "cpu").Result()
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if s, err := strconv.ParseFloat(value, 64); err == nil && (name == "used_cpu_user" || name == "used_cpu_sys") {
			sum += time.Duration(s * float64(time.Second))
		}
	}
	return sum + time.Duration(mine.Utime.Nano()+mine.Stime.Nano())
}

// turn sends n writes to one side and returns how many it accepted in a second.
func (p *pair) turn(tb testing.TB, side int, key string, n int) float64 {
	tb.Helper()
	started := time.Now()
	var next atomic.Int64
	var callers sync.WaitGroup
	for range benchClients {
		callers.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				if err := p.patch(tb.Context(), p.urls[side]+p.paths[i%len(p.paths)], key, i); err != nil {
					tb.Error(err)
				}
			}
		})
	}
	callers.Wait()
	return float64(n) / time.Since(started).Seconds()
}

// patch sends one write that must be accepted.
func (p *pair) patch(ctx context.Context, url, key string, n int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPatch, url, strings.NewReader(fmt.Sprintf(`{"first_name":"Ada %d"}`, n)))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Prefer", "respond-async")
	res, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("%d %s", res.StatusCode, body)
	}
	return err
}
