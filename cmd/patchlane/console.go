package main

import (
	"context"
	"net/http"
	"sync/atomic"

	"patchlane/api/console"
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

// open builds the console of an API process and returns what ends it. One that
// cannot be built is no reason to accept no writes.
func (g *consoleGate) open(ctx context.Context, o console.Options) (end func(context.Context) error) {
	c, err := console.New(o)
	if err != nil {
		o.Logger.ErrorContext(ctx, "there is no console", "err", err)
		return func(context.Context) error { return nil }
	}
	g.real.Store(c)
	return func(context.Context) error { c.Close(); return nil }
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
