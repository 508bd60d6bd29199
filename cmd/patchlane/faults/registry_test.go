package faults

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fault is one entry of the table: what is done to a running stack, and what
// has to be true of it all the same.
type fault struct {
	// number is that of the table in doc.go; several entries may share it.
	number int
	// name says what is injected.
	name string
	// recovers is the time within which every lane has to move on after the
	// fault; 0: the entry asserts something else.
	recovers time.Duration
	// brief entries are run by `make test`, too, with fewer rounds.
	brief bool
	// tags are the build tags of the stack's binary besides "faults".
	tags string
	run  func(r *run)
}

// faults lists every entry. Each file of faults adds a list of its own.
func faults() []fault {
	return slices.Concat(
		crashFaults(), serverFaults(), repeatFaults(), wireFaults(), lostDataFaults(),
		queueFaults(), eventFaults(), rolloutFaults(), inputFaults(),
		outageFaults(), crowdFaults(),
	)
}

// settings say how the suite runs. They come from the environment:
//
//	PATCHLANE_FAULTS=all     every entry, one after the other, times held strictly
//	PATCHLANE_SEED=n         repeats what a run with that seed injected
//	PATCHLANE_FAULTS_TABLE=f the table as Markdown into a file
//	PATCHLANE_SOAK=1h        random faults for that long
type settings struct {
	all   bool
	seed  uint64
	table string
	soak  time.Duration
}

func environment(tb testing.TB) settings {
	tb.Helper()
	s := settings{all: os.Getenv("PATCHLANE_FAULTS") == "all", table: os.Getenv("PATCHLANE_FAULTS_TABLE"), seed: rand.Uint64()}
	var err error
	if text := os.Getenv("PATCHLANE_SEED"); text != "" {
		if s.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatal(err)
		}
	}
	if text := os.Getenv("PATCHLANE_SOAK"); text != "" {
		if s.soak, err = time.ParseDuration(text); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

// TestFaults injects every fault into a stack of its own under load and holds
// what is stored against what the clients were told. `make faults` runs all
// entries and prints the table; `make test` runs the brief ones.
func TestFaults(t *testing.T) {
	t.Parallel()
	set := environment(t)
	t.Logf("PATCHLANE_SEED=%d", set.seed)
	rows := &report{}
	t.Run("each", func(t *testing.T) {
		for _, f := range faults() {
			if !set.all && !f.brief {
				continue
			}
			t.Run(f.title(), func(t *testing.T) {
				if !set.all {
					t.Parallel()
				}
				inject(t, f, set, rows)
			})
		}
	})
	rows.print(t, set)
}

// title names an entry as a test.
func (f fault) title() string {
	return fmt.Sprintf("%02d_%s", f.number, strings.ReplaceAll(f.name, " ", "_"))
}

// run is one entry at work.
type run struct {
	*stack
	t     *testing.T
	fault fault
	// brief asks for fewer rounds.
	brief bool
	seed  uint64
	dice  *rand.Rand
	row   row
}

func inject(t *testing.T, f fault, set settings, rows *report) {
	t.Helper()
	seed := set.seed + uint64(f.number)
	r := &run{
		t: t, fault: f, brief: !set.all, seed: seed, row: row{fault: f},
		dice: rand.New(rand.NewPCG(seed, 0)),
	}
	r.stack = newStack(t, strings.TrimSpace("faults "+f.tags))
	defer func() {
		r.row.failed = t.Failed()
		rows.add(r.row)
		t.Log(r.row.String())
	}()
	f.run(r)
	r.leaks()
	if r.row.times == 0 {
		t.Error("nothing was injected, so nothing was tested")
	}
}

// rounds is how often an entry injects: fewer times when it is to be brief.
func (r *run) rounds(brief, all int) int {
	if r.brief {
		return brief
	}
	return all
}

// injected counts what was done to the stack.
func (r *run) injected(times int) { r.row.times += times }

// note adds a remark to the entry's row.
func (r *run) note(format string, args ...any) {
	r.row.notes = append(r.row.notes, fmt.Sprintf(format, args...))
}

// crowded is what a machine may add to a time while all tests of the tree
// compete for it; a run of `make faults` is given nothing.
const crowded = 3 * time.Second

// recovered holds the time that lanes stood still against the entry's limit.
func (r *run) recovered(took time.Duration, where string) {
	r.t.Helper()
	r.row.recovered = max(r.row.recovered, took)
	limit := r.fault.recovers
	if r.brief {
		limit += crowded
	}
	if took > limit {
		r.t.Errorf("lane %s stood still for %s, at most %s is promised", where, took.Round(time.Millisecond), limit)
	}
}

// judge waits until everything is applied and checks a history.
func (r *run) judge(h *history) {
	r.t.Helper()
	r.settled(60 * time.Second)
	v := r.check(r.t, h)
	r.row.count(v)
	if v.wrong() {
		r.t.Errorf("%+v", v)
	}
	for _, s := range h.strange {
		r.t.Error(s)
	}
	if v.acknowledged == 0 || v.spans == 0 {
		r.t.Errorf("nothing was tested: %d acknowledged writes, %d transactions seen", v.acknowledged, v.spans)
	}
}

// processes starts APIs and workers and waits until they are ready.
func (r *run) processes(apis, workers int) (a, w []*process) {
	r.t.Helper()
	for range apis {
		a = append(a, r.start("api"))
	}
	for range workers {
		w = append(w, r.start("worker"))
	}
	for _, p := range slices.Concat(a, w) {
		p.ready()
	}
	return a, w
}

// pass waits.
func (r *run) pass(d time.Duration) {
	select {
	case <-r.t.Context().Done():
	case <-time.After(d):
	}
}

// report collects the rows of a suite that runs in parallel.
type report struct {
	mu   sync.Mutex
	rows []row
}

func (p *report) add(r row) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows = append(p.rows, r)
}

// print writes the table to the test's log, and to a file if one is wanted.
func (p *report) print(t *testing.T, set settings) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.SortStableFunc(p.rows, func(a, b row) int { return cmp.Compare(a.fault.number, b.fault.number) })
	var b strings.Builder
	fmt.Fprintf(&b, "Seed %d. Lost / doubled / out of order, and what breaks another rule.\n\n", set.seed)
	b.WriteString("| # | injected | times | acknowledged | unknown | lost | doubled | disordered | other rules | stood still | promised | |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range p.rows {
		b.WriteString(r.String())
	}
	t.Logf("\n%s", b.String())
	if set.table != "" {
		if err := os.WriteFile(set.table, []byte(b.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// row is one line of the table.
type row struct {
	fault                             fault
	times, acked, unknown             int
	lost, doubled, disordered, others int
	recovered                         time.Duration
	notes                             []string
	failed                            bool
}

func (r *row) count(v verdict) {
	r.acked += v.acknowledged
	r.unknown += v.unknown
	r.lost += v.lost
	r.doubled += v.doubled
	r.disordered += v.disordered
	r.others += v.others()
}

func (r *row) String() string {
	promised, stood := "", ""
	if r.fault.recovers > 0 {
		promised, stood = r.fault.recovers.String(), fmt.Sprintf("%.1fs", r.recovered.Seconds())
	}
	notes := strings.Join(r.notes, "; ")
	if r.failed {
		notes = "**FAILED** " + notes
	}
	return fmt.Sprintf("| %d | %s | %d | %d | %d | %d | %d | %d | %d | %s | %s | %s |\n", r.fault.number, r.fault.name,
		r.times, r.acked, r.unknown, r.lost, r.doubled, r.disordered, r.others, stood, promised, notes)
}
