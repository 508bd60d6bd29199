package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/redis/go-redis/v9"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
	"patchlane/tasks/lane/lanetest"
)

var update = flag.Bool("update", false, "write generated files anew")

const metricsPage = "../../deploy/metrics.md"

// families scrapes a node.
func (n *node) families() map[string]*dto.MetricFamily {
	n.site.tb.Helper()
	_, body := n.site.get(n.Ops + "/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	found, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		n.site.tb.Fatal(err)
	}
	return found
}

// labels returns every value that each label of a family has.
func labels(f *dto.MetricFamily) map[string][]string {
	all := map[string][]string{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if !slices.Contains(all[l.GetName()], l.GetValue()) {
				all[l.GetName()] = append(all[l.GetName()], l.GetValue())
			}
		}
	}
	for _, values := range all {
		slices.Sort(values)
	}
	return all
}

// TestMetricsPage holds deploy/metrics.md to the registries of a running API
// and worker: every metric of ours is on it, with a unit and a help text.
// `go test ./cmd/patchlane -run TestMetricsPage -update` writes it anew.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	a, w := s.start("api").ready(), s.start("worker").ready()
	roles := map[string][]string{}
	all := map[string]*dto.MetricFamily{}
	for role, n := range map[string]*node{"api": a, "worker": w} {
		for name, f := range n.families() {
			if strings.HasPrefix(name, "patchlane_") {
				roles[name], all[name] = append(roles[name], role), f
			}
		}
	}
	var page strings.Builder
	page.WriteString(metricsPreface)
	group := ""
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if g := strings.Split(name, "_")[1]; g != group {
			group = g
			fmt.Fprintf(&page, "\n## %s\n\n| metric | type | unit | labels | from | what |\n|---|---|---|---|---|---|\n", g)
		}
		f, unit := all[name], unitOf(name)
		if unit == "" || len(f.GetHelp()) < 10 || !strings.HasSuffix(f.GetHelp(), ".") {
			t.Errorf("%s: unit %q, help %q: both have to be there, and help is a sentence", name, unit, f.GetHelp())
		}
		slices.Sort(roles[name])
		names := slices.Sorted(maps.Keys(labels(f)))
		for i := range names {
			names[i] = "`" + names[i] + "`"
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()), unit,
			strings.Join(names, ", "), strings.Join(roles[name], ", "), strings.ReplaceAll(f.GetHelp(), "|", `\|`))
	}
	golden(t, metricsPage, page.String())
}

// golden compares a generated file with the one that is kept.
func golden(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) == want {
		return
	}
	for i, line := range strings.Split(want, "\n") {
		if have := strings.Split(string(got), "\n"); i >= len(have) || have[i] != line {
			t.Fatalf("%s is not what it is generated from; line %d is to be:\n%s\nRun this test with -update.", path, i+1, line)
		}
	}
	t.Fatalf("%s has lines too many; run this test with -update", path)
}

const metricsPreface = `# The metrics

Generated from the registries of a running API and worker by TestMetricsPage in
` + "`cmd/patchlane`" + `; the same test fails when this page is not what they say.

Both roles serve them at ` + "`/metrics`" + ` of the ops listener, in the text form or as
OpenMetrics, whichever is asked for. In OpenMetrics the histograms carry the trace id of
one observation a bucket (` + "`trace_id`" + `), taken from the ` + "`traceparent`" + ` of the request or of the
entry in the lane. Every series is there from the start, with its zero, so that the rate
of a first event is right; no label takes a value that a client can choose
(TestLabelsStayBounded).

Metrics of lanes, asynq, Redis and the backlog describe one Redis and one Postgres; every
process that serves them says the same, so aggregate with ` + "`max`" + `, not with ` + "`sum`" + `. The runtime
adds ` + "`go_*`" + ` and ` + "`process_*`" + `.
`

// unitOf names what is counted. The name of a metric says it in its last word,
// before _total; the others are listed.
func unitOf(name string) string {
	if unit, listed := map[string]string{
		"patchlane_api_rate_limited_total":            "requests",
		"patchlane_api_credits_refused_total":         "requests",
		"patchlane_build_info":                        "1",
		"patchlane_lane_aside":                        "entries",
		"patchlane_lane_paused":                       "0 or 1",
		"patchlane_circuit_open":                      "0 or 1",
		"patchlane_circuit_refused_total":             "calls",
		"patchlane_http_connections_evicted_total":    "connections",
		"patchlane_http_connections_refused_total":    "connections",
		"patchlane_lane_depth":                        "entries",
		"patchlane_lane_owned":                        "0 or 1",
		"patchlane_lanes_up":                          "0 or 1",
		"patchlane_asynq_up":                          "0 or 1",
		"patchlane_asynq_paused":                      "0 or 1",
		"patchlane_asynq_processed_total":             "tasks",
		"patchlane_asynq_failed_total":                "tasks",
		"patchlane_store_up":                          "0 or 1",
		"patchlane_queue_durable":                     "0 or 1",
		"patchlane_redis_append_only_file_ok":         "0 or 1",
		"patchlane_store_apply_redone_total":          "batches",
		"patchlane_store_partitions_emptied_total":    "partitions",
		"patchlane_store_retention_deleted_total":     "rows",
		"patchlane_lane_sweeps_found_total":           "lanes",
		"patchlane_webhook_feeds_cut_total":           "subscriptions",
		"patchlane_webhook_quarantined_total":         "elements",
		"patchlane_worker_failures_recorded_total":    "entries",
		"patchlane_worker_lane_held_total":            "batches",
		"patchlane_worker_outcomes_unpublished_total": "outcomes",
		"patchlane_worker_queues_unpaused_total":      "queues",
		"patchlane_worker_replays_dropped_total":      "entries",
		"patchlane_worker_rings_lost_total":           "rings",
		"patchlane_worker_fence_losses_total":         "batches",
		"patchlane_store_fence_losses_total":          "batches",
	}[name]; listed {
		return unit
	}
	unit := name[strings.LastIndexByte(strings.TrimSuffix(name, "_total"), '_')+1:]
	unit = strings.TrimSuffix(unit, "_total")
	if !strings.HasSuffix(unit, "s") {
		return ""
	}
	return unit
}

// bounds say which values each label may take. A label that is not here has not
// been thought about.
func bounds() map[string]*regexp.Regexp {
	oneOf := func(values ...string) *regexp.Regexp {
		return regexp.MustCompile("^(" + strings.Join(values, "|") + ")$")
	}
	providers := append(providerNames(), "own", "other")
	return map[string]*regexp.Regexp{
		"action":   oneOf("opt_out", "start", "resubscribe", "start_if_stopped", "review", "none", "ignored"),
		"channel":  oneOf("email", "sms"),
		"class":    oneOf("[2-5]xx"),
		"code":     oneOf("", "not_found", "archived", "duplicate", "limit_exceeded", "consent_locked", "precondition_failed", "validation_failed", "unreadable_entry", "data_error"),
		"dialect":  oneOf("native", "trustpager", "routera", "leadlex", "callbell"),
		"end":      oneOf("served", "empty", "slice", "stopped", "lost", "held", "fenced", "outage", "bug", "ok", "error"),
		"lane":     oneOf(`[ca][0-9]{3}`),
		"node":     oneOf("redis", `[^ ]+:[0-9]+`),
		"outcome":  oneOf("accepted", "replayed", "refused", "unavailable", "key_reused", "overloaded", "unknown", "challenge", "settled", "released"),
		"pool":     oneOf("write", "events", "read", "lanes", "mirror"),
		"provider": oneOf(providers...),
		"queue":    oneOf("writes", "optouts"),
		"reason":   oneOf("[a-z0-9_]+"),
		"result":   oneOf("applied", "stale", "recorded", "review", "quarantined", "duplicate", "ok", "error"),
		"route":    oneOf("unknown", "/[a-z0-9/{}._-]*"),
		"server":   oneOf("postgres", "redis lanes", "redis mirror"),
		"source":   oneOf("patch", "batch", "bulk", "admin", "webhook", "suppression", "unsubscribe_link", "review", "other"),
		"state":    oneOf("applied", "unchanged", "failed", "pending", "active", "scheduled", "retry", "archived"),
		"step":     oneOf("lock", "read", "fold", "write", "commit", "recheck", "find"),
		"table":    oneOf("failed_writes", "left_addresses", "webhook_events", "writes"),
		"version":  oneOf(".+"),
		"le":       oneOf(".+"), "quantile": oneOf(".+"),
	}
}

// TestLabelsStayBounded lets strangers, broken entries and unknown providers do
// what they can, and finds no label value that is not foreseen and no series
// that was not there before.
func TestLabelsStayBounded(t *testing.T) {
	t.Parallel()
	s, server := newSite(t)
	certs := t.TempDir()
	endpoints := s.endpoints(certs)
	a, w := s.start("api", "--sns-cert-dir", certs).ready(), s.start("worker").ready()
	series := func() (n int) {
		for _, node := range []*node{a, w} {
			for name, f := range node.families() {
				if strings.HasPrefix(name, "patchlane_") {
					n += len(f.GetMetric())
				}
			}
		}
		return n
	}
	before := series()
	path := a.create()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	a.do(http.MethodPatch, path, `{"job_title":"CEO"}`, "Prefer", "wait=10", "traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
	for n := range 20 {
		a.do("BREW", fmt.Sprintf("/v1/pot/%d", n), "")
		a.do(http.MethodGet, fmt.Sprintf("/v1/contacts/%d?x=%d", n, n), "", "Authorization", "Bearer pl_unknown")
		a.do(http.MethodPost, fmt.Sprintf("/v1/webhooks/%d", n), "{}")
	}
	for _, event := range []simulate.Event{simulate.Stop, simulate.Garbage} {
		e := endpoints[signature.Telnyx]
		s.post(&simulate.Drill{
			Provider: signature.Telnyx, Event: event, Address: "+14155552671", Key: e.keys.Key,
			Target: a.API + "/v1/webhooks/" + e.id, Signed: a.API + "/v1/webhooks/" + e.id,
		})
	}
	poison(t, server)
	s.eventually(20*time.Second, "the broken entry is recorded", func() error {
		_, body := s.get(w.Ops + "/metrics")
		for _, want := range []string{
			`patchlane_worker_outcomes_total{code="unreadable_entry",state="failed"} 1`,
			`patchlane_worker_optout_applied_seconds_count{channel="sms"} 1`,
			`patchlane_store_events_total{provider="telnyx",result="quarantined"} 1`,
		} {
			if !strings.Contains(body, want+"\n") {
				return fmt.Errorf("no %s", want)
			}
		}
		return nil
	})
	allowed := bounds()
	for _, node := range []*node{a, w} {
		for name, f := range node.families() {
			if !strings.HasPrefix(name, "patchlane_") {
				continue
			}
			for label, values := range labels(f) {
				for _, value := range values {
					if rule := allowed[label]; rule == nil || !rule.MatchString(value) {
						t.Errorf("%s: label %s has the value %q", name, label, value)
					}
				}
			}
		}
	}
	if after := series(); after != before {
		t.Errorf("there were %d series at the start, and %d now: a label was not initialised, or is not bounded", before, after)
	}
	for _, node := range []*node{a, w} {
		if body := node.openMetrics(); !strings.Contains(body, `# {trace_id="`+trace+`"}`) {
			t.Error("no exemplar with the trace of the request")
		}
	}
}

// poison puts an entry that nobody can read straight into a stream.
func poison(t *testing.T, server *lanetest.Server) {
	t.Helper()
	err := server.Client(t).XAdd(t.Context(), &redis.XAddArgs{
		Stream: "{c:003}:log", Values: []any{"e", "\x7fstranger\x00", "t", "1"},
	}).Err()
	if err != nil {
		t.Fatal(err)
	}
}

// openMetrics scrapes as Prometheus does.
func (n *node) openMetrics() string {
	n.site.tb.Helper()
	ctx, cancel := context.WithTimeout(n.site.tb.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Ops+"/metrics", http.NoBody)
	if err != nil {
		n.site.tb.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	return n.site.page(req)
}
