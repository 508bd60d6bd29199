package api

import (
	"context"
	"sync"
	"time"
)

// gatherer turns look-ups that many requests make at once into few round
// trips: while one is under way, further keys are collected for the next, so
// that an idle process adds no delay and a busy one asks for many at a time.
type gatherer[K comparable, V any] struct {
	// load answers for keys; a key that is missing in its answer gets the zero
	// value.
	load func(ctx context.Context, keys []K) (map[K]V, error)
	// timeout bounds one round trip, most the keys in it.
	timeout time.Duration
	most    int

	mu      sync.Mutex
	waiting map[K][]chan<- gathered[V]
	running bool
}

type gathered[V any] struct {
	value V
	err   error
}

// get asks for one key.
func (g *gatherer[K, V]) get(ctx context.Context, key K) (V, error) {
	values, err := g.all(ctx, []K{key})
	if err != nil {
		var none V
		return none, err
	}
	return values[0], nil
}

// all asks for several keys and answers in their order.
func (g *gatherer[K, V]) all(ctx context.Context, keys []K) ([]V, error) {
	answers := make([]chan gathered[V], len(keys))
	g.mu.Lock()
	if g.waiting == nil {
		g.waiting = make(map[K][]chan<- gathered[V])
	}
	for i, key := range keys {
		answers[i] = make(chan gathered[V], 1)
		g.waiting[key] = append(g.waiting[key], answers[i])
	}
	start := !g.running && len(keys) > 0
	g.running = g.running || start
	g.mu.Unlock()
	if start {
		// The round trips serve other requests too, so they do not end with
		// this one; each has its own deadline.
		go g.run(context.WithoutCancel(ctx))
	}
	values := make([]V, len(keys))
	for i := range answers {
		select {
		case a := <-answers[i]:
			if a.err != nil {
				return nil, a.err
			}
			values[i] = a.value
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return values, nil
}

// run makes round trips until nobody waits.
func (g *gatherer[K, V]) run(ctx context.Context) {
	for {
		keys, waiting := g.take()
		if len(keys) == 0 {
			return
		}
		values, err := g.trip(ctx, keys)
		for i, key := range keys {
			for _, answer := range waiting[i] {
				answer <- gathered[V]{values[key], err}
			}
		}
	}
}

// take takes what waits, up to the most of one round trip, and notes in the
// same breath when nothing does.
func (g *gatherer[K, V]) take() (keys []K, waiting [][]chan<- gathered[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, answers := range g.waiting {
		if len(keys) == g.most {
			break
		}
		keys, waiting = append(keys, key), append(waiting, answers)
		delete(g.waiting, key)
	}
	g.running = len(keys) > 0
	return keys, waiting
}

func (g *gatherer[K, V]) trip(ctx context.Context, keys []K) (map[K]V, error) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	return g.load(ctx, keys)
}
