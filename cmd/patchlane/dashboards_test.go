package main

import (
	"flag"
	"fmt"
	"math"
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
	s.send(a, endpoints[signature.Telnyx], 12, pause)
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
		draw(t, s, m, a)
	}
}

// shows tells whether a query has a number to show.
func (m *monitor) shows(expr string) bool {
	m.site.tb.Helper()
	var found struct {
		Result []struct{ Value [2]any }
	}
	m.ask(&found, "query", url.Values{"query": {expr}})
	for _, r := range found.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
			return true
		}
	}
	return false
}

// draw lets the stack run, with a burst and an outage for something to see, and
// draws what its Prometheus has.
func draw(t *testing.T, s *site, m *monitor, a *node) {
	t.Helper()
	tick := time.NewTimer(*pictures)
	defer tick.Stop()
	select {
	case <-t.Context().Done():
	case <-tick.C:
	}
	for _, b := range grafana.Boards() {
		cmd := exec.CommandContext(t.Context(), "go", "run", ".", "-prometheus", m.prom.URL(),
			"-for", (*pictures).String(), "-board", filepath.Join("..", "dashboards", b.Name+".json"), "-out", filepath.Join("..", b.Name+".png"))
		cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Join(grafanaFolder, "render"), os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Error(err)
		}
	}
}
