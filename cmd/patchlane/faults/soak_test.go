package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// soakRound is how long a round of the soak is; its contacts are its own, so
// that notes do not grow without end.
const soakRound = 45 * time.Second

// TestSoak injects random faults at full load, round after round, each checked
// by all nine rules. `make soak DURATION=1h` sets the time; otherwise it is one
// short round.
func TestSoak(t *testing.T) {
	t.Parallel()
	set := environment(t)
	t.Logf("PATCHLANE_SEED=%d", set.seed)
	s := &soak{run: &run{
		t: t, seed: set.seed, brief: set.soak == 0, stack: newStack(t, "faults"),
		dice: rand.New(rand.NewPCG(set.seed, 0)), fault: fault{name: "soak", recovers: 10 * time.Second},
	}}
	// The first of each is never killed: its memory is what a year of running
	// looks like.
	s.apis, s.workers = s.processes(3, 3)
	end := time.Now().Add(set.soak)
	for round := 0; round == 0 || time.Now().Before(end); round++ {
		length := min(soakRound, max(5*time.Second, time.Until(end)))
		s.round(round, length)
		if round == 0 {
			s.first = s.sizes()
		}
		if t.Failed() {
			return
		}
	}
	s.steady()
}

// soak is a stack that is tormented for long.
type soak struct {
	*run
	apis, workers []*process
	first         sizes
}

// round is a load with faults, their repair, and the check.
func (s *soak) round(n int, length time.Duration) {
	s.t.Helper()
	began, before := time.Now(), s.row
	l := load{contacts: 60, clients: 16, keyless: 0.1, waited: 0.02}
	if s.brief {
		l.pace = 4 * time.Millisecond
	}
	tr := s.begin(s.t, s.apis, l, s.seed+uint64(n))
	for end := time.Now().Add(length); time.Now().Before(end); {
		s.pass(time.Duration(500+s.dice.IntN(2500)) * time.Millisecond)
		s.torment()
		s.injected(1)
	}
	s.repair()
	h := tr.end()
	// The rules are held below; how fast lanes move on is the table's to show.
	s.judge(h)
	s.leaks()
	s.forget()
	s.t.Logf("round %d: %s, %d faults, %d acknowledged, %d unknown, %d broken connections, %d answers of 503: lost %d, doubled %d, disordered %d, others %d; %s",
		n, time.Since(began).Round(time.Second), s.row.times-before.times, s.row.acked-before.acked, s.row.unknown-before.unknown,
		h.broken, h.unavailable, s.row.lost, s.row.doubled, s.row.disordered, s.row.others, s.sizes())
}

// torment does one thing of many to the stack.
func (s *soak) torment() {
	s.t.Helper()
	wires := []*wire{s.apiRedis, s.apiPostgres, s.workerRedis, s.workerPostgres, s.apis[s.dice.IntN(len(s.apis))].front}
	victims := slices.Concat(s.apis[1:], s.workers[1:])
	victim, on := victims[s.dice.IntN(len(victims))], wires[s.dice.IntN(len(wires))]
	while := time.Duration(500+s.dice.IntN(3000)) * time.Millisecond
	switch s.dice.IntN(8) {
	case 0, 1:
		victim.kill()
		victim.restart("")
	case 2:
		victim.signal(syscall.SIGTERM)
		if err := victim.ended(40 * time.Second); err != nil {
			s.t.Errorf("%s: %v", victim.role, err)
		}
		victim.restart("")
	case 3:
		victim.signal(syscall.SIGSTOP)
		s.pass(2 * while)
		victim.signal(syscall.SIGCONT)
	case 4:
		s.restartRedis(func() {})
	case 5:
		s.restartPostgres()
	case 6:
		on.cut()
	default:
		list := damages()
		list[s.dice.IntN(len(list))].do(on)
		s.pass(while)
		on.heal()
	}
}

// repair waits until everybody is well.
func (s *soak) repair() {
	s.t.Helper()
	for _, p := range slices.Concat(s.apis, s.workers) {
		p.ready()
	}
}

// forget empties what grows with time on our side: logs, and what was seen.
func (s *soak) forget() {
	s.t.Helper()
	for _, name := range append(slices.Clip(s.logs), s.witness) {
		if err := os.Truncate(name, 0); err != nil {
			s.t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = nil
}

// sizes are what must not grow.
type sizes struct {
	// Bytes of resident memory and goroutines of the first API and worker.
	apiMemory, workerMemory, apiRoutines, workerRoutines float64
	// Connections that the servers count.
	postgres, redis int
}

func (z sizes) String() string {
	return fmt.Sprintf("API %.0f MiB, %.0f goroutines; worker %.0f MiB, %.0f goroutines; connections: Postgres %d, Redis %d",
		z.apiMemory/(1<<20), z.apiRoutines, z.workerMemory/(1<<20), z.workerRoutines, z.postgres, z.redis)
}

func (s *soak) sizes() sizes {
	s.t.Helper()
	z := sizes{
		apiMemory: s.apis[0].counter("process_resident_memory_bytes"), apiRoutines: s.apis[0].counter("go_goroutines"),
		workerMemory: s.workers[0].counter("process_resident_memory_bytes"), workerRoutines: s.workers[0].counter("go_goroutines"),
	}
	const count = `SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'`
	db := s.postgres(s.t)
	if err := db.QueryRow(s.t.Context(), count).Scan(&z.postgres); err != nil {
		s.t.Fatal(err)
	}
	if err := db.Close(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	clients, err := s.direct(s.t).ClientList(s.t.Context()).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range clients {
		if c == '\n' {
			z.redis++
		}
	}
	return z
}

// steady compares the end with the first round. Memory and goroutines may differ
// by what one round leaves behind, not by what all of them do.
func (s *soak) steady() {
	s.t.Helper()
	last := s.sizes()
	s.t.Logf("after the first round: %s", s.first)
	s.t.Logf("after %d faults: %s", s.row.times, last)
	for _, c := range []struct {
		what              string
		first, last, more float64
	}{
		{"memory of the API", s.first.apiMemory, last.apiMemory, 64 << 20},
		{"memory of the worker", s.first.workerMemory, last.workerMemory, 64 << 20},
		{"goroutines of the API", s.first.apiRoutines, last.apiRoutines, 60},
		{"goroutines of the worker", s.first.workerRoutines, last.workerRoutines, 60},
		{"connections of Postgres", float64(s.first.postgres), float64(last.postgres), 30},
		{"connections of Redis", float64(s.first.redis), float64(last.redis), 60},
	} {
		if c.first == 0 || c.last > c.first+c.more {
			s.t.Errorf("%s: %.0f after the first round, %.0f at the end", c.what, c.first, c.last)
		}
	}
}
