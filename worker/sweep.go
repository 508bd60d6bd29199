package worker

import (
	"context"
	"time"

	"patchlane/tasks"
	"patchlane/tasks/contact"
)

// sweeper finds lanes that nobody drains, and streams that fell back.
type sweeper interface {
	// Sweep looks at every lane once and returns those with entries and
	// without a drain, each with a generation to ring for. With an error come
	// those that it found before.
	Sweep(ctx context.Context) ([]contact.Stalled, error)
	// Raise lifts the streams whose last id lies behind an offset and returns
	// their lanes. It never lowers a stream and never removes an entry.
	Raise(ctx context.Context, offsets map[contact.Lane]contact.Offset) ([]contact.Lane, error)
}

// unpauser is asynq's inspector.
type unpauser interface {
	// UnpauseQueue returns nil if the queue was paused and is not any more.
	UnpauseQueue(queue string) error
}

const (
	sweepEvery = time.Second
	// guardEvery is how often streams are compared with their offsets. It reads
	// one small table, and a stream falls back only with Redis itself.
	guardEvery = 5 * time.Second
	// sweepStep bounds one look.
	sweepStep = 3 * time.Second
	// overdue is the look at which ringing has proved useless: the queue is
	// paused or asynq is broken.
	overdue = 3
	// maxTakeovers is how many lanes of a kind the sweep drains itself at once.
	// Each costs what a slot costs; beyond that a broken asynq makes lanes take
	// turns.
	maxTakeovers = 8
)

// sweep is the safety net under every ring: it works on Redis alone, and asynq
// may be as broken as it likes.
type sweep struct {
	o        Options
	metrics  *metrics
	drains   *drains
	inflight *inflight
	// slots are those of contact and of address lanes.
	slots map[byte]chan struct{}
	// guarded is when the guard last looked; zero: it is due.
	guarded time.Time
}

func newSweep(o Options, m *metrics, d *drains, f *inflight) *sweep {
	slots := map[byte]chan struct{}{'c': make(chan struct{}, maxTakeovers), 'a': make(chan struct{}, maxTakeovers)}
	return &sweep{o: o, metrics: m, drains: d, inflight: f, slots: slots}
}

// run sweeps each second until ctx ends.
func (s *sweep) run(ctx context.Context) { everySecond(ctx, s.once) }

// watchQueues looks after asynq's queues each second until ctx ends. It is
// apart from the sweep: asynq's inspector takes no deadline, and while Redis
// does not answer it must not keep the lanes waiting too.
func (s *sweep) watchQueues(ctx context.Context, queues unpauser) {
	everySecond(ctx, func(ctx context.Context) { s.unpause(ctx, queues) })
}

func everySecond(ctx context.Context, do func(context.Context)) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		do(ctx)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// once is one look: ring for stalled lanes or drain them, then the guard.
func (s *sweep) once(ctx context.Context) {
	stalled, err := s.look(ctx)
	for _, lane := range stalled {
		s.serve(ctx, lane)
	}
	if err != nil {
		// A stream that comes back after this may have fallen back.
		s.guarded = time.Time{}
		if ctx.Err() == nil {
			s.o.Logger.WarnContext(ctx, "lanes not swept", "err", err)
		}
		return
	}
	s.guard(ctx)
}

func (s *sweep) look(ctx context.Context) ([]contact.Stalled, error) {
	ctx, cancel := context.WithTimeout(ctx, sweepStep)
	defer cancel()
	return s.o.Sweeper.Sweep(ctx)
}

// serve rings for a stalled lane; where ringing did not help it drains.
func (s *sweep) serve(ctx context.Context, l contact.Stalled) {
	s.metrics.finds.Inc()
	s.o.Logger.InfoContext(ctx, "lane stalled",
		"lane", l.Lane.String(), "generation", l.Generation, "looks", l.Looks)
	if l.Looks >= overdue && s.takeOver(ctx, l) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sweepStep)
	defer cancel()
	if err := s.o.Ring(ctx, l.Lane, l.Generation); err != nil {
		s.metrics.unrung.Inc()
		s.o.Logger.WarnContext(ctx, "lane not rung for", "lane", l.Lane.String(), "err", err)
	}
}

// takeOver drains a lane beside asynq, slice after slice, until it is empty or
// a drain that asynq started has it. It returns false when too many lanes are
// being drained like that already.
func (s *sweep) takeOver(ctx context.Context, l contact.Stalled) bool {
	slots := s.slots[l.Lane.Kind]
	select {
	case slots <- struct{}{}:
	default:
		return false
	}
	s.inflight.run(func() {
		defer func() { <-slots }()
		generation, why := l.Generation, endSlice
		for generation != 0 && why == endSlice {
			generation, why = s.drains.drain(ctx, l.Lane, generation)
			if why != endServed {
				s.metrics.takeovers.Inc()
			}
		}
	})
	return true
}

// guard raises streams that lie behind their committed offset: Redis has lost
// entries that were applied and trimmed, or was restored from an older file.
// New entries must not get ids that look applied. Without Postgres there is
// nothing to compare with.
func (s *sweep) guard(ctx context.Context) {
	if !s.guarded.IsZero() && time.Since(s.guarded) < guardEvery {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sweepStep)
	defer cancel()
	offsets, err := s.o.Offsets(ctx)
	if err != nil {
		s.o.Logger.DebugContext(ctx, "offsets not read", "err", err)
		return
	}
	raised, err := s.o.Sweeper.Raise(ctx, offsets)
	for _, lane := range raised {
		s.metrics.alarms.Inc()
		s.o.Logger.ErrorContext(ctx, "stream was behind its committed offset and was raised: redis lost data",
			"lane", lane.String(), "offset", offsets[lane].String())
	}
	if err != nil {
		s.o.Logger.WarnContext(ctx, "streams not guarded", "err", err)
		return
	}
	s.guarded = time.Now()
}

// unpause undoes asynq's pause of our queues: it would be invisible to the
// drains' own pause, and a lane does not rest because a queue does.
func (s *sweep) unpause(ctx context.Context, queues unpauser) {
	for _, queue := range tasks.Queues() {
		// An error says that the queue was not paused, or that Redis is away,
		// which the next look reports.
		if queues.UnpauseQueue(queue) == nil {
			s.metrics.unpaused.Inc()
			s.o.Logger.WarnContext(ctx, "queue was paused and goes on", "queue", queue)
		}
	}
}
