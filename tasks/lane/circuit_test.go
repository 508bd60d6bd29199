package lane_test

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/circuit"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
	"patchlane/tasks/lane/lanetest"
)

// TestRedisStopped stops a Redis as a hung machine would: the calls under way fail
// with their deadlines, those that follow at once, and after SIGCONT they succeed.
func TestRedisStopped(t *testing.T) {
	t.Parallel()
	server := lanetest.Start(t, false)
	c := guarded(t, server.Client(t))
	ping := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return c.Ping(ctx).Err()
	}
	if err := ping(); err != nil {
		t.Fatal(err)
	}
	server.Signal(syscall.SIGSTOP)
	var first sync.WaitGroup
	for range 20 {
		first.Go(func() {
			if err := ping(); err == nil {
				t.Error("a stopped server answered")
			}
		})
	}
	first.Wait()
	began := time.Now()
	for range 1000 {
		if err := ping(); !errors.Is(err, circuit.ErrOpen) {
			t.Fatalf("after the first: %v", err)
		}
		pipe := c.Pipeline()
		cmd := pipe.Get(t.Context(), "k")
		if _, err := pipe.Exec(t.Context()); !errors.Is(err, circuit.ErrOpen) || !errors.Is(cmd.Err(), circuit.ErrOpen) {
			t.Fatalf("pipeline: %v, %v", err, cmd.Err())
		}
	}
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("1,000 refusals took %s", took)
	}
	server.Signal(syscall.SIGCONT)
	began = time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ping() != nil {
		if time.Since(began) > 2*time.Second {
			t.Fatal("not answered within 2 s of the server's return")
		}
		<-tick.C
	}
	t.Logf("answered %s after the server's return", time.Since(began).Round(time.Millisecond))
}

// guarded puts circuits before a client.
func guarded(t *testing.T, c *redis.Client) *redis.Client {
	t.Helper()
	circuits := lane.Guard(c, circuit.Config{Server: "redis"})
	t.Cleanup(circuits.Close)
	return c
}

// A Redis that hangs costs the appends that it met 2 s, and those that follow
// nothing; what was refused was not written, and what was unknown stands once at
// most.
func TestAppendToHungRedis(t *testing.T) {
	t.Parallel()
	server := lanetest.Start(t, true)
	b := setupOn(t, guarded(t, server.Client(t)))
	a := b.appender(t)
	mustAppend(t, a, write(t, b))
	server.Signal(syscall.SIGSTOP)
	var hung sync.WaitGroup
	began := time.Now()
	for range 50 {
		w := write(t, b)
		hung.Go(func() {
			if _, err := a.Append(t.Context(), w); contact.CodeOf(err) != contact.CodeQueueUnavailable {
				t.Errorf("append: %v", err)
			}
		})
	}
	hung.Wait()
	took := time.Since(began)
	t.Logf("given up after %s", took.Round(time.Millisecond))
	if took > 2500*time.Millisecond {
		t.Errorf("given up after %s, want 2 s", took)
	}
	refused := map[uuid.UUID]bool{}
	began = time.Now()
	for range 1000 {
		w := write(t, b)
		_, err := a.Append(t.Context(), w)
		if contact.CodeOf(err) != contact.CodeQueueUnavailable || !errors.Is(err, circuit.ErrOpen) {
			t.Fatalf("append to an open circuit: %v", err)
		}
		refused[w.ID] = true
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("1,000 refusals took %s", took)
	}
	server.Signal(syscall.SIGCONT)
	began = time.Now()
	var last *contact.Write
	eventually(t, "appended after the return", 2*time.Second, func() bool {
		last = write(t, b)
		_, err := a.Append(t.Context(), last)
		refused[last.ID] = err != nil
		return err == nil
	})
	t.Logf("appended %s after the return", time.Since(began).Round(time.Millisecond))
	for _, e := range b.all(t) {
		if refused[e.ID] {
			t.Fatalf("write %s was refused as not written and stands", e.ID)
		}
	}
}
