package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// EntryVersion returns the version in which entries are written.
func (s *Store) EntryVersion(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var version int
	err := s.read.QueryRow(ctx, `SELECT entry_version FROM meta`).Scan(&version)
	return version, readError("read entry version", err)
}

// finish raises the version in which entries are written to the newest that
// this release knows. It only ever raises.
func finish(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `UPDATE meta SET entry_version = greatest(entry_version, $1)`, contact.EntryNewest)
	if err != nil {
		return fmt.Errorf("raise entry version: %w", err)
	}
	return nil
}
