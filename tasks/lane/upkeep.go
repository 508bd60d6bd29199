package lane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"patchlane/tasks/contact"
)

// Stalled is a lane with entries that nobody works on. While a lane stays so,
// its Generation is the same for some looks: ringing again is free of effect
// unless the first ring was lost. From the third look on the bell does not help,
// and the sweeper should enter with that generation and drain the lane itself.
type Stalled = contact.Stalled

// Sweep looks at every lane, in one round trip (two after a restart of Redis),
// and returns those with entries, no owner and no live claim but the sweep's own,
// and those that it sees claimed a second time without anything served between.
// It deletes leases and claims that would live longer than any is made for. It
// never trims. What it found before an error it returns with the error.
func (l *Lanes) Sweep(ctx context.Context) ([]Stalled, error) {
	lanes := l.All()
	args := []any{OwnerTTL.Milliseconds(), ClaimTTL.Milliseconds(), ClaimTTL.Milliseconds()}
	cmds := l.eachLane(ctx, l.scripts.sweep, lanes, func(int) []any { return args })

	l.mu.Lock()
	defer l.mu.Unlock()
	var stalled []Stalled
	var errs []error
	for i, lane := range lanes {
		reply, err := cmds[i].Int64Slice()
		if err == nil && len(reply) != 4 {
			err = fmt.Errorf("reply of %d elements", len(reply))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("sweep lane %s: %w", lane, err))
			continue
		}
		if reply[2] > 0 {
			l.metrics.cured.Add(float64(reply[2]))
			l.cfg.Logger.WarnContext(ctx, "deleted a lease or claim without a proper end",
				"lane", lane.String(), "keys", reply[2])
		}
		looks := l.look(lane, reply[0], reply[3])
		if looks == 0 {
			continue
		}
		l.metrics.sweeps.Inc()
		stalled = append(stalled, Stalled{Lane: lane, Generation: reply[1], Looks: looks})
	}
	return stalled, errors.Join(errs...)
}

// The states of a lane for a sweep.
const (
	atWork          = 0
	claimedByOthers = 3
)

// seen is what earlier looks found of a lane: how many found it stalled, and
// the generation that was served then.
type seen struct {
	looks  int
	served int64
}

// look counts the looks that found a lane stalled; 0: it is not, or not yet. A
// lane that is at work, or was served since, begins anew.
func (l *Lanes) look(lane contact.Lane, state, served int64) int {
	if state == atWork {
		delete(l.looks, lane)
		return 0
	}
	before, known := l.looks[lane]
	if known = known && before.served == served; !known {
		before.looks = 0
	}
	// Somebody's claim says that a ring is on its way, which is no reason to ring
	// at the first look. A second look rings for the same generation, which costs
	// nothing; a third comes after every claim that was there at the first has
	// ended, so the lane was claimed anew and nobody has come.
	if known || state != claimedByOthers {
		before.looks++
	}
	l.looks[lane] = seen{looks: before.looks, served: served}
	return before.looks
}

// Raise is the guard: it raises each stream whose last id lies behind the offset
// that Postgres committed, and creates a missing one there, so that no new entry
// gets an id that was applied before. It only ever raises. A raised lane means
// that Redis lost data; it is logged as an error and counted.
func (l *Lanes) Raise(
	ctx context.Context, offsets map[contact.Lane]contact.Offset,
) (raised []contact.Lane, err error) {
	lanes := make([]contact.Lane, 0, len(offsets))
	for lane, o := range offsets {
		if o != (contact.Offset{}) {
			lanes = append(lanes, lane)
		}
	}
	slices.SortFunc(lanes, func(a, b contact.Lane) int {
		return int(a.Kind)<<16 + a.N - int(b.Kind)<<16 - b.N
	})
	cmds := l.eachLane(ctx, l.scripts.raise, lanes, func(i int) []any {
		o := offsets[lanes[i]]
		return []any{strconv.FormatUint(o.Ms, 10), strconv.FormatUint(o.Seq, 10)}
	})
	var errs []error
	for i, lane := range lanes {
		n, err := cmds[i].Int()
		if err != nil {
			errs = append(errs, fmt.Errorf("raise lane %s: %w", lane, err))
			continue
		}
		if n == 1 {
			raised = append(raised, lane)
			l.metrics.raises.Inc()
			l.cfg.Logger.ErrorContext(ctx, "lane was behind its offset and was raised: redis lost data",
				"lane", lane.String(), "offset", offsets[lane].String())
		}
	}
	return raised, errors.Join(errs...)
}

// Stat describes a lane.
type Stat struct {
	Lane contact.Lane
	// Depth is the number of entries.
	Depth int64
	// Oldest is the age of the head by Redis' clock; 0 for an empty lane.
	Oldest time.Duration
	// Owner is the token of the drain at work; empty: none.
	Owner string
	// Generation and Served are the newest generation rung and served.
	Generation, Served int64
	// Trimmed is the number of entries ever removed.
	Trimmed int64
	// Aside is how many entries of paused accounts stand aside; Depth does not
	// count them.
	Aside int64
	// Paused says that no drain enters the lane.
	Paused bool
}

// Stats describes every lane, in one round trip.
func (l *Lanes) Stats(ctx context.Context) ([]Stat, error) {
	lanes := l.All()
	stats := make([]Stat, 0, len(lanes))
	for i, cmd := range l.eachLane(ctx, l.scripts.stat, lanes, noArgs) {
		reply, err := cmd.Slice()
		if err != nil {
			return nil, fmt.Errorf("describe lane %s: %w", lanes[i], err)
		}
		s, err := parseStat(lanes[i], reply)
		if err != nil {
			return nil, fmt.Errorf("describe lane %s: %w", lanes[i], err)
		}
		stats = append(stats, s)
	}
	return stats, nil
}

func parseStat(lane contact.Lane, reply []any) (Stat, error) {
	if len(reply) != 9 {
		return Stat{}, fmt.Errorf("reply of %d elements", len(reply))
	}
	s := Stat{Lane: lane}
	s.Depth, _ = reply[0].(int64)
	accepted, _ := reply[1].(string)
	now, _ := reply[2].(string)
	s.Owner, _ = reply[3].(string)
	s.Generation, _ = reply[4].(int64)
	s.Served, _ = reply[5].(int64)
	s.Trimmed, _ = reply[6].(int64)
	s.Aside, _ = reply[7].(int64)
	paused, _ := reply[8].(int64)
	s.Paused = paused == 1
	from, errFrom := strconv.ParseInt(accepted, 10, 64)
	to, errTo := strconv.ParseInt(now, 10, 64)
	if errFrom == nil && errTo == nil && from < to {
		s.Oldest = time.Duration(to-from) * time.Microsecond
	}
	return s, nil
}
