// Package grafana holds the dashboards as code: what is shown, in which unit,
// why somebody looks at it, and which runbook it belongs to. The JSON that
// Grafana reads (dashboards/*.json) is made from it, and a test of the program
// fails when the two differ, when a panel has no description, or when a query
// brings nothing from a running stack. It is not part of the program.
package grafana

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Board is one dashboard.
type Board struct {
	// Name is that of its file and, behind "patchlane-", its uid.
	Name, Title, About string
	Panels             []Panel
}

// Panel is one picture of a board.
type Panel struct {
	Title string
	// About says what is shown and what to make of it.
	About string
	// Unit is the name of a unit of Grafana: s, bytes, wps, percentunit, short.
	Unit string
	// Runbook is a page of deploy/runbooks.
	Runbook string
	Queries []Query
	// Number shows the last value alone; Stack puts the lines upon each other.
	Number, Stack bool
	// Warn and Bad are the thresholds of a Number; Below turns them round.
	Warn, Bad float64
	Below     bool
}

// Query is one expression and how its series are called.
type Query struct{ Expr, Legend string }

// RateInterval stands in a query for the window that Grafana chooses.
const RateInterval = "$__rate_interval"

// runbookURL is where the links lead: the variable of a board holds the place of
// the repository's pages.
const runbookURL = "${runbooks}/"

// Boards lists every dashboard.
func Boards() []Board {
	return []Board{overview(), lanes(), optouts(), integrators(), database()}
}

func q(expr, legend string) Query {
	return Query{Expr: strings.Join(strings.Fields(expr), " "), Legend: legend}
}

// rate is the sum of a counter's rate by labels; none: one series.
func rate(counter string, by ...string) string {
	return fmt.Sprintf("sum%s(rate(%s[%s]))", grouped(by), counter, RateInterval)
}

// quantile is a quantile of a histogram by labels.
func quantile(p float64, histogram string, by ...string) string {
	return fmt.Sprintf("histogram_quantile(%g, sum%s(rate(%s_bucket[%s])))",
		p, grouped(append([]string{"le"}, by...)), histogram, RateInterval)
}

func grouped(by []string) string {
	if len(by) == 0 {
		return " "
	}
	return " by (" + strings.Join(by, ", ") + ") "
}

// The grid of Grafana is 24 wide.
const (
	gridWidth   = 24
	numberWidth = 4
	linesWidth  = 8
	numberHigh  = 4
	linesHigh   = 8
)

type object map[string]any

// JSON is the form that Grafana reads.
func (b *Board) JSON() ([]byte, error) {
	panels, x, y, high := make([]object, 0, len(b.Panels)), 0, 0, 0
	for i := range b.Panels {
		p := &b.Panels[i]
		w, h := linesWidth, linesHigh
		if p.Number {
			w, h = numberWidth, numberHigh
		}
		if x+w > gridWidth || (high != 0 && h != high) {
			x, y = 0, y+high
		}
		high = h
		panels = append(panels, p.json(i+1, object{"x": x, "y": y, "w": w, "h": h}))
		x += w
	}
	text, err := json.MarshalIndent(object{
		"uid": "patchlane-" + b.Name, "title": b.Title, "description": b.About, "tags": []string{"patchlane"},
		"schemaVersion": 39, "editable": false, "graphTooltip": 1, "refresh": "10s", "timezone": "utc",
		"time":  object{"from": "now-1h", "to": "now"},
		"links": []object{{"type": "dashboards", "title": "patchlane", "tags": []string{"patchlane"}, "keepTime": true}},
		"templating": object{"list": []object{
			{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
			{
				"name": "runbooks", "type": "constant", "hide": 2, "label": "Runbooks",
				"query": "https://github.com/patchlane/patchlane/blob/main/deploy/runbooks",
			},
		}},
		"panels": panels,
	}, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode board %s: %w", b.Name, err)
	}
	return append(text, '\n'), nil
}

func (p *Panel) json(id int, at object) object {
	source := object{"type": "prometheus", "uid": "${datasource}"}
	targets := make([]object, 0, len(p.Queries))
	for i, q := range p.Queries {
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "datasource": source, "expr": q.Expr, "legendFormat": q.Legend,
			"exemplar": strings.Contains(q.Expr, "histogram_quantile"), "instant": p.Number,
		})
	}
	defaults := object{"unit": p.Unit, "min": 0}
	o := object{
		"id": id, "title": p.Title, "description": p.About, "datasource": source, "gridPos": at, "targets": targets,
		"links":       []object{{"title": "Runbook", "url": runbookURL + p.Runbook, "targetBlank": true}},
		"fieldConfig": object{"defaults": defaults, "overrides": []object{}},
	}
	if p.Number {
		o["type"] = "stat"
		o["options"] = object{"reduceOptions": object{"calcs": []string{"lastNotNull"}}, "colorMode": "background"}
		defaults["thresholds"] = p.thresholds()
		return o
	}
	o["type"] = "timeseries"
	o["options"] = object{
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}
	custom := object{"fillOpacity": 8, "lineWidth": 1, "showPoints": "never", "spanNulls": false}
	if p.Stack {
		custom["fillOpacity"], custom["stacking"] = 40, object{"mode": "normal"}
	}
	defaults["custom"] = custom
	return o
}

// thresholds colours a Number.
func (p *Panel) thresholds() object {
	colours := [...]string{"green", "orange", "red"}
	from := [...]any{nil, p.Warn, p.Bad}
	steps := 1
	switch {
	case p.Below:
		colours, from, steps = [...]string{"red", "orange", "green"}, [...]any{nil, p.Bad, p.Warn}, len(from)
	case p.Bad > 0:
		steps = len(from)
	}
	list := make([]object, steps)
	for i := range list {
		list[i] = object{"color": colours[i], "value": from[i]}
	}
	return object{"mode": "absolute", "steps": list}
}
