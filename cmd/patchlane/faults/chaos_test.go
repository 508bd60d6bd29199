package faults

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestChaos is the promise under random kills: 50 contacts, 400 writes each
// from 16 clients through two APIs, while two workers are killed at random.
func TestChaos(t *testing.T) {
	t.Parallel()
	v, kills := chaos(t, "faults", "drain.applied=0.02,apply.before_commit=0.01,drain.read=0.01,drain.published=0.01",
		load{contacts: 50, clients: 16, writes: 400, keyless: 0.1, waited: 0.02})
	t.Logf("acknowledged %d, unknown %d, kills %d: lost %d, doubled %d, disordered %d, version gaps %d, broken old values %d",
		v.acknowledged, v.unknown, kills, v.lost, v.doubled, v.disordered, v.gaps, v.broken)
	if v.wrong() {
		t.Errorf("%+v", v)
	}
	if kills == 0 || v.acknowledged == 0 {
		t.Errorf("nothing was tested: %d kills, %d acknowledged writes", kills, v.acknowledged)
	}
}

// TestChaosWithoutFence is the test of the test: with the lane's lock, the
// ledger's look-up and the offset's compare switched off the same run must
// break the rules.
func TestChaosWithoutFence(t *testing.T) {
	t.Parallel()
	// Dying between the commit and the trim leaves what replays are made of.
	v, _ := chaos(t, "faults nofence", "drain.applied=0.5", load{contacts: 10, clients: 16, writes: 400, keyless: 0.1})
	t.Logf("without the fence: lost %d, doubled %d, disordered %d, version gaps %d, broken old values %d (%s)",
		v.lost, v.doubled, v.disordered, v.gaps, v.broken, v.first)
	if !v.wrong() {
		t.Error("the checker found nothing wrong with a store that applies entries twice")
	}
}

// chaos runs a load while workers are killed, from outside and at failpoints,
// waits until everything is applied, and checks.
func chaos(t *testing.T, tags, failpoints string, l load) (verdict, int) {
	t.Helper()
	s := newStack(t, tags)
	apis := []*process{s.start("api", ""), s.start("api", "")}
	urls := make([]string, len(apis))
	for i, p := range apis {
		p.ready()
		urls[i] = p.url
	}
	workers := []*process{s.start("worker", ""), s.start("worker", "")}
	for _, p := range workers {
		p.ready()
	}
	contacts := s.createContacts(t, urls[0], l.contacts)
	for _, p := range workers {
		p.kill()
		p.restart(failpoints)
	}
	killing, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	kills := make([]int, len(workers))
	for i, p := range workers {
		wg.Go(func() { kills[i] = p.killAtRandom(killing, failpoints) })
	}
	h := s.write(t.Context(), t, urls, contacts, l)
	stop()
	wg.Wait()
	for _, p := range workers {
		p.kill()
		p.restart("")
	}
	s.settled(60 * time.Second)
	total := 0
	for _, n := range kills {
		total += n
	}
	return s.check(t.Context(), urls[0], h), total
}

// killAtRandom kills, or first stops for longer than a lease and then
// continues, one process again and again, and starts it anew whenever it died.
func (p *process) killAtRandom(ctx context.Context, failpoints string) (kills int) {
	for {
		p.mu.Lock()
		exited := p.exited
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return kills
		case <-exited:
		case <-time.After(time.Duration(200+rand.IntN(1500)) * time.Millisecond):
			if rand.IntN(8) == 0 {
				p.pause(ctx, 6*time.Second)
				continue
			}
			p.kill()
		}
		kills++
		p.restart(failpoints)
	}
}

// pause stops the process, as a virtual machine that is moved does, for longer
// than its leases live.
func (p *process) pause(ctx context.Context, d time.Duration) {
	p.signal(syscall.SIGSTOP)
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	p.signal(syscall.SIGCONT)
}
