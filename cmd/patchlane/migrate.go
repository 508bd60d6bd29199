package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"patchlane/store"
	"patchlane/tasks/contact"
)

// migrateCmd is `patchlane migrate`.
type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" default:"withargs" help:"Apply what is missing (also without a word). Exit 0: the schema is current."`
	Down   migrateDownCmd   `cmd:"" help:"Take the newest migration back, and its data with it."`
	Status migrateStatusCmd `cmd:"" help:"List the migrations. Exit 1 while one is missing."`
}

// Help is the long text of --help.
func (*migrateCmd) Help() string {
	return `Several processes may migrate at the same time: they wait for each other. A killed one leaves a finished migration or none.

An upgrade is: migrate, start the new release beside the old one, stop the old one, migrate --finish. Until then the new one writes what
the old one can read.

The first migration fixes the numbers of lanes (--lanes, --address-lanes): every process reads them from the database.`
}

// migrateBase are the flags of all three.
type migrateBase struct {
	DatabaseURL string `name:"database-url" env:"DATABASE_URL" placeholder:"URL" help:"Postgres, such as postgres://user:password@host:5432/patchlane. Required."`
	outputConfig
	processConfig
}

func (c *migrateBase) check() error {
	if err := validateDatabaseURL(c.DatabaseURL); err != nil {
		return &configError{err}
	}
	return nil
}

// migrateUpCmd is `patchlane migrate up`.
type migrateUpCmd struct {
	migrateBase
	laneCounts
	Finish bool `name:"finish" help:"Say that every process of the release before has ended: entries are written in this release's version from now on, which the one before cannot read."`
}

// Run migrates and prints what the database has now.
func (c *migrateUpCmd) Run(ctx context.Context, s streams) error {
	if err := errors.Join(c.check(), c.validate()); err != nil {
		return &configError{err}
	}
	err := store.Migrate(ctx, c.DatabaseURL, store.MigrateOptions{
		Lanes:  contact.LaneCounts{Contact: c.Lanes, Address: c.AddressLanes},
		Finish: c.Finish,
		Logger: newLogger(s, c.processConfig),
	})
	if err != nil {
		return err
	}
	return c.show(ctx, s)
}

// migrateDownCmd is `patchlane migrate down`.
type migrateDownCmd struct{ migrateBase }

// Run takes one migration back.
func (c *migrateDownCmd) Run(ctx context.Context, s streams) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := store.MigrateDown(ctx, c.DatabaseURL); err != nil {
		return err
	}
	return c.show(ctx, s)
}

// migrateStatusCmd is `patchlane migrate status`.
type migrateStatusCmd struct{ migrateBase }

// Run lists the migrations.
func (c *migrateStatusCmd) Run(ctx context.Context, s streams) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := c.show(ctx, s); err != nil {
		return err
	}
	states, err := store.MigrateStatus(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	if n := pending(states); n > 0 {
		return fmt.Errorf("the schema is not current, %d missing: run patchlane migrate", n)
	}
	return nil
}

// migrationReport is what `migrate` prints.
type migrationReport struct {
	Current      bool                   `json:"current"`
	Lanes        int                    `json:"lanes,omitempty"`
	AddressLanes int                    `json:"address_lanes,omitempty"`
	EntryVersion int                    `json:"entry_version,omitempty"`
	Finished     bool                   `json:"finished"`
	Migrations   []store.MigrationState `json:"migrations"`
}

// show prints the state of the schema.
func (c *migrateBase) show(ctx context.Context, s streams) error {
	states, err := store.MigrateStatus(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	r := migrationReport{Current: pending(states) == 0, Migrations: states}
	if r.Current {
		db, err := store.Open(ctx, store.Config{URL: c.DatabaseURL, MaxConns: 1, ReadConns: 1})
		if err != nil {
			return err
		}
		defer db.Close()
		counts, err := db.Lanes(ctx)
		if err != nil {
			return err
		}
		r.Lanes, r.AddressLanes = counts.Contact, counts.Address
		if r.EntryVersion, err = db.EntryVersion(ctx); err != nil {
			return err
		}
		r.Finished = r.EntryVersion >= contact.EntryNewest
	}
	t := table{head: []string{"migration", "applied"}}
	for _, m := range states {
		at := "missing"
		if m.AppliedAt != nil {
			at = m.AppliedAt.UTC().Format(time.RFC3339)
		}
		t.rows = append(t.rows, []string{m.Name, at})
	}
	if r.Current {
		t.note = fmt.Sprintf("The schema is current: %d contact lanes, %d address lanes.", r.Lanes, r.AddressLanes)
	}
	if r.Current && !r.Finished {
		t.note += " Run patchlane migrate --finish once no process of the release before is left."
	}
	return c.print(s, r, t)
}

// pending counts the migrations that are missing.
func pending(states []store.MigrationState) int {
	n := 0
	for _, m := range states {
		if m.AppliedAt == nil {
			n++
		}
	}
	return n
}
