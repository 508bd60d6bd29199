package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// teardown ends a process: named steps, the last one added first. Each step has
// a time of its own, so that one that hangs costs no other its turn.
type teardown struct {
	logger  *slog.Logger
	timeout time.Duration

	mu    sync.Mutex
	steps []step
	once  sync.Once
	err   error
}

// step is one part of a stop.
type step struct {
	name string
	stop func(context.Context) error
}

// add puts a step before all earlier ones.
func (t *teardown) add(name string, stop func(context.Context) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps = append(t.steps, step{name, stop})
}

// run runs every step once and returns the errors of all, each with the name of
// its step. Another call waits for the first one and returns the same. The end
// of ctx does not cut it short: it is the reason for the stop.
func (t *teardown) run(ctx context.Context) error {
	t.once.Do(func() {
		t.mu.Lock()
		steps := t.steps
		t.mu.Unlock()
		var problems []error
		for _, s := range slices.Backward(steps) {
			problems = append(problems, t.runStep(context.WithoutCancel(ctx), s))
		}
		t.err = errors.Join(problems...)
	})
	return t.err
}

// runStep runs one step within its time. A step that does not listen to its
// context is left behind: the process is about to end.
func (t *teardown) runStep(ctx context.Context, s step) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- s.stop(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = fmt.Errorf("not done within %s: %w", t.timeout, ctx.Err())
	}
	if err != nil {
		t.logger.ErrorContext(ctx, "stop step failed", "step", s.name, "took", time.Since(began), "err", err)
		return fmt.Errorf("stop %s: %w", s.name, err)
	}
	t.logger.DebugContext(ctx, "stop step done", "step", s.name, "took", time.Since(began))
	return nil
}

// closing makes a step of a Close that takes no context.
func closing(closer func() error) func(context.Context) error {
	return func(context.Context) error { return closer() }
}

// backOff waits between tries, longer each time, and is over with its context.
type backOff struct {
	wait, most time.Duration
}

// pause waits; false: ctx is over.
func (b *backOff) pause(ctx context.Context) bool {
	timer := time.NewTimer(b.wait)
	defer timer.Stop()
	b.wait = min(2*b.wait, b.most)
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
