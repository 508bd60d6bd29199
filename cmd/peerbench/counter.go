package main

import (
	"context"
	"fmt"
	"sync/atomic"
)

// counter waits until so many writes were applied. It is safe for concurrent
// use.
type counter struct {
	left atomic.Int64
	done chan struct{}
}

func newCounter(writes int) *counter {
	c := &counter{done: make(chan struct{})}
	c.left.Store(int64(writes))
	return c
}

// add counts one applied write.
func (c *counter) add() {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// wait returns when all of them were.
func (c *counter) wait(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("await the last %d writes: %w", c.left.Load(), context.Cause(ctx))
	}
}
