package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"patchlane/store"
)

// doctorCmd is `patchlane doctor`.
type doctorCmd struct {
	backends
	outputConfig
	poolConfig
	laneConfig
	processConfig
	Processes int `name:"processes" default:"4" help:"How many api and worker processes share the servers, for the limits (default: ${default})."`
}

// Help is the long text of --help.
func (*doctorCmd) Help() string {
	return `Looks at the configuration and both servers as api and worker would find them, and says of each thing whether it is ok, needs a look
(warn) or will not do (bad), and what to do about it. It changes nothing.

Checked: the addresses, the versions of Postgres (14 or later) and Redis (7.0 or later), the settings that durability needs, the clocks
of this host and both servers (1 s apart: warn, 1 min: bad), migrations, the numbers of lanes and that both servers are of one
installation, partitions made ahead, connections against the pools of --processes processes, open files, paused queues, waiting
entries, failed writes and erasures that are not finished.

Give it the environment of the service, so that it sees the same. Exit 0: nothing bad; 1: something is bad; 2: wrong usage.

Example: patchlane doctor --json | jq '.checks[] | select(.state != "ok")'`
}

// The states of a finding.
const (
	findingOK   = "ok"
	findingWarn = "warn"
	findingBad  = "bad"
)

// finding is one thing that was looked at.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"`
	// Found is what is there, Do what to do about it; empty when it is ok.
	Found string `json:"found"`
	Do    string `json:"do,omitempty"`
}

// checkup is what a doctor finds.
type checkup struct {
	cmd      *doctorCmd
	findings []finding
}

func (c *checkup) add(check, state, found, do string) {
	if state == findingOK {
		do = ""
	}
	c.findings = append(c.findings, finding{check, state, found, do})
}

// doctorReport is what doctor prints.
type doctorReport struct {
	State  string    `json:"state"`
	Checks []finding `json:"checks"`
}

// Run looks at everything and prints what it found.
func (d *doctorCmd) Run(ctx context.Context, s streams) error {
	c := &checkup{cmd: d}
	c.configuration()
	if target, err := parseRedis(d.RedisURL); err == nil && validateDatabaseURL(d.DatabaseURL) == nil {
		if err := c.servers(ctx, s, target); err != nil {
			return err
		}
	}
	report := doctorReport{State: findingOK, Checks: c.findings}
	t := table{head: []string{"", "check", "found"}}
	var advice []string
	for _, f := range c.findings {
		t.rows = append(t.rows, []string{f.State, f.Check, f.Found})
		if f.State == findingBad || (f.State == findingWarn && report.State == findingOK) {
			report.State = f.State
		}
		if f.Do != "" {
			advice = append(advice, fmt.Sprintf("%s: %s", f.Check, f.Do))
		}
	}
	t.note = strings.Join(advice, "\n")
	if err := d.print(s, report, t); err != nil {
		return err
	}
	if report.State == findingBad {
		return errors.New("doctor: something will not do; see above")
	}
	return nil
}

// configuration checks what needs no server.
func (c *checkup) configuration() {
	d := c.cmd
	cfg := &config{
		backends: d.backends, poolConfig: d.poolConfig, laneConfig: d.laneConfig, processConfig: d.processConfig,
		drainConfig: drainConfig{BatchSize: 1}, OpsListen: "127.0.0.1:0",
	}
	if err := cfg.Validate(); err != nil {
		c.add("configuration", findingBad, strings.ReplaceAll(err.Error(), "\n", "; "), "Correct the flags or variables that are named.")
	} else {
		c.add("configuration", findingOK, "every flag and variable is usable", "")
	}
	c.openFiles()
}

// servers asks both, each for itself, and then whether they belong together.
func (c *checkup) servers(ctx context.Context, s streams, target redisTarget) error {
	logger := newLogger(s, c.cmd.processConfig)
	db, err := store.Open(ctx, store.Config{URL: c.cmd.DatabaseURL, MaxConns: 1, ReadConns: 2, Logger: logger})
	if err != nil {
		return &configError{err}
	}
	defer db.Close()
	side := target.mirrorClient(4)
	defer func() { _ = side.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	migrated := c.postgres(ctx, db)
	answers := c.redis(ctx, side, target)
	if migrated && answers {
		c.together(ctx, db, side, target)
	}
	return nil
}

// clock compares the clock of a server with this host's.
func (c *checkup) clock(check string, there, here time.Time) {
	apart := there.Sub(here).Round(time.Millisecond)
	found := fmt.Sprintf("%s from this host's", apart)
	do := "Keep the clocks in step with NTP. Order and leases do not depend on them; retention, signatures of webhooks and as_of do."
	switch d := apart.Abs(); {
	case d >= time.Minute:
		c.add(check, findingBad, found, do)
	case d >= time.Second:
		c.add(check, findingWarn, found, do)
	default:
		c.add(check, findingOK, found, "")
	}
}

// infoField returns the part of an INFO answer after a name.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), name+":"); found {
			return value
		}
	}
	return ""
}

// said makes an error fit for a table: one line.
func said(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
