package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
)

// TestOptOutsOvertakeWrites: a STOP is seen while the writes that were accepted
// before it still wait. BenchmarkOptOutLatency measures how long it takes.
func TestOptOutsOvertakeWrites(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	o := s.overtake(backlog{contacts: 2000, writes: 40_000, people: 8, abreast: 2})
	t.Logf("%s", o)
	// The bound leaves room for a machine that runs everything else as well.
	if worst := o.took[len(o.took)-1]; worst > 5*time.Second {
		t.Errorf("an opt-out was seen after %s", worst)
	}
	if o.after == 0 {
		t.Error("no write waited any more: nothing was overtaken")
	}
}

// BenchmarkOptOutLatency measures the time from the provider's 2xx to the flag
// on GET, over 200 STOPs, while never fewer than 200,000 writes wait.
func BenchmarkOptOutLatency(b *testing.B) {
	for b.Loop() {
		s, _ := newSite(b)
		o := s.overtake(backlog{contacts: 20_000, writes: 600_000, people: 200, abreast: 4})
		b.ReportMetric(o.at(0.50), "p50-ms")
		b.ReportMetric(o.at(0.99), "p99-ms")
		b.ReportMetric(o.at(1), "worst-ms")
		b.ReportMetric(float64(o.before), "waiting-at-first")
		b.ReportMetric(float64(o.after), "waiting-at-last")
		if o.after < 200_000 {
			b.Errorf("only %d writes waited at the last opt-out", o.after)
		}
	}
}

// backlog is what waits while people opt out, a few of them at a time.
type backlog struct{ contacts, writes, people, abreast int }

// overtaking is how long opt-outs took, the shortest first, and how many writes
// waited before the first and after the last of them.
type overtaking struct {
	took          []time.Duration
	before, after int
}

// at returns a quantile in milliseconds.
func (o *overtaking) at(q float64) float64 {
	i := min(int(q*float64(len(o.took))), len(o.took)-1)
	return float64(o.took[i].Microseconds()) / 1000
}

func (o *overtaking) String() string {
	return fmt.Sprintf("%d opt-outs, p50 %.0f ms, p99 %.0f ms, worst %.0f ms from the answer to the flag; %d writes waited before, %d after",
		len(o.took), o.at(0.5), o.at(0.99), o.at(1), o.before, o.after)
}

// overtake lets writes wait, starts a worker on them, and opts people out.
func (s *site) overtake(l backlog) *overtaking {
	s.tb.Helper()
	a, w := s.start("api").ready(), s.start("worker").ready()
	ids := a.crowd(l.contacts)
	w.stop()
	w.ended()
	e := s.endpoints(s.tb.TempDir())[signature.Twilio]
	a.pile(ids, l.writes)
	o := &overtaking{before: s.waiting()}
	s.start("worker").ready()
	drill := simulate.Drill{Provider: signature.Twilio, Event: simulate.Stop, Key: e.keys.Key, Target: a.API + "/v1/webhooks/" + e.id}
	drill.Signed = drill.Target
	o.took = make([]time.Duration, l.people)
	posting, ctx := errgroup.WithContext(s.tb.Context())
	posting.SetLimit(l.abreast)
	for i := range o.took {
		posting.Go(func() (err error) {
			// The people are spread over the crowd, whose writes fill every lane.
			at, d := i*len(ids)/l.people, drill
			d.Address = crowdNumber(at)
			o.took[i], err = a.optOut(ctx, &d, ids[at])
			return err
		})
	}
	if err := posting.Wait(); err != nil {
		s.tb.Fatal(err)
	}
	o.after = s.waiting()
	slices.Sort(o.took)
	return o
}

// optOut posts a STOP and returns the time from its answer to the flag.
func (n *node) optOut(ctx context.Context, d *simulate.Drill, id string) (time.Duration, error) {
	answer, err := d.Post(ctx, n.site.http, time.Now())
	if err != nil || answer.Status != http.StatusOK {
		return 0, fmt.Errorf("answered %d, %w", answer.Status, err)
	}
	answered := time.Now()
	look := backOff{wait: 2 * time.Millisecond, most: 10 * time.Millisecond}
	for time.Since(answered) < 30*time.Second {
		r, err := n.client().do(ctx, http.MethodGet, "/v1/contacts/"+id, "")
		if err != nil {
			return 0, err
		}
		var body struct{ Data consent }
		if err := json.Unmarshal(r.raw, &body); err != nil || r.Status != http.StatusOK {
			return 0, fmt.Errorf("read contact: %d %s", r.Status, r.raw)
		}
		if body.Data.SMS {
			return time.Since(answered), nil
		}
		look.pause(ctx)
	}
	return 0, errors.New("no flag after 30 s")
}

// waiting counts what stands in the lanes.
func (s *site) waiting() int {
	s.tb.Helper()
	var all struct{ Lanes []struct{ Depth int } }
	s.command(&all, "admin", "lanes")
	n := 0
	for _, l := range all.Lanes {
		n += l.Depth
	}
	return n
}

func crowdNumber(i int) string { return fmt.Sprintf("+1415%07d", 5_550_000+i) }

// piled is how many rows a request of the pile holds.
const piled = 1000

// crowd makes contacts, each with a number of its own, and waits until they are
// there.
func (n *node) crowd(size int) []string {
	n.site.tb.Helper()
	ids := make([]string, 0, size)
	for start := 0; start < size; start += piled {
		rows := make([]string, 0, piled)
		for i := start; i < min(start+piled, size); i++ {
			rows = append(rows, fmt.Sprintf(`{"patch":{"first_name":"Jane","phone":%q}}`, crowdNumber(i)))
		}
		for _, row := range n.batch(rows) {
			ids = append(ids, row.ContactID)
		}
	}
	n.site.eventually(60*time.Second, "the crowd", func() error {
		if waiting := n.site.waiting(); waiting > 0 {
			return fmt.Errorf("%d entries wait", waiting)
		}
		return nil
	})
	return ids
}

// pile appends writes that nobody waits for.
func (n *node) pile(ids []string, writes int) {
	n.site.tb.Helper()
	for start := 0; start < writes; start += piled {
		rows := make([]string, 0, piled)
		for i := start; i < min(start+piled, writes); i++ {
			rows = append(rows, fmt.Sprintf(`{"id":%q,"patch":{"job_title":"t%d","company_name":"Company %d"}}`, ids[i%len(ids)], i, i))
		}
		n.batch(rows)
	}
}

// batchRow is the answer to a row of a batch.
type batchRow struct {
	Status    int
	ContactID string `json:"contact_id"`
}

// batch sends rows that are all to be accepted.
func (n *node) batch(rows []string) []batchRow {
	n.site.tb.Helper()
	r := n.do(http.MethodPost, "/v1/contacts/batch", `{"writes":[`+strings.Join(rows, ",")+`]}`)
	var body struct {
		Data struct {
			Accepted int
			Results  []batchRow
		}
	}
	if err := json.Unmarshal(r.raw, &body); err != nil || body.Data.Accepted != len(rows) {
		n.site.tb.Fatalf("batch: %d %s", r.Status, shortened(string(r.raw), 500))
	}
	return body.Data.Results
}
