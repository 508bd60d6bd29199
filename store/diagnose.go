package store

import (
	"context"
	"time"
)

// Diagnosis is what Postgres tells of itself, for people who look for trouble.
type Diagnosis struct {
	Version int
	// ReadOnly: the server is a standby or takes no writes.
	ReadOnly bool
	// Fsync, FullPageWrites and SynchronousCommit are its settings.
	Fsync, FullPageWrites, SynchronousCommit string
	// MaxConnections less those reserved, and how many are in use.
	MaxConnections, Connections int
	// Now is its clock, and Asked the moment in the middle of the question.
	Now, Asked time.Time
	// OldestTransaction is the age of the oldest open transaction.
	OldestTransaction time.Duration
	// DefaultRows tells whether the default partition of the ledger has rows.
	DefaultRows bool
	// Erasures are those that are not finished, Failed the open failed writes; at
	// most 10,000 are counted.
	Erasures, Failed int
}

const diagnoseServerSQL = `SELECT current_setting('server_version_num')::int,
	pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean,
	current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
	current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
	(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), clock_timestamp(),
	(SELECT coalesce(extract(epoch FROM now() - min(xact_start)), 0)::float8 FROM pg_stat_activity
		WHERE backend_type = 'client backend')`

const diagnoseSchemaSQL = `SELECT EXISTS (SELECT FROM writes_default),
	(SELECT count(*) FROM (SELECT FROM erased_contacts WHERE done_at IS NULL LIMIT 10000) e),
	(SELECT count(*) FROM (SELECT FROM failed_writes f WHERE writes_open(f) LIMIT 10000) f)`

// Diagnose asks the server about itself; it needs no schema.
func (s *Store) Diagnose(ctx context.Context) (Diagnosis, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if err := s.read.Ping(ctx); err != nil { // so that the clocks are not compared across a connect
		return Diagnosis{}, readError("connect", err)
	}
	var d Diagnosis
	var oldest float64
	before := time.Now()
	err := s.read.QueryRow(ctx, diagnoseServerSQL).Scan(&d.Version, &d.ReadOnly, &d.Fsync, &d.FullPageWrites,
		&d.SynchronousCommit, &d.MaxConnections, &d.Connections, &d.Now, &oldest)
	d.Asked = before.Add(time.Since(before) / 2)
	d.OldestTransaction = time.Duration(oldest * float64(time.Second))
	return d, readError("ask the server", err)
}

// DiagnoseSchema adds what stands in the tables of a migrated database.
func (s *Store) DiagnoseSchema(ctx context.Context, d *Diagnosis) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return readError("look into the tables", s.read.QueryRow(ctx, diagnoseSchemaSQL).Scan(&d.DefaultRows, &d.Erasures, &d.Failed))
}
