// Command render draws a dashboard of Grafana from what a Prometheus has, for
// pages that cannot hold a live one. It is a module of its own, so that the
// program does not link what draws.
//
//	go run . -prometheus http://127.0.0.1:9090 -board ../dashboards/overview.json -for 5m -out ../overview.png
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

// board is what is read of a dashboard.
type board struct {
	Title, Description string
	Panels             []panel
}

type panel struct {
	Title, Type string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ Expr, LegendFormat string }
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct {
				Steps []struct {
					Color string
					Value *float64
				}
			}
			Custom struct{ Stacking struct{ Mode string } }
		}
	}
}

func run(ctx context.Context) error {
	prometheus := flag.String("prometheus", "http://127.0.0.1:9090", "where Prometheus is")
	file := flag.String("board", "", "the dashboard's JSON")
	length := flag.Duration("for", 5*time.Minute, "how much time to show")
	window := flag.Duration("window", 10*time.Second, "what $__rate_interval stands for")
	out := flag.String("out", "", "the picture")
	flag.Parse()
	text, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	var b board
	if err := json.Unmarshal(text, &b); err != nil {
		return fmt.Errorf("read %s: %w", *file, err)
	}
	source := source{url: *prometheus, until: time.Now(), length: *length}
	series := make([][]line, len(b.Panels))
	for i := range b.Panels {
		for _, t := range b.Panels[i].Targets {
			found, err := source.ask(ctx, strings.ReplaceAll(t.Expr, "$__rate_interval", window.String()), t.LegendFormat)
			if err != nil {
				return fmt.Errorf("%s: %w", b.Panels[i].Title, err)
			}
			series[i] = append(series[i], found...)
		}
	}
	return draw(&b, series, source, *out)
}
