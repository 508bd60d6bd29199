// Package lanetest gives each test a real Redis of its own, and a proxy that
// cuts the connection to it at the worst moment. It is for tests only.
package lanetest

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"patchlane/deploy/local"
	"patchlane/tasks/lane"
)

// startTime bounds the start of a server on a busy machine.
const startTime = 30 * time.Second

// Server is a redis-server that belongs to one test and ends with it.
type Server struct {
	tb    testing.TB
	redis *local.Redis
}

// New starts a server that keeps nothing on disk and returns a client for it
// with the options of lane.Tune. Both end with the test.
func New(tb testing.TB) *redis.Client {
	tb.Helper()
	return Start(tb, false).Client(tb)
}

// Start starts a server. A durable one has on disk what it answered.
func Start(tb testing.TB, durable bool) *Server {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTime)
	defer cancel()
	r, err := local.StartRedis(ctx, local.RedisOptions{Durable: durable, NoStandIn: true})
	if err != nil {
		tb.Fatalf("start redis: %v", err)
	}
	tb.Cleanup(func() {
		if err := r.Stop(); err != nil {
			tb.Errorf("stop redis: %v", err)
		}
	})
	return &Server{tb: tb, redis: r}
}

// Addr returns host:port.
func (s *Server) Addr() string { return s.redis.Addr() }

// URL returns a redis:// URL.
func (s *Server) URL() string { return s.redis.URL() }

// Client returns a client of the server with the options of lane.Tune.
func (s *Server) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	return Dial(tb, s.Addr())
}

// Kill ends the server with SIGKILL and waits until it is gone.
func (s *Server) Kill() {
	s.tb.Helper()
	s.Signal(syscall.SIGKILL)
	<-s.redis.Done()
}

// Signal sends a signal to the server: SIGSTOP makes it hang until SIGCONT.
func (s *Server) Signal(sig syscall.Signal) {
	s.tb.Helper()
	p, err := os.FindProcess(s.redis.PID())
	if err != nil {
		s.tb.Fatalf("find redis: %v", err)
	}
	if err := p.Signal(sig); err != nil {
		s.tb.Fatalf("signal redis: %v", err)
	}
}

// Restart starts a killed server again, on the same port and files.
func (s *Server) Restart() {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), startTime)
	defer cancel()
	if err := s.redis.Restart(ctx); err != nil {
		s.tb.Fatalf("restart redis: %v", err)
	}
}

// patience is longer than any machine is busy.
const patience = time.Minute

// Dial returns a client of an address with the options of lane.Tune.
func Dial(tb testing.TB, addr string) *redis.Client {
	tb.Helper()
	o := redis.UniversalOptions{Addrs: []string{addr}}
	lane.Tune(&o)
	return dial(tb, &o)
}

// DialPatiently returns a client that takes no slow server for one that is away: for
// tests of what is exact, on a machine that may be busy.
func DialPatiently(tb testing.TB, addr string) *redis.Client {
	tb.Helper()
	o := redis.UniversalOptions{Addrs: []string{addr}}
	lane.Tune(&o)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = patience, patience, patience
	return dial(tb, &o)
}

func dial(tb testing.TB, o *redis.UniversalOptions) *redis.Client {
	tb.Helper()
	c := redis.NewClient(o.Simple())
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Errorf("close redis client: %v", err)
		}
	})
	return c
}
