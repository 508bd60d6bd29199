package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
	"patchlane/deploy/local"
)

const (
	alertsFile = "../../deploy/alerts.yml"
	// drillScale is how much shorter the drill's windows are; drillAge the same
	// for the ages of entries, which must stay above what a busy machine makes.
	drillScale, drillAge = 60, 10
)

// scaledRules makes the rules of the drill out of the real ones: windows, pauses
// and ages are shorter, and nothing else is different. No window is longer than
// a minute, so that an alert by days can be seen to clear.
func scaledRules(rules string) string {
	duration := func(text string) string {
		d, err := time.ParseDuration(strings.Replace(text, "3d", "72h", 1))
		if err != nil {
			panic(err)
		}
		return strconv.Itoa(int(min(d/drillScale, time.Minute).Milliseconds())) + "ms"
	}
	windows := regexp.MustCompile(`\[(\d+[smhd])\]`)
	rules = windows.ReplaceAllStringFunc(rules, func(s string) string { return "[" + duration(s[1:len(s)-1]) + "]" })
	pauses := regexp.MustCompile(`(?m)^        for: (\S+)$`)
	rules = pauses.ReplaceAllStringFunc(rules, func(s string) string { return "        for: " + duration(strings.TrimSpace(s)[5:]) })
	ages := regexp.MustCompile(`(oldest_seconds\)+ [<>] )(\d+)`)
	return ages.ReplaceAllStringFunc(rules, func(s string) string {
		m := ages.FindStringSubmatch(s)
		n, err := strconv.Atoi(m[2])
		if err != nil {
			panic(err)
		}
		return m[1] + strconv.Itoa(n/drillAge)
	})
}

// alertRule is an alert of the rules file.
type alertRule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// alertRules reads the rules file.
func alertRules(t *testing.T) (rules []alertRule, text string) {
	t.Helper()
	content, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []alertRule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules, string(content)
}

// monitor is a real Prometheus that looks at a stack.
type monitor struct {
	site *site
	prom *local.Prometheus
}

// watch starts a Prometheus on nodes by their jobs.
func (s *site) watch(rules string, nodes map[string]*node) *monitor {
	s.tb.Helper()
	var config strings.Builder
	config.WriteString("global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }\n" +
		"rule_files: [rules.yml]\nscrape_configs:\n")
	for _, job := range slices.Sorted(maps.Keys(nodes)) {
		fmt.Fprintf(&config, "  - { job_name: %s, static_configs: [{ targets: ['%s'] }] }\n", job, strings.TrimPrefix(nodes[job].Ops, "http://"))
	}
	prom, err := local.StartPrometheus(s.tb.Context(), local.PrometheusOptions{
		Config: []byte(config.String()), Files: map[string][]byte{"rules.yml": []byte(rules)},
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() {
		if err := prom.Stop(); err != nil {
			s.tb.Error(err)
		}
	})
	return &monitor{site: s, prom: prom}
}

// ask asks Prometheus' API and decodes its data. Once ctx has ended it says
// nothing.
func (m *monitor) ask(ctx context.Context, into any, path string, query url.Values) {
	m.site.tb.Helper()
	if err := m.fetch(ctx, into, m.prom.URL()+"/api/v1/"+path+"?"+query.Encode()); err != nil && ctx.Err() == nil {
		m.site.tb.Errorf("prometheus: %s %v: %v", path, query, err)
	}
}

func (m *monitor) fetch(ctx context.Context, into any, from string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return err
	}
	res, err := m.site.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// firing lists the alerts that fire now.
func (m *monitor) firing(ctx context.Context) []string {
	m.site.tb.Helper()
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	m.ask(ctx, &data, "alerts", nil)
	var names []string
	for _, a := range data.Alerts {
		if name := a.Labels["alertname"]; a.State == "firing" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// traffic is what clients and providers send to a stack, all the time, whatever
// it answers: writes of contacts one by one and in batches, and opt-outs and
// opt-ins of people.
type traffic struct {
	api      *node
	paths    []string
	endpoint providerEndpoint
	wg       sync.WaitGroup
	stop     context.CancelFunc
}

// send begins to send; pause is the time between two requests of a kind.
func (s *site) send(a *node, e providerEndpoint, contacts int, pause time.Duration) *traffic {
	s.tb.Helper()
	tr := &traffic{api: a, endpoint: e}
	for n := range contacts {
		tr.paths = append(tr.paths, a.person(fmt.Sprintf("load%d@example.com", n), fmt.Sprintf("+1415555%04d", 3000+n)))
	}
	ctx, stop := context.WithCancel(s.tb.Context())
	tr.stop = stop
	for _, one := range []func(context.Context){tr.write, tr.batch, tr.event} {
		tr.wg.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for ctx.Err() == nil {
				one(ctx)
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	s.tb.Cleanup(tr.end)
	return tr
}

func (tr *traffic) end() {
	tr.stop()
	tr.wg.Wait()
}

// write sends a PATCH, now and then one that waits, and reads the contact.
func (tr *traffic) write(ctx context.Context) {
	path, prefer := tr.paths[rand.N(len(tr.paths))], "respond-async"
	if rand.N(4) == 0 {
		prefer = "wait=2"
	}
	parent := fmt.Sprintf("00-%016x%016x-00f067aa0ba902b7-01", rand.Uint64(), rand.Uint64()|1)
	_, _ = tr.api.client().do(ctx, http.MethodPatch, path, fmt.Sprintf(`{"job_title":"t%d"}`, rand.N(1000)),
		"Prefer", prefer, "traceparent", parent)
	_, _ = tr.api.client().do(ctx, http.MethodGet, path, "")
}

func (tr *traffic) batch(ctx context.Context) {
	rows := make([]string, 0, 8)
	for range 8 {
		id := strings.TrimPrefix(tr.paths[rand.N(len(tr.paths))], "/v1/contacts/")
		rows = append(rows, fmt.Sprintf(`{"id":%q,"patch":{"source":"s%d"}}`, id, rand.N(1000)))
	}
	_, _ = tr.api.client().do(ctx, http.MethodPost, "/v1/contacts/batch", `{"writes":[`+strings.Join(rows, ",")+`]}`)
}

// event is a person who says STOP, or START.
func (tr *traffic) event(ctx context.Context) {
	d := tr.drill(signature.Telnyx, tr.endpoint)
	d.Address = fmt.Sprintf("+1415555%04d", 3000+rand.N(len(tr.paths)))
	if d.Event = simulate.Stop; rand.N(2) == 0 {
		d.Event = simulate.Start
	}
	_, _ = d.Post(ctx, tr.api.site.http, time.Now())
}

// drill makes an event of a provider for its endpoint.
func (tr *traffic) drill(p signature.Provider, e providerEndpoint) *simulate.Drill {
	return &simulate.Drill{
		Provider: p, Key: e.keys.Key, TopicARN: drillTopic, CertURL: e.keys.CertURL,
		Target: tr.api.API + "/v1/webhooks/" + e.id, Signed: tr.api.API + "/v1/webhooks/" + e.id,
	}
}

// errNotYet is what a condition says that is waited for.
var errNotYet = errors.New("not yet")
