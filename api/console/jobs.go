package console

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"patchlane/api"
)

// keptJobs is how many replays that ended are remembered.
const keptJobs = 20

var (
	errBusy   = badInput("A replay is under way. Wait until it has ended, or stop it.")
	errClosed = errors.New("the console is closed")
)

// job is one replay that was started here.
type job struct {
	ID uuid.UUID
	// What is what was picked, By who started it.
	What, By string
	Force    bool
	Rate     float64
	Started  time.Time
	// Total is how many writes were picked at the start.
	Total int

	cancel context.CancelFunc
	mu     sync.Mutex
	done   api.ReplayProgress
	ended  time.Time
	err    error
}

// jobView is a job at one moment.
type jobView struct {
	*job
	Done    api.ReplayProgress
	Ended   time.Time
	Stopped bool
	Problem string
}

func (j *job) progress(p api.ReplayProgress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done = p
}

func (j *job) view() jobView {
	j.mu.Lock()
	defer j.mu.Unlock()
	v := jobView{job: j, Done: j.done, Ended: j.ended, Stopped: errors.Is(j.err, context.Canceled)}
	if j.err != nil && !v.Stopped {
		v.Problem = "It gave up because something did not answer. Start it again to go on."
	}
	return v
}

// Running tells whether the replay is under way.
func (v jobView) Running() bool { return v.Ended.IsZero() }

// Took is how long it has run.
func (v jobView) Took(now time.Time) time.Duration {
	if v.Running() {
		return now.Sub(v.Started)
	}
	return v.Ended.Sub(v.Started)
}

// jobs are the replays of this process: one at a time, since two would contend
// for the same writes.
type jobs struct {
	mu     sync.Mutex
	list   []*job
	closed bool
	wg     sync.WaitGroup
}

func newJobs() *jobs { return &jobs{} }

// start runs a job. It goes on when the request that asked for it has ended.
func (s *jobs) start(ctx context.Context, j *job, run func(context.Context) (api.ReplayProgress, error), now func() time.Time, ended func(jobView)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if slices.ContainsFunc(s.list, func(j *job) bool { return j.view().Running() }) {
		return errBusy
	}
	ctx, j.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.list = append(s.list, j)
	s.list = s.list[max(0, len(s.list)-keptJobs):]
	s.wg.Go(func() {
		defer j.cancel()
		done, err := run(ctx)
		j.mu.Lock()
		j.done, j.err, j.ended = done, err, now()
		j.mu.Unlock()
		ended(j.view())
	})
	return nil
}

// find returns a job; nil: it is not of this process, or too old.
func (s *jobs) find(id uuid.UUID) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.list {
		if j.ID == id {
			return j
		}
	}
	return nil
}

// newest lists the jobs, the newest first.
func (s *jobs) newest() []jobView {
	s.mu.Lock()
	defer s.mu.Unlock()
	views := make([]jobView, 0, len(s.list))
	for _, j := range slices.Backward(s.list) {
		views = append(views, j.view())
	}
	return views
}

func (s *jobs) close() {
	s.mu.Lock()
	s.closed = true
	for _, j := range s.list {
		j.cancel()
	}
	s.mu.Unlock()
	s.wg.Wait()
}
