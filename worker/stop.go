package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hibiken/asynq"
)

// inflight counts what runs and refuses more once it was closed. A plain
// WaitGroup cannot: asynq may start a handler that it has given up already.
type inflight struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

func (f *inflight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.wg.Add(1)
	return true
}

// do runs a function here, unless closed.
func (f *inflight) do(fn func()) {
	if f.enter() {
		defer f.wg.Done()
		fn()
	}
}

// run runs a function in a goroutine of its own, unless closed.
func (f *inflight) run(fn func()) {
	if f.enter() {
		go func() {
			defer f.wg.Done()
			fn()
		}()
	}
}

// close refuses everything new and waits for the rest.
func (f *inflight) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.wg.Wait()
}

// servers are the asynq servers of a worker, one a queue.
type servers []*asynq.Server

// start starts all; those that were started before one fails are shut down by
// Stop like the others.
func (s servers) start(h asynq.Handler) error {
	for _, server := range s {
		if err := server.Start(h); err != nil {
			return fmt.Errorf("start asynq: %w", err)
		}
	}
	return nil
}

// stop ends the fetching of tasks.
func (s servers) stop() { s.each((*asynq.Server).Stop) }

// shutdown waits for the handlers and closes the connections.
func (s servers) shutdown() { s.each((*asynq.Server).Shutdown) }

func (s servers) each(do func(*asynq.Server)) {
	var all sync.WaitGroup
	for _, server := range s {
		all.Go(func() { do(server) })
	}
	all.Wait()
}

// background runs a function that knows no context and returns a channel that
// is closed when it ends.
func background(fn func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	return done
}

// lastChance is what a step of Stop gets when the time was used up by others,
// so that only those are named that do hang.
const lastChance = 100 * time.Millisecond

// await waits for a step of Stop and names it when it takes too long.
func await(ctx context.Context, step string, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	t := time.NewTimer(lastChance)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-t.C:
		return fmt.Errorf("stop worker: %s: %w", step, ctx.Err())
	}
}

// awaitFor waits at most d.
func awaitFor(ctx context.Context, done <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	case <-ctx.Done():
	}
}
