package main

import (
	"image"
	"image/color"
	imagedraw "image/draw"
	"math"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot"
)

// unit shows a number as Grafana does.
func unit(name string) func(float64) string {
	scaled := func(v, base float64, suffixes []string) string {
		i := 0
		for math.Abs(v) >= base && i < len(suffixes)-1 {
			v, i = v/base, i+1
		}
		return short(v) + suffixes[i]
	}
	switch name {
	case "s":
		return func(v float64) string {
			switch {
			case v == 0:
				return "0"
			case v < 1:
				return short(v*1000) + " ms"
			case v < 120:
				return short(v) + " s"
			default:
				return short(v/60) + " min"
			}
		}
	case "bytes":
		return func(v float64) string { return scaled(v, 1024, []string{" B", " KiB", " MiB", " GiB"}) }
	case "percentunit":
		return func(v float64) string { return short(v*100) + " %" }
	case "bool_yes_no":
		return func(v float64) string {
			switch v {
			case 0:
				return "No"
			case 1:
				return "Yes"
			default:
				return ""
			}
		}
	case "wps", "ops", "reqps":
		return func(v float64) string { return scaled(v, 1000, []string{"/s", "k/s", "M/s"}) }
	default:
		return func(v float64) string { return scaled(v, 1000, []string{"", "k", "M", "G"}) }
	}
}

// short is a number of three digits at most.
func short(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return trimmed(v, 1)
	default:
		return trimmed(v, 2)
	}
}

func trimmed(v float64, digits int) string {
	p := math.Pow(10, float64(digits))
	return strconv.FormatFloat(math.Round(v*p)/p, 'f', -1, 64)
}

// ticks are the default ones with their unit, as few as fit a small panel.
func ticks(format func(float64) string, binary bool) plot.Ticker {
	return plot.TickerFunc(func(low, high float64) []plot.Tick {
		raw := (high - low) / 5
		step := math.Pow(10, math.Floor(math.Log10(raw)))
		for _, m := range []float64{1, 2, 5, 10} {
			if step*m >= raw {
				step *= m
				break
			}
		}
		if binary {
			step = math.Pow(2, math.Ceil(math.Log2(raw)))
		}
		var out []plot.Tick
		for v := low; v <= high; v += step {
			out = append(out, plot.Tick{Value: v, Label: format(v)})
		}
		return out
	})
}

// clock are some full times of the day, in UTC.
func clock(length time.Duration) plot.Ticker {
	step, format := 15*time.Second, "15:04"
	for _, longer := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour} {
		if length/step > 5 {
			step = longer
		}
	}
	if step < time.Minute {
		format = "15:04:05"
	}
	return plot.TickerFunc(func(low, high float64) []plot.Tick {
		var out []plot.Tick
		for at := time.Unix(int64(low), 0).Truncate(step).Add(step); float64(at.Unix()) <= high; at = at.Add(step) {
			out = append(out, plot.Tick{Value: float64(at.Unix()), Label: at.UTC().Format(format)})
		}
		return out
	})
}

// paletted makes a small file of a picture: its commonest colours alone.
func paletted(img image.Image) image.Image {
	const (
		colours = 256
		coarse  = 4 // bits that are dropped where colours are counted
	)
	counts := map[color.RGBA]int{}
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl, _ := img.At(x, y).RGBA()
			counts[color.RGBA{R: uint8(r>>8) &^ (coarse - 1), G: uint8(g>>8) &^ (coarse - 1), B: uint8(bl>>8) &^ (coarse - 1), A: 255}]++
		}
	}
	all := make([]color.RGBA, 0, len(counts))
	for c := range counts {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b color.RGBA) int { return counts[b] - counts[a] })
	p := make(color.Palette, 0, colours)
	for _, c := range all[:min(len(all), colours)] {
		p = append(p, c)
	}
	out := image.NewPaletted(b, p)
	imagedraw.Draw(out, b, img, b.Min, imagedraw.Src)
	return out
}
