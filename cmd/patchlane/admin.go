package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/store"
	"patchlane/tasks/contact"
	"patchlane/tasks/mirror"
)

// adminCmd is `patchlane admin`.
type adminCmd struct {
	Account    accountCmd    `cmd:"" help:"Accounts: tenants with contacts and keys of their own."`
	Key        keyCmd        `cmd:"" help:"API keys of an account."`
	SigningKey signingKeyCmd `cmd:"" help:"Keys that sign access tokens, when --jwt-keys names no files."`
	Lanes      lanesCmd      `cmd:"" help:"What waits in the lanes: depth, age of the oldest, owner."`
	Writes     adminWriteCmd `cmd:"" help:"Writes that failed: list, retry, discard."`
	Pause      pauseCmd      `cmd:"" help:"Stop the drains, of everything or of one account; accepting goes on."`
	Resume     resumeCmd     `cmd:"" help:"Let paused drains go on."`
	Endpoint   endpointCmd   `cmd:"" help:"Webhook endpoints of an account."`
	Contact    contactCmd    `cmd:"" help:"Contacts: erase one for good."`
	Events     eventsCmd     `cmd:"" help:"Events of providers that could not be read."`
}

// Help is the long text of --help.
func (*adminCmd) Help() string {
	return `Prints one JSON object when standard output is no terminal or with --json, else a table. Logs go to standard error.`
}

// adminBase are the flags of every admin command.
type adminBase struct {
	backends
	outputConfig
	processConfig
}

// desk is what an admin command works with.
type desk struct {
	streams
	outputConfig
	target redisTarget
	db     *store.Store
	side   redis.UniversalClient
	copies *mirror.Mirror
	logger *slog.Logger
}

// open connects and calls what is to be done. The connections end with it.
func (c *adminBase) open(ctx context.Context, s streams, do func(context.Context, *desk) error) error {
	if err := c.check(); err != nil {
		return &configError{err}
	}
	target, err := parseRedis(c.RedisURL)
	if err != nil {
		return &configError{err}
	}
	logger := newLogger(s, c.processConfig)
	db, err := store.Open(ctx, store.Config{URL: c.DatabaseURL, MaxConns: 2, ReadConns: 2, Logger: logger})
	if err != nil {
		return &configError{err}
	}
	defer db.Close()
	side := target.mirrorClient(4)
	defer func() { _ = side.Close() }()
	return do(ctx, &desk{
		streams: s, outputConfig: c.outputConfig, target: target,
		db: db, side: side, copies: mirror.New(side), logger: logger,
	})
}

// say prints the answer of a command.
func (d *desk) say(object any, t table) error { return d.print(d.streams, object, t) }

// accountCmd is `patchlane admin account`.
type accountCmd struct {
	Create  accountCreateCmd  `cmd:"" help:"Make an account."`
	List    accountListCmd    `cmd:"" help:"List the accounts."`
	Set     accountSetCmd     `cmd:"" help:"Change the settings of an account."`
	Credits accountCreditsCmd `cmd:"" help:"Show or set the credits of an account."`
}

// accountCreateCmd is `patchlane admin account create`.
type accountCreateCmd struct {
	adminBase
	Name string `name:"name" required:"" placeholder:"NAME" help:"Name of the account, for people."`
}

// Run makes an account and prints its id.
func (c *accountCreateCmd) Run(ctx context.Context, s streams) error {
	if c.Name == "" {
		return &configError{errors.New("--name: empty; say a name for people")}
	}
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		a, err := d.db.CreateAccount(ctx, c.Name)
		if err != nil {
			return err
		}
		return d.say(a, accountTable(a))
	})
}

// accountListCmd is `patchlane admin account list`.
type accountListCmd struct{ adminBase }

// Run lists the accounts.
func (c *accountListCmd) Run(ctx context.Context, s streams) error {
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		accounts, err := d.db.Accounts(ctx)
		if err != nil {
			return err
		}
		return d.say(map[string][]contact.Account{"accounts": accounts}, accountTable(accounts...))
	})
}

// accountSetCmd is `patchlane admin account set`.
type accountSetCmd struct {
	adminBase
	Account     uuid.UUID `name:"account" required:"" placeholder:"ID" help:"Id of the account."`
	ConsentLock *bool     `name:"consent-lock" negatable:"" placeholder:"true" help:"Refuse a PATCH that would undo a complaint or a hard bounce."`
}

// Run changes what was given and prints the account.
func (c *accountSetCmd) Run(ctx context.Context, s streams) error {
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		a, err := d.db.SetAccount(ctx, c.Account, c.ConsentLock)
		if err != nil {
			return about("account", c.Account, err)
		}
		return d.say(a, accountTable(a))
	})
}

func accountTable(accounts ...contact.Account) table {
	t := table{head: []string{"account", "name", "consent lock", "created"}}
	for _, a := range accounts {
		t.rows = append(t.rows, []string{a.ID.String(), a.Name, fmt.Sprint(a.ConsentLock), a.CreatedAt.Format(time.RFC3339)})
	}
	return t
}

// about names the thing that a command was about, since the error of the store
// is written for clients that know what they asked for.
func about(what string, id uuid.UUID, err error) error {
	return fmt.Errorf("%s %s: %w", what, id, err)
}
