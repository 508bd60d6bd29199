package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"patchlane/api"
)

// probeTimeout bounds one question to a server of a readiness probe.
const probeTimeout = time.Second

// health answers whether work should be sent to this process.
type health struct {
	postgres func(context.Context) error
	redis    func(context.Context) error
	queue    *durability
	// started: everything is wired. stopping: a stop has begun.
	started, stopping atomic.Bool
}

// ready asks both servers at the same time. The answer names the one that is
// away, and never why: it is public.
func (h *health) ready(ctx context.Context) api.Readiness {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	r := api.Readiness{Durable: h.queue.durable(), Redis: "ok", Postgres: "ok"}
	var wg sync.WaitGroup
	wg.Go(func() {
		if h.postgres(ctx) != nil {
			r.Postgres = "away"
		}
	})
	wg.Go(func() {
		if h.redis(ctx) != nil {
			r.Redis = "away"
		}
	})
	wg.Wait()
	serving := h.started.Load() && !h.stopping.Load()
	r.Reads = serving && r.Postgres == "ok"
	r.Writes = serving && r.Redis == "ok" && h.queue.usable()
	r.Ready = r.Reads && r.Writes
	return r
}

// ServeHTTP answers /readyz, for everything or for a purpose.
func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found := h.ready(r.Context())
	ready, known := found.For(r.URL.Query().Get("for"))
	status := http.StatusOK
	switch {
	case !known:
		status = http.StatusBadRequest
	case !ready:
		status = http.StatusServiceUnavailable
	}
	answer(w, status, found)
}

// live answers /livez: the process runs, whatever is away.
func live(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]bool{"alive": true})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that went away is no concern of a probe.
	_ = json.NewEncoder(w).Encode(body)
}

// opsHandler is what the ops listener serves: for operators, not for clients.
func opsHandler(h *health, metrics prometheus.Gatherer, ops http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", live)
	mux.Handle("GET /readyz", h)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		// One collector that cannot reach its server costs its own figures only.
		ErrorHandling: promhttp.ContinueOnError,
		Timeout:       10 * time.Second,
		// Exemplars exist in this form alone; a scraper asks for the one it reads.
		EnableOpenMetrics: true,
	}))
	mux.Handle("/ops", ops)
	mux.Handle("/ops/", ops)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", http.NotFound) // The command line may hold a password.
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// gate is the public surface. Until the real one is built it says that the
// process lives and is not ready; the port is open from the first moment on.
type gate struct {
	health *health
	real   atomic.Pointer[http.Handler]
}

// open puts the real surface behind the gate.
func (g *gate) open(h http.Handler) { g.real.Store(&h) }

// ServeHTTP forwards, or answers for a process that is still starting.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := g.real.Load(); h != nil {
		if g.health.stopping.Load() {
			// The client's next request goes to another replica.
			w.Header().Set("Connection", "close")
		}
		(*h).ServeHTTP(w, r)
		return
	}
	switch r.URL.Path {
	case "/livez":
		live(w, r)
	case "/readyz":
		g.health.ServeHTTP(w, r)
	default:
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(startingProblem))
	}
}

// startingProblem is the answer to every request before the lanes are known.
const startingProblem = `{"type":"about:blank","title":"Service Unavailable","status":503,"code":"store_unavailable",` +
	`"detail":"The service is starting: it does not know its lanes yet.","fix":"Send the same request again after the time in Retry-After.","errors":[]}` + "\n"
