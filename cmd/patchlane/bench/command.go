package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

const (
	defaultConcurrency = 64
	defaultContacts    = 1000
	defaultDuration    = 10 * time.Second
	// openClients is how many requests of an open loop may be under way.
	openClients = 256
	// maxBatch is what the API takes at most.
	maxBatch = 1000
)

// Command is a load run. Its zero values mean the defaults, so that it can be
// filled by hand as well as by flags.
type Command struct {
	URL         string        `name:"url" required:"" env:"PATCHLANE_URL" help:"Address of the API, such as http://127.0.0.1:8080."`
	Key         string        `name:"key" required:"" env:"PATCHLANE_KEY" help:"API key with contacts:read and contacts:write; with crm_audit:read --verify checks the audit log too."`
	Rate        float64       `name:"rate" xor:"pace" help:"Writes a second, each sent at its time whether or not earlier ones were answered (open loop)."`
	Concurrency int           `name:"concurrency" xor:"pace" placeholder:"64" help:"Clients that each send when their last request was answered (closed loop); 64 unless said otherwise."`
	Batch       int           `name:"batch" default:"1" help:"Writes a request; above 1 through /v1/contacts/batch, at most 1000."`
	Writes      int           `name:"writes" xor:"amount" help:"Stop after so many writes."`
	Duration    time.Duration `name:"duration" xor:"amount" placeholder:"10s" help:"Stop after so long; 10s unless said otherwise."`
	Contacts    int           `name:"contacts" default:"1000" help:"Contacts to make and to write to."`
	Hot         float64       `name:"hot" help:"Share of the writes that go to one and the same contact, 0 to 1."`
	Notes       *float64      `name:"notes" placeholder:"0.2" help:"Share of the writes that append a note beside the two fields that each write changes, 0 to 1; 0.2 unless said otherwise, 1 with --verify."`
	Verify      bool          `name:"verify" help:"Read every contact back and check each acknowledged write: there once, and in order."`
	Settle      time.Duration `name:"settle" placeholder:"1m" help:"Longest wait for the outcomes after the last write; one minute and 5 ms a write unless said otherwise."`
	JSON        bool          `name:"json" help:"Print the figures as one line of JSON."`
}

// Run makes the load and prints the figures on stdout, progress and remarks on
// stderr. It is an error if a write was lost, doubled or disordered, or
// refused, or if one failed or has no outcome when the wait is over.
func (c *Command) Run(ctx context.Context, stdout, stderr io.Writer) error {
	report, err := c.Measure(ctx, stderr)
	if err != nil {
		return err
	}
	if err := report.print(stdout, c.JSON); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	return report.Err()
}

// Measure makes the load and returns the figures. Whether they are good is for
// Report.Err to say.
func (c *Command) Measure(ctx context.Context, stderr io.Writer) (*Report, error) {
	o := c.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	r := &run{Command: o, name: rand.Text()[:12], client: newClient(o), stderr: stderr}
	defer r.client.close()
	if err := r.makeContacts(ctx); err != nil {
		return nil, fmt.Errorf("make contacts: %w", err)
	}
	if err := r.load(ctx); err != nil {
		return nil, fmt.Errorf("send writes: %w", err)
	}
	if err := r.settle(ctx); err != nil {
		return nil, fmt.Errorf("await outcomes: %w", err)
	}
	if o.Verify {
		if err := r.verify(ctx); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
	}
	return r.report(), nil
}

// run is one load run.
type run struct {
	Command
	// name is part of every idempotency key.
	name     string
	client   *client
	stderr   io.Writer
	contacts []*target
	// loaded is how the sending went.
	loaded
}

// withDefaults returns a copy in which everything is said.
func (c *Command) withDefaults() Command {
	o := *c
	o.URL = strings.TrimSuffix(o.URL, "/")
	o.Batch = max(o.Batch, 1)
	if o.Contacts == 0 {
		o.Contacts = defaultContacts
	}
	if o.Concurrency == 0 {
		o.Concurrency = defaultConcurrency
		if o.Rate > 0 {
			o.Concurrency = openClients
		}
	}
	if o.Writes == 0 && o.Duration == 0 {
		o.Duration = defaultDuration
	}
	if o.Notes == nil {
		share := 0.2
		if o.Verify {
			share = 1
		}
		o.Notes = &share
	}
	return o
}

// validate reports every problem at once.
func (c *Command) validate() error {
	var problems []error
	complain := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	u, err := url.Parse(c.URL)
	complain(err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "",
		"--url: not an absolute http or https address")
	complain(c.Key == "", "--key: missing")
	complain(!(c.Rate >= 0 && c.Rate <= 1e7), "--rate: %g is not within 0 and ten million", c.Rate)
	complain(c.Concurrency < 1 || c.Concurrency > 100_000, "--concurrency: %d is not within 1 and 100000", c.Concurrency)
	complain(c.Batch > maxBatch, "--batch: %d is above %d", c.Batch, maxBatch)
	complain(c.Writes < 0, "--writes: %d is below 0", c.Writes)
	complain(c.Duration < 0, "--duration: %s is below 0", c.Duration)
	complain(c.Settle < 0, "--settle: %s is below 0", c.Settle)
	complain(c.Contacts < 1, "--contacts: %d is below 1", c.Contacts)
	complain(!(c.Hot >= 0 && c.Hot <= 1), "--hot: %g is not within 0 and 1", c.Hot)
	complain(!(*c.Notes >= 0 && *c.Notes <= 1), "--notes: %g is not within 0 and 1", *c.Notes)
	return errors.Join(problems...)
}
