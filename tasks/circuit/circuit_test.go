package circuit_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"patchlane/tasks/circuit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errCut  = errors.New("connection cut")
	errSaid = errors.New("the server says no")
)

// server is one that can be away.
type server struct {
	away   atomic.Bool
	hangs  atomic.Bool
	probes atomic.Int64
	back   atomic.Int64
}

func (s *server) probe(ctx context.Context) error {
	s.probes.Add(1)
	if s.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if s.away.Load() {
		return errCut
	}
	return nil
}

func (s *server) circuit(tb testing.TB, reg prometheus.Registerer) *circuit.Circuit {
	tb.Helper()
	c := circuit.New(circuit.Config{
		Server: "test", Probe: s.probe, Registerer: reg,
		Answered: func(err error) bool { return errors.Is(err, errSaid) },
		Back:     func() { s.back.Add(1) },
	})
	tb.Cleanup(c.Close)
	return c
}

func cut() error { return errCut }

// One failed call of a server that answers opens nothing; errors that are answers
// do not even raise a doubt.
func TestDoubtIsNotOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		c := s.circuit(t, nil)
		if err := c.Do(func() error { return errSaid }); !errors.Is(err, errSaid) {
			t.Errorf("said: %v", err)
		}
		synctest.Wait()
		if n := s.probes.Load(); n != 0 {
			t.Errorf("%d probes after an answer", n)
		}
		if err := c.Do(cut); !errors.Is(err, errCut) {
			t.Errorf("cut: %v", err)
		}
		synctest.Wait()
		if n := s.probes.Load(); n != 1 || c.Open() {
			t.Errorf("%d probes, open %t", n, c.Open())
		}
		c.Close()
	})
}

// A server that is away refuses at once, is asked by one probe at a time, and is
// believed again within two pauses.
func TestAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		reg := prometheus.NewRegistry()
		c := s.circuit(t, reg)
		s.away.Store(true)
		_ = c.Do(cut)
		synctest.Wait()
		ran := false
		for range 100 {
			if err := c.Do(func() error { ran = true; return nil }); !errors.Is(err, circuit.ErrOpen) {
				t.Fatalf("open circuit: %v", err)
			}
		}
		if ran {
			t.Error("a call ran through an open circuit")
		}
		<-time.After(10 * time.Second)
		if n := s.probes.Load(); n < 60 || n > 201 {
			t.Errorf("%d probes in 10 s, want one each 50 to 150 ms", n)
		}
		s.away.Store(false)
		<-time.After(150 * time.Millisecond)
		synctest.Wait()
		if err := c.Do(func() error { return nil }); err != nil || s.back.Load() != 1 {
			t.Errorf("after the return: %v, called back %d times", err, s.back.Load())
		}
		if n, err := testutil.GatherAndCount(reg); err != nil || n != 3 {
			t.Errorf("%d metrics: %v", n, err)
		}
		c.Close()
	})
}

// A call that hangs makes the server doubted before its own deadline; while the
// probe has no answer the others are refused.
func TestHung(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		c := s.circuit(t, nil)
		s.hangs.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() { _ = c.Do(func() error { <-ctx.Done(); return nil }) }()
		<-time.After(1500*time.Millisecond + time.Nanosecond)
		synctest.Wait()
		if !c.Open() {
			t.Error("closed 1.5 s after a call began to hang")
		}
		// The server is gone when the process is: closing ends the probe under way.
		c.Close()
		if err := c.Do(cut); !errors.Is(err, circuit.ErrOpen) {
			t.Errorf("after Close: %v", err)
		}
		cancel()
		synctest.Wait()
	})
}

// A slow statement of a server that answers probes opens nothing.
func TestSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		c := s.circuit(t, nil)
		err := c.Do(func() error {
			<-time.After(3 * time.Second)
			return nil
		})
		if err != nil || s.probes.Load() != 1 || c.Open() {
			t.Errorf("slow call: %v, %d probes, open %t", err, s.probes.Load(), c.Open())
		}
		c.Close()
	})
}
