package api

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"patchlane/api/token"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
	"patchlane/tasks/lane/lanetest"
	"patchlane/tasks/limit"
)

// The clients of the benchmark, and the writes that one side sends in a turn.
const (
	benchClients = 256
	benchTurn    = 5000
)

// BenchmarkAcceptWithLimits compares accepting with limits, and with limits and
// credits, against accepting the same writes with neither, by turns in one run: over
// HTTP, with a Redis that fsyncs every answer. on/off is the part of the throughput
// that is left.
func BenchmarkAcceptWithLimits(b *testing.B) {
	for name, dialect := range map[string]string{"limits": "native", "limits and credits": "trustpager"} {
		b.Run(name, func(b *testing.B) { benchAccept(b, dialect) })
	}
}

func benchAccept(b *testing.B, dialect string) {
	p := newPair(b)
	free := p.key("free-0123456789", contact.Key{Dialect: dialect})
	limited := p.key("limited-0123456789", contact.Key{Dialect: dialect, PerMinute: 1 << 30, PerDay: 1 << 30})
	p.turn(b, 0, free, benchClients)
	p.turn(b, 1, limited, benchClients)
	p.spent, p.done = [2]time.Duration{}, [2]int{}
	b.ResetTimer()
	for left := b.N; left > 0; left -= benchTurn {
		p.turn(b, 0, free, min(left, benchTurn))
		p.turn(b, 1, limited, min(left, benchTurn))
	}
	off, on := float64(p.done[0])/p.spent[0].Seconds(), float64(p.done[1])/p.spent[1].Seconds()
	b.ReportMetric(off, "off/s")
	b.ReportMetric(on, "on/s")
	b.ReportMetric(on/off, "on/off")
	b.ReportMetric(0, "ns/op")
}

// pair is two servers on the same lanes, of which the second one has limits and
// credits.
type pair struct {
	*world
	account uuid.UUID
	urls    [2]string
	paths   []string
	client  *http.Client
	spent   [2]time.Duration
	done    [2]int
}

func newPair(b *testing.B) *pair {
	b.Helper()
	p := &pair{world: newWorld(), account: uuid.New(), client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: benchClients},
	}}
	redis := lanetest.Start(b, true)
	lanes := lane.New(redis.Client(b), lane.Config{
		Counts: contact.LaneCounts{Contact: 32, Address: 8}, Limit: 1 << 30, Share: 1,
	})
	appender := lane.NewAppender(lanes, lane.AppenderConfig{
		Ring: func(context.Context, contact.Lane, int64) error { return nil },
	})
	limits := limit.New(redis.Client(b), limit.Config{Book: &books{}})
	b.Cleanup(func() {
		p.client.CloseIdleConnections()
		for _, end := range []func(context.Context) error{appender.Close, limits.Close} {
			if err := end(context.WithoutCancel(b.Context())); err != nil {
				b.Error(err)
			}
		}
	})
	if err := limits.SetBalance(b.Context(), contact.Balance{Account: p.account, Left: 1 << 40}); err != nil {
		b.Fatal(err)
	}
	for i, l := range []limiter{freely{}, limits} {
		s, err := New(Options{
			Lanes:    contact.LaneCounts{Contact: 32, Address: 8},
			Contacts: p, Ledger: p, Failed: p, Keys: keyTruth{p.world}, Mirror: keyCopy{p.world},
			Settings: lawBook{p.world}, SettingsEditor: lawBook{p.world}, SettingsMirror: lawCopy{p.world},
			Tokens: newTokens(b, token.Config{}), Appender: appender, Lane: lanes, Replies: p, Limits: l,
			Ready:      func(context.Context) Readiness { return Readiness{} },
			Logger:     slog.New(slog.NewJSONHandler(io.Discard, nil)),
			Registerer: prometheus.NewRegistry(),
		})
		if err != nil {
			b.Fatal(err)
		}
		server := httptest.NewServer(s.Handler())
		b.Cleanup(func() { server.Close(); s.Close() })
		p.urls[i] = server.URL
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

// turn sends n writes to one side.
func (p *pair) turn(b *testing.B, side int, key string, n int) {
	b.Helper()
	started := time.Now()
	var next atomic.Int64
	var callers sync.WaitGroup
	for range benchClients {
		callers.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				if err := p.patch(b.Context(), p.urls[side]+p.paths[i%len(p.paths)], key, i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	callers.Wait()
	p.spent[side] += time.Since(started)
	p.done[side] += n
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
