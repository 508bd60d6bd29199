package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Quantiles are latencies in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Report is the outcome of a run.
type Report struct {
	// Accepted counts acknowledged writes, AcceptedPerS over the time of the
	// load.
	Accepted     int     `json:"accepted"`
	AcceptedPerS float64 `json:"accepted_per_s"`
	// AppliedPerS is writes applied over the time from the first acceptance to
	// the last application, both by the clocks of the servers.
	AppliedPerS float64 `json:"applied_per_s"`
	// Accept counts from the intended moment of sending to the answer, Apply
	// from acceptance to application.
	Accept Quantiles `json:"accept_ms"`
	Apply  Quantiles `json:"apply_ms"`
	// Lost, Doubled and Disordered count writes by what is wrong with them.
	Lost       int `json:"lost"`
	Doubled    int `json:"doubled"`
	Disordered int `json:"disordered"`

	applied, failed, pending, refused, unknown int
	failure, refusal                           error
	verified                                   bool
}

// report adds everything up.
func (r *run) report() *Report {
	p := &Report{
		Accepted: r.accepted, refused: r.refused, unknown: r.unknown, refusal: r.refusal, verified: r.Verify,
		AcceptedPerS: perSecond(r.accepted, r.took), Accept: quantiles(r.latency),
	}
	apply := newHistogram()
	var first, last time.Time
	for _, t := range r.contacts {
		checkLedger(t.writes)
		for _, w := range t.writes {
			p.count(w)
			if w.outcome == nil || w.outcome.State == stateFailed {
				continue
			}
			p.applied++
			accepted, applied := w.outcome.AcceptedAt, w.outcome.AppliedAt
			record(apply, applied.Sub(accepted), 1)
			if first.IsZero() || accepted.Before(first) {
				first = accepted
			}
			if applied.After(last) {
				last = applied
			}
		}
	}
	p.AppliedPerS, p.Apply = perSecond(p.applied, last.Sub(first)), quantiles(apply)
	return p
}

// count adds one write.
func (p *Report) count(w *write) {
	switch {
	case w.fate != acknowledged || w.flaws&lost != 0:
	case w.outcome == nil:
		p.pending++
	case w.outcome.State == stateFailed:
		p.failed++
		if p.failure == nil && w.outcome.Error != nil {
			p.failure = w.outcome.Error
		}
	}
	for flaw, n := range map[flaws]*int{lost: &p.Lost, doubled: &p.Doubled, disordered: &p.Disordered} {
		if w.flaws&flaw != 0 {
			*n++
		}
	}
}

// Err returns what is wrong with the run, or nil.
func (p *Report) Err() error {
	var problems []error
	if p.Lost+p.Doubled+p.Disordered > 0 {
		problems = append(problems, fmt.Errorf("%d writes lost, %d doubled, %d disordered", p.Lost, p.Doubled, p.Disordered))
	}
	if p.pending > 0 {
		problems = append(problems, fmt.Errorf("%d writes have no outcome yet", p.pending))
	}
	if p.failed > 0 {
		problems = append(problems, withReason(fmt.Errorf("%d writes failed", p.failed), p.failure))
	}
	if p.refused > 0 {
		problems = append(problems, withReason(fmt.Errorf("%d writes were refused", p.refused), p.refusal))
	}
	return errors.Join(problems...)
}

// withReason adds the first of many reasons, if there is one.
func withReason(err, reason error) error {
	if reason == nil {
		return err
	}
	return fmt.Errorf("%w, the first: %w", err, reason)
}

// print writes the figures: a line of JSON, or a table for people.
func (p *Report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(p)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(t, name+"\t"+format+"\t\n", args...) // Flush has the error
	}
	row("", "writes\tper second\tp50 ms\tp99 ms")
	row("accepted", "%d\t%.0f\t%.1f\t%.1f", p.Accepted, p.AcceptedPerS, p.Accept.P50, p.Accept.P99)
	row("applied", "%d\t%.0f\t%.1f\t%.1f", p.applied, p.AppliedPerS, p.Apply.P50, p.Apply.P99)
	if err := t.Flush(); err != nil {
		return err
	}
	how := "by the ledger"
	if p.verified {
		how = "by the ledger, the contacts and their log"
	}
	_, err := fmt.Fprintf(w, "lost %d, doubled %d, disordered %d (%s); failed %d, refused %d, unknown %d\n",
		p.Lost, p.Doubled, p.Disordered, how, p.failed, p.refused, p.unknown)
	return err
}

// perSecond is a rate; of no time it is 0.
func perSecond(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return round(float64(n)/d.Seconds(), 1)
}

// quantiles turns microseconds into milliseconds.
func quantiles(h *hdrhistogram.Histogram) Quantiles {
	ms := func(q float64) float64 { return round(float64(h.ValueAtQuantile(q))/1000, 3) }
	return Quantiles{P50: ms(50), P99: ms(99)}
}

// round keeps some decimals.
func round(v float64, decimals int) float64 {
	p := math.Pow10(decimals)
	return math.Round(v*p) / p
}
