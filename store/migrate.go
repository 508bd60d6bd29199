package store

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// The numbers of lanes of a database that was migrated without saying any.
const (
	DefaultContactLanes = 32
	DefaultAddressLanes = 8
)

const (
	// migrateLock is the key of the advisory lock that one migrating process
	// holds: "patchlan" as a number. It ends with its connection, so a killed
	// process leaves nothing behind.
	migrateLock = 0x70617463686c616e
)

// MigrateOptions are the choices of a migration.
type MigrateOptions struct {
	// Lanes are the numbers of lanes, fixed by the first migration. 0 takes
	// the default then, and what is stored later; another number than the
	// stored one is refused.
	Lanes contact.LaneCounts
	// Finish says that no process of the release before runs any more: entries
	// are written in the newest version from now on. A new database begins so.
	Finish bool
	// Logger is nil for none.
	Logger *slog.Logger
}

// MigrationState is one migration and when it was applied.
type MigrationState struct {
	Name string `json:"name"`
	// AppliedAt is nil while the migration is pending.
	AppliedAt *time.Time `json:"applied_at"`
}

// Migrate brings the schema up to date and makes the partitions of the coming
// months. Processes that start it at once wait for each other; a killed one
// leaves a finished migration or none, because a migration and its record
// commit together. Running it again is harmless.
func Migrate(ctx context.Context, url string, o MigrateOptions) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return withMigrateLock(ctx, url, func(conn *pgx.Conn) error {
		states, err := migrationStates(ctx, conn)
		if err != nil {
			return err
		}
		for _, state := range states {
			if state.AppliedAt != nil {
				continue
			}
			if err := runMigration(ctx, conn, state.Name, true); err != nil {
				return err
			}
			o.Logger.InfoContext(ctx, "migration applied", "migration", state.Name)
		}
		if err := fixLanes(ctx, conn, o.Lanes); err != nil {
			return err
		}
		if o.Finish {
			if err := finish(ctx, conn); err != nil {
				return err
			}
		}
		return makePartitions(ctx, conn, insistently)
	})
}

// MigrateDown takes the newest applied migration back, and its data with it.
func MigrateDown(ctx context.Context, url string) error {
	return withMigrateLock(ctx, url, func(conn *pgx.Conn) error {
		states, err := migrationStates(ctx, conn)
		if err != nil {
			return err
		}
		for _, state := range slices.Backward(states) {
			if state.AppliedAt != nil {
				return runMigration(ctx, conn, state.Name, false)
			}
		}
		return errors.New("migrate down: no migration is applied")
	})
}

// MigrateStatus lists every migration of this release in order.
func MigrateStatus(ctx context.Context, url string) ([]MigrationState, error) {
	var states []MigrationState
	err := withMigrateLock(ctx, url, func(conn *pgx.Conn) (err error) {
		states, err = migrationStates(ctx, conn)
		return err
	})
	return states, err
}

// withMigrateLock runs do on one connection that holds the advisory lock.
func withMigrateLock(ctx context.Context, url string, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("migrate: connect: %w", err)
	}
	// The lock is the session's: closing the connection gives it back.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(migrateLock)); err != nil {
		return fmt.Errorf("migrate: take the lock: %w", err)
	}
	if err := do(conn); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// migrationStates joins the migrations of this release with those applied.
func migrationStates(ctx context.Context, conn *pgx.Conn) ([]MigrationState, error) {
	_, err := conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_migrations (
		name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`)
	if err != nil {
		return nil, fmt.Errorf("make schema_migrations: %w", err)
	}
	rows, err := conn.Query(ctx, `SELECT name, applied_at FROM schema_migrations`)
	if err != nil {
		return nil, fmt.Errorf("read schema_migrations: %w", err)
	}
	applied, err := pgx.CollectRows(rows, pgx.RowToStructByPos[MigrationState])
	if err != nil {
		return nil, fmt.Errorf("read schema_migrations: %w", err)
	}
	files, err := fs.Glob(migrationFiles, "migrations/*.up.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	states := applied
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "migrations/"), ".up.sql")
		known := func(s MigrationState) bool { return s.Name == name }
		if !slices.ContainsFunc(applied, known) {
			states = append(states, MigrationState{Name: name})
		}
	}
	slices.SortFunc(states, func(a, b MigrationState) int { return cmp.Compare(a.Name, b.Name) })
	return states, nil
}

// runMigration runs one file and records it, or takes it and its record back,
// in one transaction.
func runMigration(ctx context.Context, conn *pgx.Conn, name string, up bool) error {
	file, record := name+".up.sql", `INSERT INTO schema_migrations (name) VALUES ($1)`
	if !up {
		file, record = name+".down.sql", `DELETE FROM schema_migrations WHERE name = $1`
	}
	text, err := migrationFiles.ReadFile("migrations/" + file)
	if err != nil {
		return fmt.Errorf("%s: this release does not have it: %w", file, err)
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, string(text)); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if _, err := tx.Exec(ctx, record, name); err != nil {
			return fmt.Errorf("%s: record it: %w", file, err)
		}
		return nil
	})
}

// fixLanes stores the numbers of lanes at the first migration, refuses others
// later, and makes the row of every lane.
func fixLanes(ctx context.Context, conn *pgx.Conn, want contact.LaneCounts) error {
	first := contact.LaneCounts{
		Contact: orDefault(want.Contact, DefaultContactLanes),
		Address: orDefault(want.Address, DefaultAddressLanes),
	}
	if max(first.Contact, first.Address) > contact.MaxLanes {
		return fmt.Errorf("lanes: at most %d of a kind", contact.MaxLanes)
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var have contact.LaneCounts
		err := tx.QueryRow(ctx, `WITH ins AS (
				INSERT INTO meta (contact_lanes, address_lanes, entry_version) VALUES ($1, $2, $3)
				ON CONFLICT DO NOTHING RETURNING contact_lanes, address_lanes)
			SELECT * FROM ins UNION ALL SELECT contact_lanes, address_lanes FROM meta`,
			first.Contact, first.Address, contact.EntryNewest).Scan(&have.Contact, &have.Address)
		if err != nil {
			return fmt.Errorf("fix lane counts: %w", err)
		}
		if orDefault(want.Contact, have.Contact) != have.Contact ||
			orDefault(want.Address, have.Address) != have.Address {
			return laneMismatch(have, want)
		}
		_, err = tx.Exec(ctx, `INSERT INTO lanes (lane)
			SELECT 'c' || lpad(n::text, greatest(3, length(n::text)), '0') FROM generate_series(0, $1::int - 1) n
			UNION ALL
			SELECT 'a' || lpad(n::text, greatest(3, length(n::text)), '0') FROM generate_series(0, $2::int - 1) n
			ON CONFLICT DO NOTHING`, have.Contact, have.Address)
		if err != nil {
			return fmt.Errorf("make lanes: %w", err)
		}
		return nil
	})
}

// laneMismatch says how the numbers of lanes are changed: the lane of a
// contact moves with them, so nothing may wait in any lane meanwhile.
func laneMismatch(have, want contact.LaneCounts) error {
	return fmt.Errorf("the database has %d contact lanes and %d address lanes, not %d and %d: "+
		"start with the stored numbers; or, to change them, stop every api, wait until "+
		"`patchlane admin lanes` shows no entries, stop every worker, "+
		"run `UPDATE meta SET contact_lanes = …, address_lanes = …` on the database and migrate again",
		have.Contact, have.Address,
		orDefault(want.Contact, have.Contact), orDefault(want.Address, have.Address))
}
