package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/schollz/progressbar/v3"

	"patchlane/api"
	"patchlane/api/signature"
	"patchlane/tasks"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
	"patchlane/tasks/limit"
)

// writesRetryCmd is `patchlane admin writes retry`.
type writesRetryCmd struct {
	adminBase
	selection
	Force  bool    `name:"force" help:"Send every field; without it only fields that were not changed since."`
	Rate   float64 `name:"rate" placeholder:"N" help:"With --all: most writes a second; without it as fast as they are taken."`
	DryRun bool    `name:"dry-run" help:"Change nothing; count what a retry would do now."`
}

// Help is the long text of --help.
func (*writesRetryCmd) Help() string {
	return `With --all the writes go out in the order in which they were accepted first, those of one contact one after the other.

Ctrl-C stops between two steps. The same command goes on where it stopped: no write is retried twice, and one that was
claimed and not sent is sent under the id that it was given. A retry that fails again is not retried by the same run.`
}

// Run appends writes again, on the very path of POST /v1/writes/{id}/retry.
func (c *writesRetryCmd) Run(ctx context.Context, s streams) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Rate < 0 {
		return &configError{errors.New("--rate: below 0")}
	}
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		switch {
		case c.DryRun:
			return d.dryRun(ctx, &c.selection, c.Force)
		case c.All:
			return c.replay(ctx, d)
		}
		w, receipt, err := c.one(ctx, d)
		d.note(ctx, contact.OperatorAction{Action: "retry write", Target: c.ID.String(), Detail: forced(c.Force)}, err)
		if err != nil {
			return about("write", c.ID, err)
		}
		v := retryView{receipt.WriteID, w.Contact, contact.Queued, receipt.AcceptedAt, c.ID}
		return d.say(v, pairs("write", v.WriteID.String(), "retry of", c.ID.String(), "state", string(v.State)))
	})
}

func (c *writesRetryCmd) one(ctx context.Context, d *desk) (w *contact.Write, receipt contact.Receipt, err error) {
	account, err := d.db.AccountOfFailed(ctx, c.ID)
	if err != nil {
		return nil, receipt, err
	}
	err = d.server(ctx, func(server *api.Server) (err error) {
		w, receipt, err = server.Retry(ctx, contact.WriteRef{Account: account, ID: c.ID}, api.Retry{Force: c.Force, Actor: "admin"})
		return err
	})
	return w, receipt, err
}

// retryView is what `admin writes retry` prints: the new write.
type retryView struct {
	WriteID    uuid.UUID     `json:"write_id"`
	ContactID  uuid.UUID     `json:"contact_id"`
	State      contact.State `json:"state"`
	AcceptedAt time.Time     `json:"accepted_at"`
	RetryOf    uuid.UUID     `json:"retry_of"`
}

// replayView is what a retry of many prints.
type replayView struct {
	api.ReplayProgress
	// Open is how many failed writes the selection holds at the end: what was
	// not reached, and retries that failed in their turn meanwhile.
	Open    int  `json:"open"`
	Stopped bool `json:"stopped"`
}

// replay retries many writes behind a progress bar.
func (c *writesRetryCmd) replay(ctx context.Context, d *desk) error {
	q := c.query()
	n, err := d.count(ctx, q)
	if err != nil {
		return err
	}
	bar := d.bar(n, "retrying")
	var done api.ReplayProgress
	err = d.server(ctx, func(server *api.Server) (err error) {
		done, err = server.Replay(ctx, api.Replay{
			Query: q, Each: api.Retry{Force: c.Force, Actor: "admin"}, Rate: c.Rate,
			Progress: func(p api.ReplayProgress) { _ = bar.Set(min(p.Done(), n)) },
		})
		return err
	})
	_ = bar.Finish()
	d.note(ctx, contact.OperatorAction{
		Action: "retry writes", Account: c.Account, Target: c.String(),
		Detail: fmt.Sprintf("%d retried, %d refused, %s", done.Retried, done.Refused, forced(c.Force)),
	}, err)
	v := replayView{ReplayProgress: done, Stopped: ctx.Err() != nil}
	after := context.WithoutCancel(ctx)
	open, countErr := d.count(after, q)
	v.Open = open
	t := pairs("retried", fmt.Sprint(v.Retried), "retried by somebody else", fmt.Sprint(v.Left),
		"cannot be retried", fmt.Sprint(v.Refused), "failed writes left", fmt.Sprint(v.Open))
	if v.Stopped {
		t.note = "Stopped. The same command goes on."
	}
	return errors.Join(d.say(v, t), err, countErr)
}

// bar is a progress bar on a terminal, and nothing elsewhere.
func (d *desk) bar(n int, what string) *progressbar.ProgressBar {
	w := d.err
	if !d.terminal {
		w = io.Discard
	}
	return progressbar.NewOptions(n,
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString("writes"), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30),
		progressbar.OptionOnCompletion(func() { _, _ = fmt.Fprintln(w) }))
}

func forced(force bool) string {
	if force {
		return "every field"
	}
	return "fields unchanged since"
}

// server builds an API server that serves nobody, so that a retry from here and
// one over HTTP cannot differ, and ends it after use.
func (d *desk) server(ctx context.Context, use func(*api.Server) error) (err error) {
	lanes, counts, closeLanes, err := d.lanes(ctx)
	if err != nil {
		return err
	}
	bell := asynq.NewClient(d.target.asynq(ringConns))
	appender := lane.NewAppender(lanes, lane.AppenderConfig{Ring: tasks.Ring(bell)}) //nolint:contextcheck // It lives until Close.
	limits := limit.New(d.side, limit.Config{Book: d.db, Logger: d.logger, Registerer: prometheus.NewRegistry()})
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, appender.Close(ctx), limits.Close(ctx), bell.Close(), closeLanes())
	}()
	accessTokens, err := (&config{}).tokens(time.Now, d.db, d.copies, d.logger)
	if err != nil {
		return err
	}
	server, err := api.New(api.Options{
		Tokens: accessTokens, Limits: limits,
		Optouts: (&config{}).optouts(d.db, d.copies, appender, signature.NewSNSClient(), d.logger),
		Lanes:   counts, Contacts: d.db, Ledger: d.db, Failed: d.db, Keys: d.db, Mirror: d.copies,
		Settings: d.db, SettingsEditor: d.db, SettingsMirror: d.copies,
		Appender: appender, Lane: lanes, Replies: lane.NewReplies(d.side, uuid.NewString(), d.logger),
		Ready:  func(context.Context) api.Readiness { return api.Readiness{} },
		Logger: d.logger, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		return err
	}
	defer server.Close()
	return use(server)
}

// writesDiscardCmd is `patchlane admin writes discard`.
type writesDiscardCmd struct {
	adminBase
	selection
}

// Run gives writes up. Said twice it is said.
func (c *writesDiscardCmd) Run(ctx context.Context, s streams) error {
	if err := c.check(); err != nil {
		return err
	}
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		if c.All {
			return c.many(ctx, d)
		}
		record, err := c.one(ctx, d)
		d.note(ctx, contact.OperatorAction{Action: "discard write", Target: c.ID.String()}, err)
		if err != nil {
			return about("write", c.ID, err)
		}
		v := viewWrite(&record)
		return d.say(v, pairs("write", v.WriteID.String(), "state", string(v.State)))
	})
}

func (c *writesDiscardCmd) one(ctx context.Context, d *desk) (contact.Record, error) {
	account, err := d.db.AccountOfFailed(ctx, c.ID)
	if err == nil {
		err = d.db.Discard(ctx, account, c.ID)
	}
	if err != nil {
		return contact.Record{}, err
	}
	return d.db.Write(ctx, account, c.ID)
}

// many discards page after page.
func (c *writesDiscardCmd) many(ctx context.Context, d *desk) error {
	q := c.query()
	n, err := d.count(ctx, q)
	if err != nil {
		return err
	}
	bar, discarded := d.bar(n, "discarding"), 0
	err = d.eachPage(ctx, q, func(page []contact.Failure) error {
		n, err := d.db.DiscardMany(ctx, refsOf(page))
		discarded += n
		_ = bar.Add(len(page))
		return err
	})
	_ = bar.Finish()
	d.note(ctx, contact.OperatorAction{
		Action: "discard writes", Account: c.Account, Target: c.String(), Detail: fmt.Sprintf("%d discarded", discarded),
	}, err)
	return errors.Join(d.say(map[string]int{"discarded": discarded}, pairs("discarded", fmt.Sprint(discarded))), err)
}

// eachPage goes through the open failures in the order of retries.
func (d *desk) eachPage(ctx context.Context, q contact.FailureQuery, do func([]contact.Failure) error) error {
	q.Limit = pageOfMany
	for {
		page, err := d.db.Failures(ctx, q)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := do(page); err != nil {
			return err
		}
		place := page[len(page)-1].Place()
		q.After = &place
	}
}

// pageOfMany is how many failed writes are dealt with at a time.
const pageOfMany = 500

func refsOf(failures []contact.Failure) []contact.WriteRef {
	refs := make([]contact.WriteRef, len(failures))
	for i, f := range failures {
		refs[i] = f.WriteRef
	}
	return refs
}
