package store_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/store"
	"patchlane/store/storetest"
	"patchlane/tasks/contact"
)

// dump lists everything that a migration makes.
func dump(t *testing.T, dbURL string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dbURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	rows, err := conn.Query(t.Context(), `
		SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable
			|| ' ' || coalesce(column_default, '') FROM information_schema.columns WHERE table_schema = 'public'
		UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
		UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
			FROM pg_constraint WHERE connamespace = 'public'::regnamespace
		UNION ALL SELECT 'table ' || relname || ' ' || relkind::text || ' ' || coalesce(reloptions::text, '')
			|| ' ' || coalesce(pg_get_expr(relpartbound, oid), '')
			FROM pg_class WHERE relnamespace = 'public'::regnamespace
		UNION ALL SELECT 'view ' || pg_get_viewdef(viewname::regclass) FROM pg_views WHERE schemaname = 'public'
		UNION ALL SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
		UNION ALL SELECT 'lane ' || lane || ' ' || offsets FROM lanes`)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func TestMigrateUpDownUp(t *testing.T) {
	t.Parallel()
	ctx, dbURL := t.Context(), storetest.Empty(t)
	if err := store.Migrate(ctx, dbURL, store.MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	first := dump(t, dbURL)
	if err := store.MigrateDown(ctx, dbURL); err != nil {
		t.Fatal(err)
	}
	states, err := store.MigrateStatus(ctx, dbURL)
	if err != nil || len(states) == 0 || states[len(states)-1].AppliedAt != nil {
		t.Errorf("status after down: %+v, %v", states, err)
	}
	for range 2 { // the second finds nothing to do
		if err := store.Migrate(ctx, dbURL, store.MigrateOptions{}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, dump(t, dbURL)); diff != "" {
			t.Errorf("another schema than before:\n%s", diff)
		}
	}
	states, err = store.MigrateStatus(ctx, dbURL)
	if err != nil || states[len(states)-1].AppliedAt == nil {
		t.Errorf("status after up: %+v, %v", states, err)
	}
}

func TestMigrateManyAtOnce(t *testing.T) {
	t.Parallel()
	ctx, dbURL := t.Context(), storetest.Empty(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := store.Migrate(ctx, dbURL, store.MigrateOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(dump(t, dbURL)) == 0 {
		t.Error("no schema")
	}
}

func TestMigrateKilled(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := &bundle{DB: storetest.DB{URL: storetest.Empty(t)}, t: t}
	tx, err := b.connect().Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The last statement of the migration waits for this table's name.
	if _, err := tx.Exec(ctx, `CREATE TABLE lanes (lane text)`); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- store.Migrate(ctx, b.URL, store.MigrateOptions{}) }()
	b.untilBlocked(1)
	b.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock'`)
	if err := <-done; err == nil {
		t.Error("a killed migration must say so")
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(ctx, b.URL, store.MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestMigrateFixesLanes(t *testing.T) {
	t.Parallel()
	ctx, dbURL := t.Context(), storetest.Empty(t)
	migrate := func(c, a int) error {
		return store.Migrate(ctx, dbURL, store.MigrateOptions{Lanes: contact.LaneCounts{Contact: c, Address: a}})
	}
	if err := migrate(5, 3); err != nil {
		t.Fatal(err)
	}
	for _, same := range [][2]int{{5, 3}, {0, 0}, {5, 0}} {
		if err := migrate(same[0], same[1]); err != nil {
			t.Errorf("%v: %v", same, err)
		}
	}
	err := migrate(6, 3)
	if err == nil || !strings.Contains(err.Error(), "5 contact lanes") ||
		!strings.Contains(err.Error(), "to change them") {
		t.Errorf("another number: %v", err)
	}
	s, err := store.Open(ctx, store.Config{URL: dbURL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if n, err := s.Lanes(ctx); err != nil || n != (contact.LaneCounts{Contact: 5, Address: 3}) {
		t.Errorf("lanes: %+v, %v", n, err)
	}
	if all, err := s.Offsets(ctx); err != nil || len(all) != 8 {
		t.Errorf("%d offsets: %v", len(all), err)
	}
}

func TestPartitionTakesRowsOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	b.exec(`ALTER TABLE writes DETACH PARTITION writes_default`)
	b.exec(`DO $$ DECLARE p text; BEGIN
		FOR p IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'writes'::regclass
		LOOP EXECUTE 'DROP TABLE ' || p; END LOOP; END $$`)
	b.exec(`ALTER TABLE writes ATTACH PARTITION writes_default DEFAULT`)
	out := b.mustApply(b.note(id, "x"), b.note(id, "y"))
	if n := b.count(`SELECT count(*) FROM writes_default`); n != 2 {
		t.Fatalf("%d rows in the default partition, want 2", n)
	}
	if err := store.Migrate(t.Context(), b.URL, store.MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := b.count(`SELECT count(*) FROM writes_default`); n != 0 {
		t.Errorf("%d rows left behind", n)
	}
	for _, o := range out {
		if r, err := b.Store.Write(t.Context(), b.account, o.WriteID); err != nil || r.State != contact.Applied {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if _, err := b.Store.Write(t.Context(), b.account, uuid.New()); contact.CodeOf(err) != contact.CodeNotFound {
		t.Errorf("unknown write: %v", err)
	}
}
