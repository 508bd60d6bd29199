package store_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"patchlane/store"
	"patchlane/tasks/contact"
)

// keeper makes a Keeper that gives up soon.
func (b *bundle) keeper(r store.Retention) *store.Keeper {
	return store.Hasty(b.Store.NewKeeper(store.KeeperConfig{Retention: r, Registerer: prometheus.NewRegistry()}))
}

func (b *bundle) keep(r store.Retention) {
	b.t.Helper()
	if err := b.keeper(r).Once(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// dropPartitions takes every month's partition away; the rows go into the
// default partition.
func (b *bundle) dropPartitions() {
	b.t.Helper()
	b.exec(`DO $$ DECLARE p text; BEGIN
		CREATE TEMP TABLE all_writes AS SELECT * FROM writes;
		FOR p IN SELECT inhrelid::regclass FROM pg_inherits
			WHERE inhparent = 'writes'::regclass AND inhrelid <> 'writes_default'::regclass
		LOOP EXECUTE 'DROP TABLE ' || p; END LOOP;
		TRUNCATE writes_default;
		INSERT INTO writes SELECT * FROM all_writes; END $$`)
}

// month makes the partition of the clock's month.
func (b *bundle) month() {
	b.t.Helper()
	b.exec(`DO $$ BEGIN
		IF writes_stage('` + b.clock.Format("2006-01") + `-01') THEN
			PERFORM writes_attach('` + b.clock.Format("2006-01") + `-01');
		END IF; END $$`)
}

func TestKeeperMakesPartitions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	b.dropPartitions()
	b.mustApply(b.note(id, "x"), b.note(id, "y"))
	if n, err := b.Store.PartitionsAhead(t.Context()); err != nil || n != -1 {
		t.Fatalf("%d months ahead, %v", n, err)
	}
	reg := prometheus.NewRegistry()
	var wg sync.WaitGroup
	for i := range 3 { // at once, as workers do
		wg.Go(func() {
			cfg := store.KeeperConfig{}
			if i == 0 {
				cfg.Registerer = reg
			}
			if err := b.Store.NewKeeper(cfg).Once(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n, err := b.Store.PartitionsAhead(t.Context()); err != nil || n != 12 {
		t.Errorf("%d months ahead, %v", n, err)
	}
	if b.count(`SELECT count(*) FROM writes_default`) != 0 || b.count(`SELECT count(*) FROM writes`) != 3 {
		t.Error("rows were left in the default partition, or lost")
	}
	const want = `
		# HELP patchlane_store_partitions_ahead_months Months after this one for which the ledger has a partition; NaN until the first look.
		# TYPE patchlane_store_partitions_ahead_months gauge
		patchlane_store_partitions_ahead_months 12
	`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "patchlane_store_partitions_ahead_months"); err != nil {
		t.Error(err)
	}
	// One that is missing in the middle is what counts.
	b.exec(`DO $$ BEGIN EXECUTE 'DROP TABLE ' || (writes_bounds((now() + interval '4 months')::date)).part; END $$`)
	if n, err := b.Store.PartitionsAhead(t.Context()); err != nil || n != 3 {
		t.Errorf("%d months ahead, %v", n, err)
	}
}

// writer applies batches to a lane until it is stopped, and notes the longest.
type writer struct {
	stop, done chan struct{}
	slowest    time.Duration
	batches    int
}

func (b *bundle) writeOn(lane contact.Lane, id uuid.UUID, size int) *writer {
	w := &writer{stop: make(chan struct{}), done: make(chan struct{})}
	at := contact.Offset{Ms: uint64(b.clock.UnixMilli())}
	ctx := context.WithoutCancel(b.t.Context())
	go func() {
		defer close(w.done)
		text := "x"
		for seq := uint64(1); ; w.batches++ {
			select {
			case <-w.stop:
				return
			default:
			}
			entries := make([]contact.Entry, size)
			for i := range entries {
				writeID, err := contact.NewWriteID(time.Now(), lane)
				if err != nil {
					b.t.Error(err)
					return
				}
				at.Seq, seq = seq, seq+1
				entries[i] = contact.Entry{Offset: at, Write: contact.Write{
					ID: writeID, Account: b.account, Contact: id, Kind: contact.KindPatch, AcceptedAt: time.Now(), Source: contact.SourcePatch,
				}}
				entries[i].Patch.SetText(contact.JobTitle, &text)
			}
			start := time.Now()
			if _, err := b.Store.Apply(ctx, lane, entries); err != nil {
				b.t.Error(err)
				return
			}
			w.slowest = max(w.slowest, time.Since(start))
		}
	}()
	return w
}

func (w *writer) end() time.Duration {
	close(w.stop)
	<-w.done
	return w.slowest
}

// A session that reads the ledger for long, as pg_dump does, holds every
// partition. Upkeep gives way to it, and batches do not wait behind the upkeep
// for longer than its lock timeout: without that they would wait for the reader.
func TestKeeperGivesWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	now := b.clock
	b.clock = now.AddDate(0, -4, 0)
	b.month()
	b.mustApply(b.note(id, "old"))
	b.clock = now
	b.exec(`DO $$ BEGIN EXECUTE 'DROP TABLE ' || (writes_bounds((now() + interval '4 months')::date)).part; END $$`)
	reader, err := b.connect().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Exec(t.Context(), `SELECT count(*) FROM writes`); err != nil {
		t.Fatal(err)
	}
	w := b.writeOn(contact.Lane{Kind: 'c', N: 1}, id, 5)
	k := b.keeper(store.Retention{Writes: 30 * 24 * time.Hour})
	if err := k.Once(t.Context()); !errors.Is(err, store.ErrBusy) {
		t.Errorf("beside a long reader: %v", err)
	}
	slowest := w.end()
	t.Logf("the slowest of %d batches took %s", w.batches, slowest)
	if slowest > 2*time.Second {
		t.Error("a batch waited for the upkeep")
	}
	if err := reader.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.Once(t.Context()); err != nil {
		t.Error(err)
	}
	if n, err := b.Store.PartitionsAhead(t.Context()); err != nil || n != 12 {
		t.Errorf("%d months ahead, %v", n, err)
	}
	if n := b.count(`SELECT count(*) FROM writes WHERE id < writes_floor(now() - interval '70 days')`); n != 0 {
		t.Errorf("%d old rows are left", n)
	}
}

// Months with many rows are emptied and partitions made while four lanes are
// written to: no batch fails, and none waits noticeably.
func TestKeeperUnderLoad(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.contactsNamed("Ada", "Bob", "Cy", "Dee")
	now := b.clock
	for back := 3; back <= 6; back++ {
		b.clock = now.AddDate(0, -back, 0)
		b.month()
		b.exec(`INSERT INTO writes (account_id, id, contact_id, kind, state, version, actor, source, accepted_at, applied_at)
			SELECT '` + b.account.String() + `', overlay(gen_random_uuid()::text placing
				left(writes_floor('` + b.clock.Format(time.RFC3339) + `')::text, 13) from 1)::uuid,
				gen_random_uuid(), 'patch', 'applied', 1, '', 'patch', now(), now() FROM generate_series(1, 20000)`)
	}
	b.clock = now
	b.exec(`DO $$ BEGIN FOR n IN 3..12 LOOP
		EXECUTE 'DROP TABLE ' || (writes_bounds((now() + make_interval(months => n))::date)).part; END LOOP; END $$`)
	writers := make([]*writer, len(ids))
	for i, id := range ids {
		writers[i] = b.writeOn(contact.Lane{Kind: 'c', N: i}, id, 50)
	}
	k := b.Store.NewKeeper(store.KeeperConfig{Retention: store.Retention{Writes: 30 * 24 * time.Hour}})
	b.until("a look that finds time for everything", func() bool { return k.Once(t.Context()) == nil })
	for i, w := range writers {
		if slowest := w.end(); slowest > 3*time.Second {
			t.Errorf("lane %d: one of %d batches took %s", i, w.batches, slowest)
		} else {
			t.Logf("lane %d: the slowest of %d batches took %s", i, w.batches, slowest)
		}
	}
	if n := b.count(`SELECT count(*) FROM writes WHERE id < writes_floor(now() - interval '70 days')`); n != 0 {
		t.Errorf("%d old rows are left", n)
	}
	if n, err := b.Store.PartitionsAhead(t.Context()); err != nil || n != 12 {
		t.Errorf("%d months ahead, %v", n, err)
	}
}
