package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
)

// table is the outcome of all rounds.
type table struct {
	repeat, contacts int
	rows             []*line
}

// line is the outcome of one way.
type line struct {
	way     way
	rates   []float64
	sum     verdict
	skipped string
}

// add records one run.
func (l *line) add(rate float64, v verdict) {
	l.rates = append(l.rates, rate)
	l.sum.Missing += v.Missing
	l.sum.Extra += v.Extra
	l.sum.Disordered += v.Disordered
}

// median returns the middle of the rates.
func (l *line) median() float64 {
	if len(l.rates) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(l.rates))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// verdict says in words what became of the writes.
func (l *line) verdict() string {
	var words []string
	for _, w := range []struct {
		count int
		what  string
	}{{l.sum.Missing, "lost"}, {l.sum.Extra, "doubled"}, {l.sum.Disordered, "out of order"}} {
		if w.count > 0 {
			words = append(words, fmt.Sprintf("%d %s", w.count, w.what))
		}
	}
	if len(words) == 0 {
		return "all there, in order"
	}
	return strings.Join(words, ", ")
}

// find returns the line whose name has a part.
func (t *table) find(part string) *line {
	for _, l := range t.rows {
		if strings.Contains(l.way.name, part) && len(l.rates) > 0 {
			return l
		}
	}
	return nil
}

// goals are the ratios that patchlane means to reach.
func goals() []struct {
	ours, theirs string
	ratio        float64
} {
	return []struct {
		ours, theirs string
		ratio        float64
	}{
		{"batches of 500", "asynq, 16 workers", 20},
		{"batches of 500", "River as", 20},
		{"batches of 500", "River, fetching", 20},
		{"batches of 500", "SQL inside", 0.9},
	}
}

// print writes the table in Markdown.
func (t *table) print(w io.Writer) error {
	base := t.find("transaction, 1")
	var b strings.Builder
	fmt.Fprintf(&b, "%d contacts, two fields changed a write, a note with every fifth, audit and ledger; %d cores for all of it, fsync on; median of %d rounds.\n\n",
		t.contacts, runtime.NumCPU(), t.repeat)
	b.WriteString("| way | order promised | writes | applied / s (median) | least to most | against one transaction a write, in order | found afterwards |\n")
	b.WriteString("|---|---|---:|---:|---|---:|---|\n")
	for _, l := range t.rows {
		if l.skipped != "" {
			fmt.Fprintf(&b, "| %s | | | | | | %s |\n", l.way.name, strings.ReplaceAll(l.skipped, "\n", " "))
			continue
		}
		promised, ratio := "no", "–"
		if l.way.ordered {
			promised = "yes"
		}
		if base != nil {
			ratio = fmt.Sprintf("%.1f x", l.median()/base.median())
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %.0f | %.0f to %.0f | %s | %s |\n", l.way.name, promised, l.way.writes, l.median(),
			slices.Min(l.rates), slices.Max(l.rates), ratio, l.verdict())
	}
	b.WriteString("\n")
	for _, g := range goals() {
		ours, theirs := t.find(g.ours), t.find(g.theirs)
		if ours == nil || theirs == nil {
			continue
		}
		ratio, word := ours.median()/theirs.median(), "reached"
		if ratio < g.ratio {
			word = "missed"
		}
		fmt.Fprintf(&b, "- %s against %s: %.2f (goal %.1f: %s)\n", ours.way.name, theirs.way.name, ratio, g.ratio, word)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	return nil
}
