package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
	"patchlane/tasks/limit"
)

// accountCreditsCmd is `patchlane admin account credits`.
type accountCreditsCmd struct {
	adminBase
	Account uuid.UUID `name:"account" required:"" placeholder:"ID" help:"Id of the account."`
	Set     *int64    `name:"set" placeholder:"N" help:"Give the account N credits in place of what it has; counts from the next call on."`
}

// Help is the long text of --help.
func (*accountCreditsCmd) Help() string {
	return `Calls with a trustpager key cost credits of the account: a read 1, a write 2. Without --set: prints what is left. An
account that was never given credits is not metered, and has 2147483647.`
}

// Run gives credits, if any were named, and prints what is left.
func (c *accountCreditsCmd) Run(ctx context.Context, s streams) error {
	if c.Set != nil && (*c.Set < 0 || *c.Set > contact.Unmetered) {
		return &configError{fmt.Errorf("--set: want a number from 0 to %d", contact.Unmetered)}
	}
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		left, err := d.credits(ctx, c.Account, c.Set)
		if err != nil {
			return about("account", c.Account, err)
		}
		return d.say(map[string]int64{"credits": left}, pairs("credits", strconv.FormatInt(left, 10)))
	})
}

// credits writes a new figure to Postgres, then to Redis, where it is in force. If
// Redis does not answer, an API brings it there later, but not from the next call
// on: so that is an error.
func (d *desk) credits(ctx context.Context, account uuid.UUID, set *int64) (left int64, err error) {
	limits := limit.New(d.side, limit.Config{Book: d.db, Logger: d.logger})
	defer func() { err = errors.Join(err, limits.Close(ctx)) }()
	if _, err := d.db.Account(ctx, account); err != nil {
		return 0, err
	}
	if set == nil {
		b, err := limits.Balance(ctx, account)
		return b.Left, err
	}
	b, err := d.db.SetCredits(ctx, account, *set)
	if err != nil {
		return 0, err
	}
	return b.Left, limits.SetBalance(ctx, b)
}
