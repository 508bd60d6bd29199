package main

import (
	"fmt"
	"image/color"
	"runtime"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// draw writes the medians as bars into a PNG: ordered ways are dark.
func (t *table) draw(file string) error {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("Contact writes applied per second (median of %d; %d cores for all of it; fsync on)", t.repeat, runtime.NumCPU())
	p.Title.Padding = vg.Points(8)
	p.X.Label.Text = "writes / s"
	p.X.Min = 0
	lines := slices.DeleteFunc(slices.Clone(t.rows), func(l *line) bool { return len(l.rates) == 0 })
	slices.SortFunc(lines, func(a, b *line) int { return int(a.median() - b.median()) })
	names := make([]string, len(lines))
	var labels plotter.XYLabels
	for i, l := range lines {
		names[i] = l.way.name
		bar, err := plotter.NewBarChart(plotter.Values{l.median()}, vg.Points(16))
		if err != nil {
			return fmt.Errorf("draw bar: %w", err)
		}
		bar.Horizontal, bar.XMin, bar.LineStyle.Width = true, float64(i), 0
		bar.Color = color.RGBA{R: 176, G: 190, B: 197, A: 255}
		if l.way.ordered {
			bar.Color = color.RGBA{R: 21, G: 101, B: 192, A: 255}
		}
		p.Add(bar)
		labels.XYs = append(labels.XYs, plotter.XY{X: l.median(), Y: float64(i)})
		labels.Labels = append(labels.Labels, fmt.Sprintf(" %.0f", l.median()))
		p.X.Max = max(p.X.Max, l.median()*1.12)
	}
	figures, err := plotter.NewLabels(labels)
	if err != nil {
		return fmt.Errorf("draw figures: %w", err)
	}
	figures.Offset.Y = -vg.Points(4)
	p.Add(figures)
	p.NominalY(names...)
	p.X.Label.Text += "     dark: keeps the order of each contact's writes"
	if err := p.Save(vg.Points(760), vg.Points(60+30*float64(len(lines))), file); err != nil {
		return fmt.Errorf("save chart: %w", err)
	}
	return nil
}
