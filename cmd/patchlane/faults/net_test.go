package faults

import (
	"net/http"
	"sync"
	"time"
)

// damage is what may happen to a wire.
type damage struct {
	name string
	do   func(w *wire)
}

func damages() []damage {
	return []damage{
		{"partition", (*wire).partition},
		{"half-open, requests held", func(w *wire) { w.hold(requests) }},
		{"half-open, replies held", func(w *wire) { w.hold(replies) }},
		{"held both ways", func(w *wire) { w.hold(requests, replies) }},
		{"50 ms slower", func(w *wire) { w.slow(50 * time.Millisecond) }},
	}
}

// wireFaults damage the wire of each pair: 13.
func wireFaults() []fault {
	// Redis or Postgres that is back is worked with within 2 s. What a worker sent
	// into a half-open connection arrives at its repair, though: a lease that
	// nobody uses any more is one, and ends as that of a dead worker does. An append
	// that the API has given up is another: it claims the lane for a ring that nobody
	// hears, and the sweep rings as after the death of an API.
	const back, claim, lease = 2 * time.Second, 3 * time.Second, 7 * time.Second
	pairs := []struct {
		name     string
		brief    bool
		recovers time.Duration
		of       func(r *run, apis []*process) *wire
	}{
		{"API and Redis", true, claim, func(r *run, _ []*process) *wire { return r.apiRedis }},
		{"API and Postgres", false, back, func(r *run, _ []*process) *wire { return r.apiPostgres }},
		{"worker and Redis", false, lease, func(r *run, _ []*process) *wire { return r.workerRedis }},
		{"worker and Postgres", false, back, func(r *run, _ []*process) *wire { return r.workerPostgres }},
		{"client and API", false, back, func(_ *run, apis []*process) *wire { return apis[0].front }},
	}
	list := make([]fault, 0, len(pairs))
	for _, p := range pairs {
		list = append(list, fault{
			number: 13, name: "partition between " + p.name + ", half-open too", recovers: p.recovers, brief: p.brief,
			run: func(r *run) { damageWire(r, p.of) },
		})
	}
	return list
}

// fastEnough is the longest that a client may wait for its answer: 2 s of the API
// for an append whose fate it has to find out, and what a busy machine adds.
const fastEnough = 4 * time.Second

// damageWire damages one wire in every way, under load, and measures from its
// repair.
func damageWire(r *run, of func(r *run, apis []*process) *wire) {
	apis, _ := r.processes(2, 2)
	on, w := of(r, apis), r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	list := damages()
	if r.brief {
		list = list[:2]
	}
	slowest := time.Duration(0)
	for _, d := range list {
		r.pass(500 * time.Millisecond)
		d.do(on)
		r.injected(1)
		if on != apis[0].front {
			slowest = max(slowest, r.probeFor(apis, time.Duration(r.rounds(2, 4))*time.Second))
		} else {
			r.pass(2 * time.Second)
		}
		on.heal()
		w.since(time.Now())
		r.pass(r.fault.recovers + time.Second)
		r.recovered(w.standstill())
	}
	if slowest > 0 {
		r.note("slowest answer meanwhile %.1fs", slowest.Seconds())
	}
	if slowest > fastEnough {
		r.t.Errorf("a client waited %s for its answer", slowest)
	}
	r.judge(tr.end())
}

// probeFor sends writes to every API for a while and returns the longest that
// one of them waited for its answer, whatever it was.
func (r *run) probeFor(apis []*process, d time.Duration) time.Duration {
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	slowest := make([]time.Duration, len(apis))
	for i, p := range apis {
		wg.Go(func() {
			for time.Now().Before(end) {
				began := time.Now()
				// A contact that nobody has: nothing is to be seen of it later.
				_, _, err := r.call(r.t.Context(), http.MethodPatch, p.url+"/v1/contacts/"+nobody,
					http.Header{"Prefer": {"respond-async"}}, []byte(`{"job_title":"nobody's"}`))
				if err == nil {
					slowest[i] = max(slowest[i], time.Since(began))
				}
			}
		})
	}
	wg.Wait()
	return max(slowest[0], slowest[len(slowest)-1])
}

// nobody is the id of no contact.
const nobody = "018f0000-0000-7000-8000-000000000000"
