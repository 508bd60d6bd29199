package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
)

func TestNewNamesEverythingThatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := New(Options{BatchSize: -1})
	if err == nil {
		t.Fatal("made a worker of nothing")
	}
	for _, want := range []string{"Lanes", "Store", "Publish", "Sweeper", "Offsets", "Ring", "Redis", "Logger", "negative"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

func TestTwoWorkersLiveInOneProcess(t *testing.T) {
	t.Parallel()
	newFakes(0).worker(t)
	newFakes(0).worker(t)
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestWorkerStaysUpWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	f := newFakes(0)
	o := f.options()
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(t.Context()); err != nil {
		t.Fatalf("start without redis: %v", err)
	}
	elapse(t.Context(), 1500*time.Millisecond)
	if len(f.times("sweep")) < 2 {
		t.Error("the sweep does not go on")
	}
	began := time.Now()
	if err := w.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("stop took %s", took)
	}
	if n := strings.Count(log.String(), "asynq"); n > 4 {
		t.Errorf("asynq wrote %d lines in two seconds:\n%s", n, log.String())
	}
}

func TestStopIsIdempotent(t *testing.T) {
	t.Parallel()
	w := newFakes(0).worker(t)
	for range 2 {
		if err := w.Stop(t.Context()); err != nil {
			t.Errorf("stop of a worker that was not started: %v", err)
		}
	}
	if err := w.Start(t.Context()); err == nil {
		t.Error("started a worker that was stopped")
	}
}

func TestStopNamesTheStepThatHangs(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hanging := make(chan struct{})
	err := await(ctx, "drains in flight", hanging)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "drains in flight") {
		t.Errorf("error %v, want the step", err)
	}
	close(hanging)
	if err := await(ctx, "drains in flight", hanging); err != nil {
		t.Errorf("error %v of a step that had ended", err)
	}
}

func TestInflightRefusesOnceClosed(t *testing.T) {
	t.Parallel()
	var f inflight
	began, end := make(chan struct{}), make(chan struct{})
	f.run(func() { close(began); <-end })
	<-began
	closed := background(f.close)
	close(end)
	<-closed
	f.do(func() { t.Error("ran after the close") })
	f.run(func() { t.Error("ran after the close") })
}

func TestHandlerAlwaysReturnsNil(t *testing.T) {
	t.Parallel()
	f := newFakes(1)
	f.on = failFirst("apply", 1000)
	w := f.worker(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, task := range []*asynq.Task{
		asynq.NewTask("lane:drain", []byte(`{"lane":"c017","generation":1}`)),
		asynq.NewTask("lane:drain", []byte(`{`)),
		asynq.NewTask("another", []byte(`{"lane":"c017","generation":1}`)),
	} {
		if err := w.handler(ctx).ProcessTask(t.Context(), task); err != nil {
			t.Errorf("%s %s: %v", task.Type(), task.Payload(), err)
		}
	}
	if n := count(t, w.metrics.strangers); n != 2 {
		t.Errorf("counted %d strange tasks, want 2", n)
	}
}

func TestAsynqIsThinnedOut(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	l := newAsynqLog(slog.New(slog.NewTextHandler(&log, nil)))
	for range 100 {
		l.Debug("chatter")
		l.Info("chatter")
		l.Warn("task not put away")
		l.Error("Dequeue error: ", errAway)
	}
	l.Fatal("never")
	if got := log.String(); strings.Count(got, "\n") != 3 || strings.Contains(got, "chatter") {
		t.Errorf("wrote:\n%swant one line of each complaint", got)
	}
}
