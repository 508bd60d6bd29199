package main

import (
	"context"
	"fmt"
)

// connections is how many of them the ways without order use at once.
const connections = 16

// direct is the plain transaction without a queue: the caller waits for each.
// With one connection the writes stay in order.
func direct(count int) runner {
	return func(ctx context.Context, e environment, w workload) error {
		p, err := openPlain(e.database, count)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		defer p.close()
		return w.produce(count, func(u update) error { return p.apply(ctx, &u) })
	}
}

// directMixed hands neighbouring writes to whichever connection is free, as a
// pool of request handlers does.
func directMixed(ctx context.Context, e environment, w workload) error {
	p, err := openPlain(e.database, connections)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer p.close()
	queue := make(chan update)
	done := make(chan error, connections)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range connections {
		go func() {
			var err error
			for u := range queue {
				if err == nil {
					err = p.apply(ctx, &u)
				}
			}
			done <- err
		}()
	}
	for u := range w.share(0, 1) {
		queue <- u
	}
	close(queue)
	for range connections {
		if e := <-done; e != nil {
			err = e
		}
	}
	return err
}
