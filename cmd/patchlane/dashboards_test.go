package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
	"patchlane/deploy/grafana"
)

const grafanaFolder = "../../deploy/grafana"

// pictures is how long a stack runs under load before its dashboards are drawn.
var pictures = flag.Duration("pictures", 0, "draw the dashboards into deploy/grafana after so much time under load")

// TestDashboardFiles holds the files that Grafana reads to the boards in
// deploy/grafana, and each panel to what an operator needs of it.
func TestDashboardFiles(t *testing.T) {
	t.Parallel()
	for _, b := range grafana.Boards() {
		text, err := b.JSON()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join(grafanaFolder, "dashboards", b.Name+".json"), string(text))
		seen := map[string]bool{}
		for _, p := range b.Panels {
			if p.Title == "" || seen[p.Title] || len(p.About) < 20 || !strings.HasSuffix(p.About, ".") || p.Unit == "" || len(p.Queries) == 0 {
				t.Errorf("%s, %q: a title of its own, a description in sentences, a unit and a query are needed", b.Name, p.Title)
			}
			seen[p.Title] = true
			readRunbook(t, p.Runbook)
		}
	}
	found, err := filepath.Glob(filepath.Join(grafanaFolder, "dashboards", "*.json"))
	if err != nil || len(found) != len(grafana.Boards()) {
		t.Errorf("%d files for %d boards: %v", len(found), len(grafana.Boards()), err)
	}
}

// TestDashboards asks every query of every panel of a real Prometheus that looks
// at a stack under load: none is empty, and none says only that it has no number.
func TestDashboards(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	certs := t.TempDir()
	endpoints := s.endpoints(certs)
	a, w := s.start("api", "--sns-cert-dir", certs).ready(), s.start("worker").ready()
	pause := 50 * time.Millisecond
	tr := s.send(a, endpoints[signature.Telnyx], 12, pause)
	_, rules := alertRules(t)
	m := s.watch(scaledRules(rules), map[string]*node{"patchlane-api": a, "patchlane-worker": w})
	window := regexp.MustCompile(regexp.QuoteMeta(grafana.RateInterval))
	boards := grafana.Boards()
	var last string
	s.eventually(40*time.Second, "every panel shows something", func() error {
		for _, b := range boards {
			for _, p := range b.Panels {
				for _, q := range p.Queries {
					if last = q.Expr; !m.shows(window.ReplaceAllString(q.Expr, "10s")) {
						return fmt.Errorf("%s, %q is empty: %s", b.Name, p.Title, last)
					}
				}
			}
		}
		return nil
	})
	if *pictures > 0 {
		tr.excite(*pictures)
		draw(t, m)
	}
}

// shows tells whether a query has a number to show.
func (m *monitor) shows(expr string) bool {
	m.site.tb.Helper()
	var found struct {
		Result []struct{ Value [2]any }
	}
	m.ask(m.site.tb.Context(), &found, "query", url.Values{"query": {expr}})
	for _, r := range found.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
			return true
		}
	}
	return false
}

// excite sends for some time what a day has: a rush of batches in the middle, old
// versions, strangers, an event that nobody can read.
func (tr *traffic) excite(length time.Duration) {
	ctx, cancel := context.WithTimeout(tr.api.site.tb.Context(), length)
	defer cancel()
	stranger := tr.drill(signature.Telnyx, tr.endpoint)
	stranger.Event = simulate.Garbage
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began, n := time.Now(), 0; ctx.Err() == nil; n++ {
		if part := time.Since(began).Seconds() / length.Seconds(); part > 0.4 && part < 0.6 {
			tr.batch(ctx)
			tr.write(ctx)
		}
		if n%100 == 0 {
			_, _ = tr.api.client().do(ctx, http.MethodPatch, tr.paths[0], `{"job_title":"x"}`, "Prefer", "respond-async", "If-Match", `"1"`)
			_, _ = tr.api.client().do(ctx, http.MethodPatch, tr.paths[0], `{"unknown":1}`)
		}
		if n%1000 == 500 {
			_, _ = stranger.Post(ctx, tr.api.site.http, time.Now())
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// draw draws what the Prometheus has seen.
func draw(t *testing.T, m *monitor) {
	t.Helper()
	for _, b := range grafana.Boards() {
		cmd := exec.CommandContext(t.Context(), "go", "run", ".", "-prometheus", m.prom.URL(),
			"-for", (*pictures).String(), "-board", filepath.Join("..", "dashboards", b.Name+".json"), "-out", filepath.Join("..", b.Name+".png"))
		cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Join(grafanaFolder, "render"), os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Error(err)
		}
	}
}
