package faults

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// repeatFaults do one thing more than once: 7, and 8, where a reply is lost and
// somebody has to ask again.
func repeatFaults() []fault {
	return []fault{
		{number: 7, name: "one Idempotency-Key 50 times at once", brief: true, run: fiftyTimes},
		{number: 7, name: "the same drain task twice", recovers: time.Second, run: ringTwice},
		{number: 7, name: "the same entry twice in the stream", run: entryTwice},
		{number: 8, name: "reply of the append lost", brief: true, run: lostAppend},
		{
			number: 8, name: "reply of the enqueue lost", recovers: 3 * time.Second,
			run: func(r *run) { r.loseReplies(r.apiRedis, "-g", "enqueue") },
		},
		{
			number: 8, name: "reply of the COMMIT lost", recovers: 2 * time.Second, brief: true,
			run: func(r *run) { r.loseReplies(r.workerPostgres, "commit", "COMMIT") },
		},
	}
}

// fiftyTimes sends one write 50 times at once through two APIs.
func fiftyTimes(r *run) {
	apis, _ := r.processes(2, 1)
	people := r.createContacts(r.t, apis[0].url, r.rounds(1, 10))
	for n, p := range people {
		ids := make([]string, 50)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				header := http.Header{"Idempotency-Key": {"only-once"}, "Prefer": {"respond-async"}}
				status, body, err := r.call(r.t.Context(), http.MethodPatch, apis[i%2].url+"/v1/contacts/"+p.id, header, []byte(`{"notes_append":"once"}`))
				if err != nil || status != http.StatusAccepted {
					r.t.Errorf("request %d: %d %s %v", i, status, body, err)
					return
				}
				ids[i] = writeID(body)
			})
		}
		wg.Wait()
		r.injected(len(ids))
		if slices.Sort(ids); len(slices.Compact(ids)) != 1 {
			r.t.Errorf("contact %d: fifty requests with one key are more than one write: %v", n, slices.Compact(ids))
		}
		r.row.acked++
	}
	r.settled(20 * time.Second)
	for _, p := range people {
		r.onceInNotes(apis[0].url, p.id, "once")
	}
}

// onceInNotes expects the notes of a contact to be one text.
func (r *run) onceInNotes(api, id, want string) {
	r.t.Helper()
	if c := r.stored(r.t, api, id); len(c.notes) != 1 || c.notes[0] != want {
		r.t.Errorf("notes are %q, not %q", c.notes, want)
		r.row.others++
	}
}

// ringTwice rings for every lane again and again while they are drained: with
// generations that were served, that are being served, and that nobody rang.
func ringTwice(r *run) {
	apis, _ := r.processes(2, 2)
	bell := r.asynqClient()
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	for round := range r.rounds(5, 40) {
		for n := range contactLanes {
			r.ring(bell, contactLane(n), int64(1+round*r.dice.IntN(3)))
			r.injected(1)
		}
		r.pass(50 * time.Millisecond)
	}
	h := tr.end()
	r.settled(30 * time.Second)
	r.recovered(w.standstill())
	r.judge(h)
}

// entryTwice adds copies of queued entries to their streams, as a repeat of an
// append of unknown fate does.
func entryTwice(r *run) {
	apis, _ := r.processes(1, 1)
	rdb := r.direct(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	deadline := time.After(time.Minute)
	for copies, want := 0, r.rounds(20, 200); copies < want; {
		select {
		case <-deadline:
			r.t.Fatalf("only %d entries were copied", copies)
		default:
		}
		for _, log := range laneLogs() {
			entries, err := rdb.XRangeN(r.t.Context(), log, "-", "+", 1).Result()
			if err != nil {
				r.t.Fatal(err)
			}
			if len(entries) > 0 && log[1] == 'c' {
				e := entries[0].Values
				if err := rdb.XAdd(r.t.Context(), xadd(log, e)).Err(); err != nil {
					r.t.Fatal(err)
				}
				copies++
				r.injected(1)
			}
		}
	}
	r.judge(tr.end())
}

// lostAppend cuts the reply of Redis to an append, with and without an
// Idempotency-Key: the API settles the fate itself, and the effect is one.
func lostAppend(r *run) {
	apis, _ := r.processes(1, 1)
	people := r.createContacts(r.t, apis[0].url, r.rounds(2, 20))
	for i, p := range people {
		text := fmt.Sprintf("%s-cut-here-%d-", canary, i)
		header := http.Header{"Prefer": {"wait=10"}}
		if i%2 == 1 {
			header.Set("Idempotency-Key", text)
		}
		before := r.apiRedis.lostReplies()
		r.apiRedis.loseReplies(text, 1)
		status, body, err := r.call(r.t.Context(), http.MethodPatch, apis[0].url+"/v1/contacts/"+p.id, header, fmt.Appendf(nil, `{"notes_append":%q}`, text))
		if err != nil || status != http.StatusOK {
			r.t.Errorf("write %d: %d %s %v", i, status, body, err)
		}
		if got := r.apiRedis.lostReplies() - before; got != 1 {
			r.t.Fatalf("%d replies were lost, not one: nothing was tested", got)
		}
		r.injected(1)
		r.row.acked++
		r.onceInNotes(apis[0].url, p.id, text)
	}
}

// loseReplies loses replies on a wire, one at a time, under load.
func (r *run) loseReplies(on *wire, mark, what string) {
	apis, _ := r.processes(2, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	for range r.rounds(5, 40) {
		on.loseReplies(mark, 1)
		r.pass(100 * time.Millisecond)
	}
	on.heal()
	r.injected(on.lostReplies())
	if on.lostReplies() == 0 {
		r.t.Errorf("no reply of %s was lost", what)
	}
	h := tr.end()
	r.settled(30 * time.Second)
	r.recovered(w.standstill())
	r.judge(h)
}
