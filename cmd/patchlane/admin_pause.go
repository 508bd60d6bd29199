package main

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
)

// pauseTarget is what a pause is for.
type pauseTarget struct {
	Account uuid.UUID `name:"account" placeholder:"ID" help:"This account alone: its writes wait, those of all others go on."`
	Optouts bool      `name:"optouts" help:"The lanes of opt-outs, which no other pause holds."`
}

func (p *pauseTarget) check() error {
	if p.Optouts && p.Account != uuid.Nil {
		return &configError{errors.New("--optouts with --account: opt-outs are paused for everybody or for nobody")}
	}
	return nil
}

// pauseCmd is `patchlane admin pause`.
type pauseCmd struct {
	adminBase
	pauseTarget
	Reason string `name:"reason" placeholder:"TEXT" help:"Why, for the other operators."`
}

// Help is the long text of --help.
func (*pauseCmd) Help() string {
	return `Writes are still accepted and wait, up to the limits of the lanes; the batch in flight is finished. A pause holds until
resume, whatever is restarted. Opt-outs of providers are never paused by this, unless --optouts says so.`
}

// Run pauses and prints what is paused now.
func (c *pauseCmd) Run(ctx context.Context, s streams) error {
	return c.pause(ctx, s, c.pauseTarget, "pause", func(ctx context.Context, l *lane.Lanes) error {
		return l.Pause(ctx, contact.Pause{Account: c.Account, Optouts: c.Optouts, By: operatorName(), Reason: c.Reason})
	})
}

// resumeCmd is `patchlane admin resume`.
type resumeCmd struct {
	adminBase
	pauseTarget
}

// Help is the long text of --help.
func (*resumeCmd) Help() string {
	return `Ends the pause that was made with the same flags. What waits is applied in the order in which it was accepted.`
}

// Run resumes and prints what is paused still.
func (c *resumeCmd) Run(ctx context.Context, s streams) error {
	return c.pause(ctx, s, c.pauseTarget, "resume", func(ctx context.Context, l *lane.Lanes) error {
		return l.Resume(ctx, contact.Pause{Account: c.Account, Optouts: c.Optouts, By: operatorName()})
	})
}

// pause does what both commands have in common.
func (c *adminBase) pause(
	ctx context.Context, s streams, target pauseTarget, action string, do func(context.Context, *lane.Lanes) error,
) error {
	if err := target.check(); err != nil {
		return err
	}
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		if target.Account != uuid.Nil {
			if _, err := d.db.Account(ctx, target.Account); err != nil {
				return about("account", target.Account, err)
			}
		}
		lanes, _, closeLanes, err := d.lanes(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = closeLanes() }()
		err = do(ctx, lanes)
		d.note(ctx, contact.OperatorAction{
			Action: action, Account: target.Account,
			Target: pauseScope(contact.Pause{Account: target.Account, Optouts: target.Optouts}),
		}, err)
		if err != nil {
			return err
		}
		pauses, err := lanes.Pauses(ctx)
		if err != nil {
			return err
		}
		t := table{head: []string{"paused", "by", "reason"}}
		for _, p := range pauses {
			t.rows = append(t.rows, []string{pauseScope(p), p.By, orDash(p.Reason)})
		}
		return d.say(map[string]any{"pauses": pauses}, t)
	})
}

// pauseScope names what a pause is for.
func pauseScope(p contact.Pause) string {
	switch {
	case p.Account != uuid.Nil:
		return "account " + p.Account.String()
	case p.Optouts:
		return "opt-outs"
	default:
		return "all writes"
	}
}
