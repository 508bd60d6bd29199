package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot/plotter"
)

// source is the Prometheus that is asked.
type source struct {
	url    string
	until  time.Time
	length time.Duration
}

// line is one series with its name in the legend.
type line struct {
	name   string
	points plotter.XYs
	// peak is the largest value.
	peak float64
}

// steps is how many points a line has at most.
const steps = 150

// ask asks for the range; what is no number is left out.
func (s source) ask(ctx context.Context, expr, legend string) ([]line, error) {
	query := url.Values{
		"query": {expr},
		"start": {strconv.FormatFloat(float64(s.until.Add(-s.length).UnixMilli())/1000, 'f', 3, 64)},
		"end":   {strconv.FormatFloat(float64(s.until.UnixMilli())/1000, 'f', 3, 64)},
		"step":  {strconv.FormatFloat(max(1, s.length.Seconds()/steps), 'f', 3, 64)},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/v1/query_range?"+query.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Error != "" {
		return nil, fmt.Errorf("ask prometheus: %s %w", answer.Error, err)
	}
	var lines []line
	for _, r := range answer.Data.Result {
		l := line{name: named(legend, r.Metric)}
		for _, v := range r.Values {
			at, _ := v[0].(float64)
			text, _ := v[1].(string)
			if y, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(y) && !math.IsInf(y, 0) {
				l.points, l.peak = append(l.points, plotter.XY{X: at, Y: y}), max(l.peak, y)
			}
		}
		if len(l.points) > 0 {
			lines = append(lines, l)
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.name, b.name) })
	return lines, nil
}

// named fills a legend in.
func named(legend string, labels map[string]string) string {
	for _, name := range slices.Collect(maps.Keys(labels)) {
		legend = strings.ReplaceAll(legend, "{{"+name+"}}", labels[name])
	}
	return legend
}
