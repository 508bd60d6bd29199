package main

import (
	"cmp"
	"fmt"
	"image/color"
	"image/png"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	drawing "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// The sizes of the picture, in points; a cell is one of Grafana's grid.
const (
	cellWide = vg.Length(32)
	cellHigh = vg.Length(17)
	margin   = vg.Length(5)
	headHigh = vg.Length(40)
	gridWide = 24
	dpi      = 110
	// mostNamed is how many lines a legend names.
	mostNamed = 6
)

// palette is that of a dark Grafana.
func palette() []color.Color {
	return []color.Color{
		hex(0x73bf69), hex(0xf2cc0c), hex(0x8ab8ff), hex(0xff780a), hex(0xf2495c), hex(0x5794f2),
		hex(0xb877d9), hex(0x37872d), hex(0xfade2a), hex(0x96d98d),
	}
}

func hex(v uint32) color.Color {
	return color.RGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 255}
}

func threshold(name string) color.Color {
	switch name {
	case "red":
		return hex(0xc4162a)
	case "orange":
		return hex(0xd9730d)
	default:
		return hex(0x2f7d32)
	}
}

// draw draws every panel at its place of the grid.
func draw(b *board, series [][]line, s source, out string) error {
	high := 0
	for i := range b.Panels {
		high = max(high, b.Panels[i].GridPos.Y+b.Panels[i].GridPos.H)
	}
	w, h := gridWide*cellWide+2*margin, vg.Length(high)*cellHigh+headHigh+2*margin
	img := vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(hex(0x111217)))
	c := drawing.New(img)
	c.FillText(words(15, hex(0xe8e8ee), true), vg.Point{X: 2 * margin, Y: h - 22}, b.Title)
	c.FillText(words(9, hex(0x9fa3ad), false), vg.Point{X: 2 * margin, Y: h - 34}, b.Description)
	for i := range b.Panels {
		p := &b.Panels[i]
		x, y := vg.Length(p.GridPos.X)*cellWide+margin, h-headHigh-margin-vg.Length(p.GridPos.Y+p.GridPos.H)*cellHigh
		box := drawing.Crop(c, x+2, x+vg.Length(p.GridPos.W)*cellWide-2-w, y+2, y+vg.Length(p.GridPos.H)*cellHigh-2-h)
		if p.Type == "stat" {
			number(box, p, series[i])
			continue
		}
		if err := lines(box, p, series[i], s); err != nil {
			return fmt.Errorf("draw %s: %w", p.Title, err)
		}
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(f, paletted(img.Image())); err != nil {
		return err
	}
	return f.Close()
}

func words(size float64, c color.Color, bold bool) text.Style {
	weight := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}
	if bold {
		weight.Weight = 2
	}
	return text.Style{Color: c, Font: weight, Handler: plot.DefaultTextHandler}
}

func fill(c drawing.Canvas, with color.Color) {
	c.FillPolygon(with, []vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max, {X: c.Min.X, Y: c.Max.Y}})
}

// number shows the last value on the colour of its threshold.
func number(c drawing.Canvas, p *panel, found []line) {
	value, ok := 0.0, false
	for _, l := range found {
		value, ok = l.points[len(l.points)-1].Y, true
	}
	with := hex(0x24262b)
	for _, step := range p.FieldConfig.Defaults.Thresholds.Steps {
		if ok && (step.Value == nil || value >= *step.Value) {
			with = threshold(step.Color)
		}
	}
	fill(c, with)
	c.FillText(words(9, hex(0xf0f0f0), false), vg.Point{X: c.Min.X + 6, Y: c.Max.Y - 13}, p.Title)
	shown := "no data"
	if ok {
		shown = unit(p.FieldConfig.Defaults.Unit)(value)
	}
	c.FillText(words(22, hex(0xffffff), true), vg.Point{X: c.Min.X + 6, Y: c.Min.Y + 12}, shown)
}

// lines shows series over time.
func lines(c drawing.Canvas, p *panel, found []line, s source) error {
	fill(c, hex(0x181b1f))
	c.FillText(words(9.5, hex(0xd8d9dc), true), vg.Point{X: c.Min.X + 6, Y: c.Max.Y - 13}, p.Title)
	pl := plot.New()
	pl.BackgroundColor = hex(0x181b1f)
	until := float64(s.until.Unix())
	pl.X.Min, pl.X.Max, pl.Y.Min = until-s.length.Seconds(), until, 0
	format := unit(p.FieldConfig.Defaults.Unit)
	for _, a := range []*plot.Axis{&pl.X, &pl.Y} {
		a.LineStyle.Width, a.Tick.LineStyle.Width, a.Tick.Length, a.Padding = 0, 0, 2, 2
		a.Tick.Label.Color, a.Tick.Label.Font.Size = hex(0x9fa3ad), vg.Points(7)
		a.Tick.Label.Font.Variant = "Sans"
	}
	pl.X.Tick.Marker = clock(s.length)
	pl.Y.Tick.Marker = ticks(format, p.FieldConfig.Defaults.Unit == "bytes")
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = hex(0x25282e), hex(0x2b2f36)
	pl.Add(grid)
	stacked := p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal"
	if stacked {
		found = pile(found)
	}
	top := 0.0
	colours := palette()
	for i := len(found) - 1; i >= 0; i-- {
		l, err := plotter.NewLine(found[i].points)
		if err != nil {
			return err
		}
		l.Color, l.Width = colours[i%len(colours)], vg.Points(1.1)
		if stacked {
			r, g, b, _ := l.Color.RGBA()
			l.FillColor = color.RGBA{R: uint8(r >> 9), G: uint8(g >> 9), B: uint8(b >> 9), A: 255}
		}
		pl.Add(l)
		for _, xy := range found[i].points {
			top = max(top, xy.Y)
		}
	}
	pl.Y.Max = max(top*1.1, 1e-3)
	switch {
	case top == 0 && p.FieldConfig.Defaults.Unit == "percentunit":
		pl.Y.Max = 0.02
	case top == 0:
		pl.Y.Max = 1
	}
	legendHigh := legend(c, found)
	pl.Draw(drawing.Crop(c, 6, -8, 6+legendHigh, -20))
	return nil
}

// pile puts series upon each other.
func pile(found []line) []line {
	sums := map[float64]float64{}
	out := make([]line, len(found))
	for i, l := range found {
		out[i].name, out[i].peak = l.name, l.peak
		for _, xy := range l.points {
			sums[xy.X] += xy.Y
			out[i].points = append(out[i].points, plotter.XY{X: xy.X, Y: sums[xy.X]})
		}
	}
	return out
}

// legend names the lines that were highest, and returns its height.
func legend(c drawing.Canvas, found []line) vg.Length {
	colours := palette()
	order := make([]int, 0, len(found))
	for i := range found {
		if found[i].name != "" {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(found[b].peak, found[a].peak) })
	style := words(7.5, hex(0xb8bcc4), false)
	const rowHigh = 10
	x, y := c.Min.X+8, c.Min.Y+4
	shown := order[:min(len(order), mostNamed)]
	rest := len(order) - len(shown)
	rows := vg.Length(1)
	for _, i := range shown {
		wide := style.Width(found[i].name) + 18
		if x+wide > c.Max.X-4 {
			x, y, rows = c.Min.X+8, y+rowHigh, rows+1
		}
		c.StrokeLines(drawing.LineStyle{Color: colours[i%len(colours)], Width: 2}, []vg.Point{{X: x, Y: y + 3}, {X: x + 8, Y: y + 3}})
		c.FillText(style, vg.Point{X: x + 11, Y: y}, found[i].name)
		x += wide
	}
	if rest > 0 && x+24 < c.Max.X {
		c.FillText(style, vg.Point{X: x, Y: y}, fmt.Sprintf("+%d", rest))
	}
	return rows * rowHigh
}
