package api

import (
	"context"
	"fmt"
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

// BenchmarkAcceptWithLimits compares accepting with limits and credits, both on
// one key, against accepting the same writes with neither, by turns in one run: the
// whole handler and a Redis that fsyncs every answer. What it reports as on/off is
// the part of the throughput that is left.
func BenchmarkAcceptWithLimits(b *testing.B) {
	const free, limited = "tp_live_free_0123456789", "tp_live_0123456789abcdef"
	const clients = 256
	servers, w, limits := benchServers(b)
	account := uuid.New()
	if err := limits.SetBalance(b.Context(), contact.Balance{Account: account, Left: 1 << 40}); err != nil {
		b.Fatal(err)
	}
	w.addKey(free, contact.Key{Account: account, Dialect: "trustpager", Scopes: contact.Scopes()})
	w.addKey(limited, contact.Key{
		Account: account, Dialect: "trustpager", Scopes: contact.Scopes(), PerMinute: 1 << 30, PerDay: 1 << 30,
	})
	paths := make([]string, 1000)
	for i := range paths {
		ref := contact.Ref{Account: account, ID: uuid.New()}
		w.contacts[ref] = &contact.Contact{Ref: ref, Version: 1}
		paths[i] = "/v1/contacts/" + ref.ID.String()
	}
	var spent [2]time.Duration
	var done [2]int
	run := func(side int, key string, n int) {
		started := time.Now()
		var next atomic.Int64
		var callers sync.WaitGroup
		for range clients {
			callers.Go(func() {
				for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
					accept(b, servers[side], key, paths[i%len(paths)], i)
				}
			})
		}
		callers.Wait()
		spent[side] += time.Since(started)
		done[side] += n
	}
	run(0, free, clients)
	run(1, limited, clients)
	spent, done = [2]time.Duration{}, [2]int{}
	const turn = 5000
	b.ResetTimer()
	for left := b.N; left > 0; left -= turn {
		run(0, free, min(left, turn))
		run(1, limited, min(left, turn))
	}
	off, on := float64(done[0])/spent[0].Seconds(), float64(done[1])/spent[1].Seconds()
	b.ReportMetric(off, "off/s")
	b.ReportMetric(on, "on/s")
	b.ReportMetric(on/off, "on/off")
	b.ReportMetric(0, "ns/op")
}

// accept sends one write that must be accepted.
func accept(b *testing.B, h http.Handler, key, path string, n int) {
	b.Helper()
	r := httptest.NewRequest(http.MethodPatch, path, strings.NewReader(fmt.Sprintf(`{"first_name":"Ada %d"}`, n)))
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Prefer", "respond-async")
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusAccepted {
		b.Errorf("%d %s", w.Code, w.Body)
	}
}

// benchServers makes two handlers on the same lanes, of which the second one has
// limits and credits.
func benchServers(b *testing.B) (handlers [2]http.Handler, w *world, limits *limit.Limiter) {
	b.Helper()
	w = newWorld()
	redis := lanetest.Start(b, true)
	lanes := lane.New(redis.Client(b), lane.Config{
		Counts: contact.LaneCounts{Contact: 32, Address: 8}, Limit: 1 << 30, Share: 1,
	})
	appender := lane.NewAppender(lanes, lane.AppenderConfig{
		Ring: func(context.Context, contact.Lane, int64) error { return nil },
	})
	limits = limit.New(redis.Client(b), limit.Config{Book: &books{rows: map[uuid.UUID]contact.Balance{}}})
	b.Cleanup(func() {
		for _, end := range []func(context.Context) error{appender.Close, limits.Close} {
			if err := end(context.WithoutCancel(b.Context())); err != nil {
				b.Error(err)
			}
		}
	})
	for i, l := range []limiter{freely{}, limits} {
		server, err := New(Options{
			Lanes:    contact.LaneCounts{Contact: 32, Address: 8},
			Contacts: w, Ledger: w, Failed: w, Keys: keyTruth{w}, Mirror: keyCopy{w},
			Settings: lawBook{w}, SettingsEditor: lawBook{w}, SettingsMirror: lawCopy{w},
			Tokens:   newTokens(b, token.Config{}),
			Appender: appender, Lane: lanes, Replies: w, Limits: l,
			Ready:      func(context.Context) Readiness { return Readiness{} },
			Logger:     slog.New(slog.NewJSONHandler(&syncBuffer{}, nil)),
			Registerer: prometheus.NewRegistry(),
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(server.Close)
		handlers[i] = server.Handler()
	}
	return handlers, w, limits
}
