package main

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"

	"patchlane/api"
	"patchlane/api/console"
	"patchlane/store"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
)

// consoleGate is /ops of the ops listener. Until the console is built, and in a
// process that is no API, it says so.
type consoleGate struct {
	// api says that a console is to come.
	api  bool
	real atomic.Pointer[console.Console]
}

// ServeHTTP forwards, or says where the console is.
func (g *consoleGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch c := g.real.Load(); {
	case c != nil:
		c.ServeHTTP(w, r)
	case g.api:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "The process is starting.", http.StatusServiceUnavailable)
	default:
		http.Error(w, "The console is on the ops listener of a patchlane api (or dev), not of a worker.", http.StatusNotFound)
	}
}

// open builds the console of an API process and returns what ends it.
func (g *consoleGate) open(
	cfg *config, db *store.Store, lanes *lane.Lanes, server *api.Server, counts contact.LaneCounts,
	ready func(context.Context) api.Readiness, logger *slog.Logger,
) (end func(context.Context) error, err error) {
	c, err := console.New(console.Options{
		Token: cfg.OpsToken, Lanes: consoleLanes{lanes}, Failures: db, Ledger: db, Optouts: db, Book: db, API: server,
		LaneCount: counts.Contact, Ready: ready, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	g.real.Store(c)
	return func(context.Context) error { c.Close(); return nil }, nil
}

// consoleLanes shows the lanes to the console.
type consoleLanes struct{ *lane.Lanes }

// Stats describes every lane.
func (l consoleLanes) Stats(ctx context.Context) ([]console.Lane, error) {
	stats, err := l.Lanes.Stats(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]console.Lane, len(stats))
	for i, s := range stats {
		list[i] = console.Lane{
			Lane: s.Lane, Depth: s.Depth, Aside: s.Aside, Oldest: s.Oldest, Owner: s.Owner, Paused: s.Paused,
		}
	}
	return list, nil
}
