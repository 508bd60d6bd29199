package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const runbooks = "../../deploy/runbooks"

// TestAlertRules lets promtool check the rules and run their unit tests, and
// does the same to the rules of the drill, which are made from them.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	_, text := alertRules(t)
	short := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(short, []byte(scaledRules(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "rules", alertsFile},
		{"test", "rules", "../../deploy/alerts_test.yml"},
		{"check", "rules", short},
	} {
		out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %v: %v (installed by deploy/deps.sh test)\n%s", args, err, out)
		}
	}
}

// TestEveryAlertHasARunbook holds alerts, their unit tests and the runbooks
// together: each alert has a page with what a person at night needs, and each
// page an alert.
func TestEveryAlertHasARunbook(t *testing.T) {
	t.Parallel()
	rules, _ := alertRules(t)
	tests, err := os.ReadFile("../../deploy/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	index := readRunbook(t, "README.md")
	var pages []string
	for _, r := range rules {
		if r.Alert == "" {
			continue
		}
		page := filepath.Base(r.Annotations["runbook"])
		pages = append(pages, page)
		text := readRunbook(t, page)
		if title, _, _ := strings.Cut(text, "\n"); !regexp.MustCompile(`\b` + r.Alert + `\b`).MatchString(title) {
			t.Errorf("%s: %s is not about it: %s", r.Alert, page, title)
		}
		if !strings.Contains(index, "| "+r.Alert+" ") {
			t.Errorf("%s is not in the list of the runbooks", r.Alert)
		}
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has the severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s does not say what it is about", r.Alert)
		}
		for _, want := range []string{`exp_samples: [{ labels: '{alertname="` + r.Alert + `",severity="` + r.Labels["severity"] + `"}'`, `alertname="` + r.Alert + `",alertstate="firing"`} {
			if !strings.Contains(string(tests), want) {
				t.Errorf("%s has no unit test with %s", r.Alert, want)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(runbooks, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := filepath.Base(f)
		if name == "README.md" {
			continue
		}
		text, at := readRunbook(t, name), 0
		for _, section := range []string{"## What it means", "## How to see it", "## How to mend it", "## How to check that it is mended"} {
			next := strings.Index(text[at:], "\n"+section+"\n\n")
			if next < 0 {
				t.Errorf("%s has no section %q in its place", name, section)
				break
			}
			at += next
		}
		if !slices.Contains(pages, name) {
			t.Errorf("%s: no alert leads to it", name)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1) {
			readRunbook(t, link[1])
		}
	}
}

// TestNamesOfMetricsExist looks up every metric that an alert or a runbook names
// in the page of metrics, which is generated.
func TestNamesOfMetricsExist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(runbooks, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\bpatchlane_[a-z]+_[a-z_]+\b`)
	for _, f := range append(files, alertsFile, "../../deploy/alerts_test.yml") {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllString(string(text), -1) {
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				m = strings.TrimSuffix(m, suffix)
			}
			if !strings.Contains(string(page), "`"+m+"`") {
				t.Errorf("%s names %s, which no process has", f, m)
			}
		}
	}
}

func readRunbook(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(runbooks, name))
	if err != nil {
		t.Error(err)
	}
	return string(text)
}
