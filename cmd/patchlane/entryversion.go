package main

import (
	"context"
	"log/slog"
	"sync/atomic"

	"patchlane/store"
	"patchlane/tasks/contact"
	"patchlane/tasks/mirror"
)

// entryVersion is the version in which this process writes entries: the first,
// until the database says that every process reads a newer one.
type entryVersion struct {
	db     *store.Store
	copies *mirror.Mirror
	logger *slog.Logger
	now    atomic.Int64
}

// get returns the version.
func (v *entryVersion) get() int { return max(int(v.now.Load()), contact.EntryPlain) }

// look asks Postgres, or the mirror while Postgres is away, and keeps what it
// knew when neither answers: an older version is readable everywhere. A version
// that this release cannot read ends the process, before it calls what it reads
// poison.
func (v *entryVersion) look(ctx context.Context) error {
	stored, err := v.db.EntryVersion(ctx)
	if err == nil {
		err = v.copies.PutEntryVersion(ctx, stored)
	} else if mirrored, mirrorErr := v.copies.EntryVersion(ctx); mirrorErr == nil {
		stored = mirrored
	}
	if err != nil && ctx.Err() == nil {
		v.logger.DebugContext(ctx, "mirroring the entry version", "err", err)
	}
	if err := contact.CheckEntryVersion(stored); err != nil {
		return &configError{err}
	}
	if was := v.now.Load(); int64(stored) > was {
		v.now.Store(int64(stored))
		v.logger.InfoContext(ctx, "entries are written in a version", "version", stored)
	}
	return nil
}

// watch looks at once, and again and again until ctx ends.
func (v *entryVersion) watch(ctx context.Context) error {
	wait := backOff{wait: firstWait, most: durabilityInterval}
	for {
		if err := v.look(ctx); err != nil {
			return err
		}
		if !wait.pause(ctx) {
			return nil
		}
	}
}
