package faults

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// crowdFaults are about who gets in whose way: 10, 12, 14, 22.
func crowdFaults() []fault {
	return []fault{
		{number: 10, name: "lane at its limit", run: laneFull},
		{number: 12, name: "row lock held by a session", run: rowLocked},
		{number: 14, name: "clocks wrong by an hour", recovers: 7 * time.Second, brief: true, run: wrongClocks},
		{number: 22, name: "1,000 writes a second on one contact", run: hotContact},
		{number: 22, name: "one account floods a lane", run: flood},
	}
}

// laneFull fills a lane while nobody drains it: 503 overloaded, and who comes back
// after Retry-After gets in.
func laneFull(r *run) {
	api := r.prepare("api")
	api.args = append(api.args, "--lane-limit", "400")
	api.restart("")
	worker := r.start("worker")
	api.ready()
	worker.ready()
	tr := r.begin(r.t, []*process{api}, load{contacts: 10, clients: 2, writes: 10, pace: time.Millisecond}, r.seed)
	other := r.outsider(api)
	r.pass(time.Second)
	h := tr.end()
	r.settled(30 * time.Second)
	worker.kill()
	for range r.rounds(1, 3) {
		accepted, refused := 0, 0
		for refused < 20 && accepted < 1000 {
			status, after, _ := r.once(http.MethodPatch, other, title)
			switch status {
			case http.StatusAccepted:
				accepted++
			case http.StatusServiceUnavailable:
				if seconds, err := strconv.Atoi(after); err != nil || seconds < 1 {
					r.t.Fatalf("refused with Retry-After %q", after)
				}
				refused++
			default:
				r.t.Fatalf("answered %d", status)
			}
		}
		if accepted < 150 || accepted > 200 || refused == 0 {
			r.t.Errorf("%d accepted before the first refusal of a share of 200", accepted)
		}
		r.injected(1)
		worker.restart("")
		began := time.Now()
		pause := time.Second
		for {
			r.pass(pause)
			status, after, _ := r.once(http.MethodPatch, other, title)
			if status == http.StatusAccepted {
				break
			}
			seconds, err := strconv.Atoi(after)
			if err != nil || time.Since(began) > 20*time.Second {
				r.t.Fatalf("answered %d, Retry-After %q, %s after the worker's return", status, after, time.Since(began))
			}
			pause = time.Duration(seconds) * time.Second
		}
		r.note("accepted again %.1fs after the worker's start", time.Since(began).Seconds())
		r.settled(30 * time.Second)
		worker.kill()
	}
	worker.restart("")
	r.judge(h)
}

// rowLocked holds the row of one contact as a forgotten psql session does.
func rowLocked(r *run) {
	apis, _ := r.processes(1, 2)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	db := r.postgres(r.t)
	locked, beside := r.neighbours(apis[0])
	lane := laneOf(locked)
	for range r.rounds(1, 3) {
		tx, err := db.Begin(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := tx.Exec(r.t.Context(), `SELECT 1 FROM contacts WHERE id = $1 FOR UPDATE`, locked); err != nil {
			r.t.Fatal(err)
		}
		r.injected(1)
		r.pass(200 * time.Millisecond)
		waited := r.waited(apis[0].url+"/v1/contacts/"+beside, 5*time.Second)
		r.note("%d waited writes of another lane, slowest %.2fs", len(waited), slices.Max(waited).Seconds())
		if slices.Max(waited) > time.Second+crowded {
			r.t.Errorf("a write of another lane waited %s", slices.Max(waited))
		}
		before := r.depth(lane)
		r.only("write to the locked contact", r.ask(http.MethodPatch, apis[0].url+"/v1/contacts/"+locked, `{"source":"locked"}`, time.Second), http.StatusAccepted, time.Second)
		if after := r.depth(lane); after <= before {
			r.t.Errorf("the lane of the lock does not wait: %d entries, then %d", before, after)
		}
		if err := tx.Rollback(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
		eventually(r.t, 10*time.Second, func() error {
			if n := r.depth(lane); n > before {
				return fmt.Errorf("%d entries wait after the end of the lock", n)
			}
			return nil
		})
	}
	r.judge(tr.end())
}

// neighbours makes two contacts of different lanes, beside those of the traffic.
func (r *run) neighbours(api *process) (one, other string) {
	r.t.Helper()
	made := r.createContacts(r.t, api.url, 8)
	for _, p := range made[1:] {
		if laneOf(p.id) != laneOf(made[0].id) {
			return made[0].id, p.id
		}
	}
	r.t.Fatal("eight contacts in one lane")
	return "", ""
}

// laneOf is the lane of a contact, by its number.
func laneOf(id string) int {
	return contact.LaneOf(uuid.MustParse(id), contactLanes).N
}

// depth is how many entries wait in a contact lane.
func (r *run) depth(lane int) int64 {
	r.t.Helper()
	n, err := r.direct(r.t).XLen(r.t.Context(), laneLogs()[fmt.Sprintf("c%03d", lane)]).Result()
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// waited sends writes that wait for their outcome and returns how long each took.
func (r *run) waited(url string, d time.Duration) (took []time.Duration) {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		began := time.Now()
		status, body, err := r.call(r.t.Context(), http.MethodPatch, url, http.Header{"Prefer": {"wait=10"}}, fmt.Appendf(nil, `{"source":"n %d"}`, len(took)))
		if err != nil || status != http.StatusOK {
			r.t.Errorf("waited write: %d %s %v", status, body, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}

// wrongClocks runs APIs and workers whose clocks are an hour early and late. The
// provider signs with the right time; one worker is killed.
func wrongClocks(r *run) {
	var apis, workers []*process
	for _, wrong := range []string{"1h", "-1h"} {
		for _, role := range []string{"api", "worker"} {
			p := r.prepare(role)
			p.env = append(p.env, "PATCHLANE_CLOCK="+wrong)
			p.restart("")
			if role == "api" {
				apis = append(apis, p)
			} else {
				workers = append(workers, p)
			}
		}
	}
	for _, p := range slices.Concat(apis, workers) {
		p.ready()
	}
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	r.pass(time.Duration(r.rounds(1, 5)) * time.Second)
	workers[0].kill()
	r.injected(1)
	w.since(time.Now())
	r.pass(r.fault.recovers + time.Second)
	r.recovered(w.standstill())
	r.judge(tr.end())
	if r.row.unknown == r.row.acked {
		r.t.Error("nothing was acknowledged")
	}
}

// hotContact writes to one contact a thousand times a second, and measures the
// others before and meanwhile.
func hotContact(r *run) {
	apis, _ := r.processes(2, 2)
	tr := r.begin(r.t, apis, load{contacts: 20, clients: 2, pace: 10 * time.Millisecond}, r.seed)
	hot, beside := r.neighbours(apis[0])
	url := apis[0].url + "/v1/contacts/" + beside
	d := time.Duration(r.rounds(3, 15)) * time.Second
	before := r.waited(url, d)
	ctx, stop := context.WithCancel(r.t.Context())
	sent, ended := 0, make(chan struct{})
	began := time.Now()
	go func() {
		defer close(ended)
		sent = r.pour(ctx, r.key, apis[1].url, hot, 50*time.Millisecond)
	}()
	during := r.waited(url, d)
	stop()
	<-ended
	rate := float64(sent) / time.Since(began).Seconds()
	r.injected(sent)
	p99 := func(took []time.Duration) time.Duration { return took[len(took)*99/100] }
	r.note("%.0f writes/s on one contact; p99 of another lane %.0f ms before, %.0f ms meanwhile", rate,
		p99(before).Seconds()*1000, p99(during).Seconds()*1000)
	if rate < 500 {
		r.t.Errorf("%.0f writes a second are no load", rate)
	}
	if limit := max(4*p99(before), 500*time.Millisecond); p99(during) > limit {
		r.t.Errorf("p99 of another lane: %s before, %s meanwhile", p99(before), p99(during))
	}
	r.judge(tr.end())
}

// pour sends batches of fifty writes to one contact until ctx ends and returns how
// many were accepted.
func (r *run) pour(ctx context.Context, key, api, id string, every time.Duration) (accepted int) {
	rows := strings.Repeat(fmt.Sprintf(`{"id":%q,"patch":{"job_title":"hot"}},`, id), 50)
	body := []byte(`{"writes":[` + strings.TrimSuffix(rows, ",") + `]}`)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		_, reply, err := r.callAs(ctx, key, http.MethodPost, api+"/v1/contacts/batch", nil, body)
		if err == nil {
			accepted += strings.Count(string(reply), `"status":202`)
		}
		select {
		case <-ctx.Done():
			return accepted
		case <-tick.C:
		}
	}
}

// flood lets one account fill its share of a lane that nobody drains; another
// account is still accepted in the same lane.
func flood(r *run) {
	api := r.prepare("api")
	api.args = append(api.args, "--lane-limit", "2000")
	api.restart("")
	api.ready()
	worker := r.start("worker").ready()
	tr := r.begin(r.t, []*process{api}, load{contacts: 10, clients: 2, writes: 10, pace: time.Millisecond}, r.seed)
	r.pass(time.Second)
	h := tr.end()
	var account struct{ ID string }
	r.runJSON(&account, "admin", "account", "create", "--name", "flood")
	flooder := r.newKey(account.ID)
	target, _ := r.neighbours(api)
	// A contact of the flooder in the same lane: the id of a create may be chosen.
	id := uuid.New()
	for laneOf(id.String()) != laneOf(target) {
		id = uuid.New()
	}
	status, body, err := r.callAs(r.t.Context(), flooder, http.MethodPost, api.url+"/v1/contacts", nil, fmt.Appendf(nil, `{"id":%q,"first_name":"Flood"}`, id))
	if err != nil || status != http.StatusCreated {
		r.t.Fatalf("create: %d %s %v", status, body, err)
	}
	r.settled(30 * time.Second)
	worker.kill()
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(r.t.Context())
	accepted := make([]int, 3)
	for i := range accepted {
		wg.Go(func() { accepted[i] = r.pour(ctx, flooder, api.url, id.String(), 10*time.Millisecond) })
	}
	eventually(r.t, 20*time.Second, func() error {
		if n := r.depth(laneOf(target)); n < 1000 {
			return fmt.Errorf("%d entries", n)
		}
		return nil
	})
	r.only("write of another account in the flooded lane",
		r.ask(http.MethodPatch, api.url+"/v1/contacts/"+target, `{"source":"beside"}`, 2*time.Second), http.StatusAccepted, time.Second)
	stop()
	wg.Wait()
	total := 0
	for _, n := range accepted {
		total += n
	}
	r.injected(total)
	r.note("the flooder got %d entries in, its share is 1,000", total)
	if total > 1000 {
		r.t.Errorf("one account has %d entries of 2,000", total)
	}
	worker.restart("")
	r.judge(h)
}
