package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTeardownRunsTheLastStepFirstAndNamesFailures(t *testing.T) {
	t.Parallel()
	var ran []string
	broken := errors.New("broken")
	td := &teardown{logger: slog.New(slog.DiscardHandler), timeout: time.Minute}
	for _, name := range []string{"postgres", "redis", "http listener"} {
		td.add(name, func(context.Context) error {
			ran = append(ran, name)
			if name == "redis" {
				return broken
			}
			return nil
		})
	}
	ended, end := context.WithCancel(t.Context())
	end()
	first, second := td.run(ended), td.run(ended)
	if !slices.Equal(ran, []string{"http listener", "redis", "postgres"}) {
		t.Errorf("ran %v", ran)
	}
	if !errors.Is(first, broken) || !strings.Contains(first.Error(), "stop redis: broken") || !errors.Is(second, broken) {
		t.Errorf("first %v, second %v", first, second)
	}
}

func TestTeardownLeavesAStepThatHangsBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		td := &teardown{logger: slog.New(slog.DiscardHandler), timeout: 30 * time.Second}
		closed, release := false, make(chan struct{})
		td.add("postgres", closing(func() error { closed = true; return nil }))
		td.add("worker", func(context.Context) error { <-release; return nil })
		began := time.Now()
		err := td.run(t.Context())
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("took %s", took)
		}
		if !closed || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stop worker: not done within 30s") {
			t.Errorf("closed %v, err %v", closed, err)
		}
		close(release)
	})
}

func TestBackOffGrowsAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := backOff{wait: time.Second, most: 3 * time.Second}
		for _, want := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
			began := time.Now()
			if !b.pause(ctx) || time.Since(began) != want {
				t.Errorf("paused %s, want %s", time.Since(began), want)
			}
		}
		cancel()
		if b.pause(ctx) {
			t.Error("paused although the context is over")
		}
	})
}
