package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
	"patchlane/deploy/local"
	"patchlane/store"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane/lanetest"
)

var wholeDrill = flag.Bool("drill", false, "drill every alert, which takes some minutes")

// exercise is one fault and the alerts that have to fire on it.
type exercise struct {
	fault  string
	alerts []string
	// begin makes the fault and returns what mends it.
	begin func() (mend func())
}

// drill is a stack of its own, a real Prometheus that looks at it, and what was
// seen.
type drill struct {
	*site
	t         *testing.T
	pg        *local.Postgres
	redis     *lanetest.Server
	api       *node
	worker    *node
	workerOps string
	endpoints map[signature.Provider]providerEndpoint
	traffic   *traffic
	monitor   *monitor
	// since are the alerts that fire, and when that was first seen.
	mu      sync.Mutex
	since   map[string]time.Time
	results []result
}

// result is a line of the table.
type result struct {
	alert, fault  string
	fired, ceased time.Duration
}

// TestDrill makes real faults on a real stack and waits until each alert fires
// in a real Prometheus, and, once the fault is mended, until it clears. The rules
// are those of deploy/alerts.yml with shorter times. `make drill` does all of
// them; the ordinary run those that need no server to die.
func TestDrill(t *testing.T) {
	t.Parallel()
	d := newDrill(t)
	stages := [][]exercise{d.small()}
	if *wholeDrill {
		stages = append(stages, d.large()...)
	}
	for _, stage := range stages {
		d.run(stage)
	}
	t.Log("\n" + d.table())
	if !*wholeDrill {
		return
	}
	rules, _ := alertRules(t)
	for _, r := range rules {
		if r.Alert != "" && !slices.ContainsFunc(d.results, func(one result) bool { return one.alert == r.Alert }) {
			t.Errorf("%s: no fault of the drill is for it", r.Alert)
		}
	}
}

func newDrill(t *testing.T) *drill {
	t.Helper()
	pg, err := local.StartPostgres(t.Context(), local.PostgresOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Stop() })
	if err := store.Migrate(t.Context(), pg.URL(), store.MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	redis := lanetest.Start(t, true)
	d := &drill{
		t: t, pg: pg, redis: redis, since: map[string]time.Time{},
		site: &site{tb: t, db: pg.URL(), redis: redis.URL(), http: testClient(t)},
	}
	d.makeKey()
	certs := t.TempDir()
	d.endpoints = d.site.endpoints(certs)
	d.api = d.start("api", "--sns-cert-dir", certs).ready()
	d.worker = d.start("worker").ready()
	d.workerOps = strings.TrimPrefix(d.worker.Ops, "http://")
	d.traffic = d.send(d.api, d.endpoints[signature.Telnyx], 8, 100*time.Millisecond)
	_, rules := alertRules(t)
	d.monitor = d.watch(scaledRules(rules), map[string]*node{"patchlane-api": d.api, "patchlane-worker": d.worker})
	d.look()
	d.eventually(30*time.Second, "both processes are scraped", func() error {
		var found struct{ Result []any }
		d.monitor.ask(d.t.Context(), &found, "query", map[string][]string{"query": {"patchlane_store_up == 1 and on () patchlane_api_in_flight_requests"}})
		if len(found.Result) == 0 {
			return errNotYet
		}
		return nil
	})
	return d
}

// look keeps since up to date until the test ends.
func (d *drill) look() {
	ctx, stop := context.WithCancel(d.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			names := d.monitor.firing(ctx)
			d.mu.Lock()
			for name := range d.since {
				if !slices.Contains(names, name) {
					delete(d.since, name)
				}
			}
			for _, name := range names {
				if _, known := d.since[name]; !known {
					d.since[name] = time.Now()
				}
			}
			d.mu.Unlock()
		}
	})
	d.t.Cleanup(func() { stop(); wg.Wait() })
}

// fires tells whether an alert fires now, and since when.
func (d *drill) fires(alert string) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, fires := d.since[alert]
	return at, fires
}

// run makes the faults of a stage at the same time, each until its alerts have
// fired, mends it and waits until they have cleared.
func (d *drill) run(stage []exercise) {
	d.t.Helper()
	var wg sync.WaitGroup
	for _, e := range stage {
		wg.Go(func() {
			for _, alert := range e.alerts {
				if !d.await(alert, false, 150*time.Second) {
					d.t.Errorf("%s fires before its fault was made", alert)
					return
				}
			}
			began := time.Now()
			mend := sync.OnceFunc(e.begin())
			defer mend()
			fired := map[string]time.Duration{}
			for _, alert := range e.alerts {
				if !d.await(alert, true, 45*time.Second) {
					d.t.Errorf("%s: %s did not fire; firing: %v", e.fault, alert, d.monitor.firing(d.t.Context()))
					return
				}
				at, _ := d.fires(alert)
				fired[alert] = max(0, at.Sub(began))
			}
			mend()
			mended := time.Now()
			for _, alert := range e.alerts {
				if !d.await(alert, false, 150*time.Second) {
					d.t.Errorf("%s: %s did not clear", e.fault, alert)
				}
				d.mu.Lock()
				d.results = append(d.results, result{alert: alert, fault: e.fault, fired: fired[alert], ceased: time.Since(mended)})
				d.mu.Unlock()
			}
		})
	}
	wg.Wait()
	if d.t.Failed() {
		d.t.FailNow()
	}
}

// await waits until an alert fires, or does not.
func (d *drill) await(alert string, fires bool, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(d.t.Context(), within)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, now := d.fires(alert); now == fires {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// table is what the drill has shown.
func (d *drill) table() string {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "alert\tfault\tfired after\tcleared after the mend\n")
	slices.SortStableFunc(d.results, func(a, b result) int { return strings.Compare(a.alert, b.alert) })
	for _, r := range d.results {
		fmt.Fprintf(w, "%s\t%s\t%.1f s\t%.1f s\n", r.alert, r.fault, r.fired.Seconds(), r.ceased.Seconds())
	}
	_ = w.Flush()
	return out.String()
}

// repeat does something until it is told to stop.
func (d *drill) repeat(every time.Duration, do func()) (stop func()) {
	ctx, cancel := context.WithCancel(d.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			do()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// quiet makes a contact in a lane that the traffic and the other exercises leave
// alone, and returns its path and its lane.
func (d *drill) quiet(taken ...contact.Lane) (string, contact.Lane) {
	d.t.Helper()
	for _, path := range d.traffic.paths {
		taken = append(taken, d.laneOf(path))
	}
	taken = append(taken, contact.Lane{Kind: 'c', N: 3}) // where poison goes
	for range 200 {
		path := d.api.create()
		if l := d.laneOf(path); !slices.Contains(taken, l) {
			return path, l
		}
	}
	d.t.Fatal("no quiet lane")
	return "", contact.Lane{}
}

func (d *drill) laneOf(path string) contact.Lane {
	return contact.LaneOf(uuid.MustParse(strings.TrimPrefix(path, "/v1/contacts/")), 32)
}

// patch sends a write that nobody waits for; its answer is no matter.
func (d *drill) patch(path string, headers ...string) {
	_, _ = d.api.client().do(d.t.Context(), http.MethodPatch, path, `{"job_title":"drill"}`, append(headers, "Prefer", "respond-async")...)
}

// garbage is an event that is signed well and cannot be read.
func (d *drill) garbage(p signature.Provider) *simulate.Drill {
	e := d.traffic.drill(p, d.endpoints[p])
	e.Event = simulate.Garbage
	return e
}
