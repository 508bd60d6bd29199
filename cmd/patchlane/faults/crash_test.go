package faults

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// crashFaults kill and stop processes of ours: 1, 2 and 6.
func crashFaults() []fault {
	places := []string{
		"drain.entered", "drain.read", "apply.locked", "apply.folded", "apply.before_commit", "apply.after_commit",
		"drain.applied", "drain.published", "drain.trimmed", "drain.left",
		"optouts.before_heard", "optouts.heard", "optouts.before_settled", "optouts.settled",
	}
	list := make([]fault, 0, 4+len(places))
	for _, place := range places {
		list = append(list, fault{
			number: 2, name: "kill -9 worker at " + place, recovers: 7 * time.Second, brief: place == "drain.applied",
			run: func(r *run) { r.crash("worker", place, 2) },
		})
	}
	return append(
		list,
		fault{
			number: 1, name: "kill -9 API between append and enqueue", recovers: 3 * time.Second, brief: true,
			run: func(r *run) { r.crash("api", "append.stored", 5) },
		},
		fault{
			number: 1, name: "kill -9 API between append and answer", recovers: 3 * time.Second,
			run: func(r *run) { r.crash("api", "accept.appended", 3) },
		},
		fault{number: 2, name: "kill -9 of two workers at random", recovers: 7 * time.Second, brief: true, run: chaos},
		fault{number: 6, name: "SIGSTOP worker beyond its lease", recovers: 6 * time.Second, brief: true, run: frozen},
	)
}

// crash kills one of two processes of a role at a place and measures how long
// the lanes stand still after it. A dead worker is not started again: the other
// one takes its lanes over.
func (r *run) crash(role, place string, rounds int) {
	apis, _ := r.processes(1, 1)
	w := r.watch(r.t)
	for range r.rounds(1, rounds) {
		victim := r.prepare(role)
		clients := apis[:1]
		if role == "api" {
			victim.restart(place + "=0.02")
			victim.ready()
			clients = []*process{apis[0], victim}
		}
		tr := r.begin(r.t, clients, ordinary(), r.seed)
		if role == "worker" {
			victim.restart(place + "=0.5")
		}
		if err := victim.died(30 * time.Second); err != nil {
			r.t.Fatal(err)
		}
		w.since(time.Now())
		r.injected(1)
		if role == "api" {
			victim.restart("")
		}
		r.pass(r.fault.recovers)
		h := tr.end()
		r.settled(30 * time.Second)
		r.recovered(w.standstill())
		r.judge(h)
		victim.kill()
	}
}

// chaos kills two workers again and again, from outside and at failpoints, and
// at last asks that all lanes move on.
func chaos(r *run) {
	apis, workers := r.processes(2, 2)
	failpoints := "drain.applied=0.01,apply.before_commit=0.01,drain.read=0.01,drain.published=0.01"
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	killing, stop := context.WithCancel(r.t.Context())
	defer stop()
	var wg sync.WaitGroup
	kills := make([]int, len(workers))
	for i, p := range workers {
		dice := rand.New(rand.NewPCG(r.seed, uint64(100+i)))
		wg.Go(func() { kills[i] = p.killAtRandom(killing, failpoints, dice) })
	}
	r.pass(time.Duration(r.rounds(4, 30)) * time.Second)
	stop()
	wg.Wait()
	for i, p := range workers {
		r.injected(kills[i])
		p.kill()
		p.restart("")
	}
	r.injected(len(workers))
	w := r.watch(r.t)
	r.pass(r.fault.recovers)
	h := tr.end()
	r.settled(30 * time.Second)
	r.recovered(w.standstill())
	r.judge(h)
}

// killAtRandom kills, or first stops for longer than a lease and then
// continues, one process again and again, and starts it anew whenever it died.
func (p *process) killAtRandom(ctx context.Context, failpoints string, dice *rand.Rand) (kills int) {
	for {
		p.mu.Lock()
		exited := p.exited
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return kills
		case <-exited:
		case <-time.After(time.Duration(200+dice.IntN(1500)) * time.Millisecond):
			if dice.IntN(8) == 0 {
				p.pause(ctx, 6*time.Second)
				continue
			}
			p.kill()
		}
		kills++
		p.restart(failpoints)
	}
}

// pause stops the process, as a virtual machine that is moved does.
func (p *process) pause(ctx context.Context, d time.Duration) {
	p.signal(syscall.SIGSTOP)
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	p.signal(syscall.SIGCONT)
}

// frozen stops a worker in the middle of its work for longer than its leases
// and its transactions live; another one takes over, and what the first does
// when it wakes up is fenced off.
func frozen(r *run) {
	apis, workers := r.processes(1, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	for range r.rounds(1, 4) {
		r.pass(time.Duration(500+r.dice.IntN(1000)) * time.Millisecond)
		p := workers[r.dice.IntN(len(workers))]
		p.signal(syscall.SIGSTOP)
		w.since(time.Now())
		r.injected(1)
		r.pass(r.fault.recovers + time.Second)
		r.recovered(w.standstill())
		p.signal(syscall.SIGCONT)
		r.pass(time.Second)
	}
	r.judge(tr.end())
}
