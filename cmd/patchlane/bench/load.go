package bench

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/uuid"
)

// loaded is how the sending went.
type loaded struct {
	// took is the time from the first send to the last answer.
	took time.Duration
	// latency is in microseconds, one value a write.
	latency *hdrhistogram.Histogram
	// accepted, refused and unknown count writes by fate.
	accepted, refused, unknown int
	// refusal is the first refusal, for the report.
	refusal error
}

// newHistogram covers a microsecond to an hour with three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Hour.Microseconds(), 3)
}

// record adds a duration n times; beyond an hour is an hour.
func record(h *hdrhistogram.Histogram, d time.Duration, n int) {
	v := min(max(d.Microseconds(), 1), time.Hour.Microseconds())
	_ = h.RecordValues(v, int64(n)) // v is within the histogram
}

// worker is one client: it has at most one request under way, so that the
// order in which it was told is the order in which it sent.
type worker struct {
	run     *run
	pace    *pace
	clock   *atomic.Uint64
	profile *profile
	meter   *meter
	latency *hdrhistogram.Histogram
	writes  []*write
	refusal error
	last    time.Time
}

// load sends all writes and sorts them by contact.
func (r *run) load(ctx context.Context) error {
	p := &pace{start: time.Now(), rate: r.Rate, batch: r.Batch, total: r.Writes, span: r.Duration}
	m := newMeter(r.stderr, "writing", r.Writes)
	defer m.done()
	var clock atomic.Uint64
	workers := make([]*worker, r.Concurrency)
	err := together(ctx, len(workers), func(ctx context.Context, i int) error {
		w := &worker{run: r, pace: p, clock: &clock, profile: newProfile(i, r), meter: m, latency: newHistogram()}
		workers[i] = w
		return w.work(ctx)
	})
	if err != nil {
		return err
	}
	r.gather(p.start, workers)
	if r.accepted == 0 {
		return errors.Join(errors.New("no write was accepted"), r.refusal)
	}
	return nil
}

// gather adds up what the workers saw.
func (r *run) gather(start time.Time, workers []*worker) {
	r.latency = newHistogram()
	for _, w := range workers {
		r.took = max(r.took, w.last.Sub(start))
		r.latency.Merge(w.latency)
		if r.refusal == nil {
			r.refusal = w.refusal
		}
		for _, x := range w.writes {
			x.target.writes = append(x.target.writes, x)
			switch x.fate {
			case acknowledged:
				r.accepted++
			case refused:
				r.refused++
			default:
				r.unknown++
			}
		}
	}
}

// work sends until the pace says that it is over.
func (w *worker) work(ctx context.Context) error {
	for {
		n, at, ok := w.pace.next(time.Now())
		if !ok {
			return nil
		}
		if !until(ctx, at) {
			return ctx.Err()
		}
		rows := make([]*write, n)
		for i := range rows {
			rows[i] = w.profile.next()
			rows[i].sent = w.clock.Add(1)
		}
		w.writes = append(w.writes, rows...)
		var err error
		if w.run.Batch > 1 {
			err = w.sendBatch(ctx, rows, at)
		} else {
			err = w.send(ctx, rows[0], at)
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// send sends one write as a PATCH.
func (w *worker) send(ctx context.Context, x *write, due time.Time) error {
	var answer struct {
		Data struct {
			WriteID uuid.UUID `json:"write_id"`
		} `json:"data"`
	}
	_, err := w.run.client.do(ctx, request{
		method: http.MethodPatch, path: "/v1/contacts/" + x.target.id.String(), body: x.patch(),
		key: w.run.name + ":" + x.token(), prefer: "respond-async",
	}, &answer)
	if err != nil {
		return w.failed(err, x)
	}
	w.acknowledge(x, answer.Data.WriteID, w.clock.Add(1), due)
	return nil
}

// batchRow is a row of a batch request.
type batchRow struct {
	ID    *uuid.UUID        `json:"id,omitempty"`
	Patch map[string]string `json:"patch"`
	Key   string            `json:"idempotency_key"`
}

// rowResult is a row of a batch answer.
type rowResult struct {
	Index     int       `json:"index"`
	Status    int       `json:"status"`
	WriteID   uuid.UUID `json:"write_id"`
	ContactID uuid.UUID `json:"contact_id"`
	Error     *refusal  `json:"error"`
}

// later tells whether the row is to be sent again.
func (r *rowResult) later() bool {
	return r.Status == http.StatusTooManyRequests || r.Status >= http.StatusInternalServerError
}

// err is why a row was refused.
func (r *rowResult) err() error {
	e := &refusal{}
	if r.Error != nil {
		*e = *r.Error
	}
	e.Status = r.Status
	return e
}

// batchAnswer is the answer to a batch.
type batchAnswer struct {
	Data struct {
		Results []rowResult `json:"results"`
	} `json:"data"`
}

// sendBatch sends writes as one batch, and again those rows that were put off.
func (w *worker) sendBatch(ctx context.Context, rows []*write, due time.Time) error {
	deadline := time.Now().Add(giveUp)
	for wait := firstPause; len(rows) > 0; wait = min(2*wait, longestPause) {
		body := make([]batchRow, len(rows))
		for i, x := range rows {
			body[i] = batchRow{ID: &x.target.id, Patch: x.patch(), Key: w.run.name + ":" + x.token()}
		}
		var answer batchAnswer
		repeats, err := w.run.client.do(ctx, request{
			method: http.MethodPost, path: "/v1/contacts/batch", body: map[string]any{"writes": body},
		}, &answer)
		if err != nil {
			return w.failed(err, rows...)
		}
		rows = w.sort(rows, answer.Data.Results, repeats == 0, due)
		if len(rows) > 0 && (time.Now().After(deadline) || !pause(ctx, wait)) {
			return ctx.Err() // their fate stays unknown
		}
	}
	return nil
}

// sort reads the answer row by row and returns those to be sent again. Rows of
// one answer were acknowledged in their order, but only if the request was sent
// once: after a repetition it cannot be said which try took which row.
func (w *worker) sort(rows []*write, results []rowResult, once bool, due time.Time) []*write {
	var again []*write
	tick := w.clock.Add(uint64(len(rows))) - uint64(len(rows))
	answered := make([]bool, len(rows))
	for _, res := range results {
		if res.Index < 0 || res.Index >= len(rows) || answered[res.Index] {
			continue
		}
		answered[res.Index] = true
		x := rows[res.Index]
		switch {
		case res.later():
			again = append(again, x)
		case res.Status >= http.StatusBadRequest:
			w.refuse(res.err(), x)
		default:
			at := tick + 1
			if once {
				at += uint64(res.Index)
			}
			w.acknowledge(x, res.WriteID, at, due)
		}
	}
	return again // a row without a result stays unknown
}

// acknowledge notes that a write was accepted.
func (w *worker) acknowledge(x *write, id uuid.UUID, tick uint64, due time.Time) {
	now := time.Now()
	x.fate, x.id, x.acked = acknowledged, id, tick
	record(w.latency, now.Sub(due), 1)
	w.last = now
	w.meter.step()
}

// failed sorts the error of an exchange: a refusal of the key ends the run, as
// nothing will ever be accepted; another one is counted; the rest is unknown.
func (w *worker) failed(err error, rows ...*write) error {
	final := (*refusal)(nil)
	if !errors.As(err, &final) {
		return nil
	}
	w.refuse(err, rows...)
	if final.Status == http.StatusUnauthorized || final.Status == http.StatusForbidden {
		return err
	}
	return nil
}

// refuse notes that writes were refused.
func (w *worker) refuse(err error, rows ...*write) {
	for _, x := range rows {
		x.fate = refused
	}
	if w.refusal == nil {
		w.refusal = err
	}
}
