package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/store"
)

// template is the database that each way gets a copy of.
const template = "peer_template"

// account owns every contact of the bench.
var account = uuid.MustParse("00000000-0000-7000-8000-00000000acc0") //nolint:gochecknoglobals // a constant

// databases makes a fresh database for each way.
type databases struct {
	server   string
	contacts int
}

// makeTemplate migrates the template and fills it with contacts.
func makeTemplate(ctx context.Context, server string, contacts int) (*databases, error) {
	d := &databases{server: server, contacts: contacts}
	if err := execute(ctx, server, "CREATE DATABASE "+template); err != nil {
		return nil, err
	}
	at, err := d.url(template)
	if err != nil {
		return nil, err
	}
	if err := store.Migrate(ctx, at, store.MigrateOptions{}); err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	err = execute(ctx, at, `INSERT INTO accounts (id, name) VALUES ($1, 'peers')`, account)
	if err != nil {
		return nil, err
	}
	err = execute(ctx, at, `INSERT INTO contacts (account_id, id, first_name, last_name, email, email_key,
			job_title, company_name, version, created_at, updated_at)
		SELECT $1, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'First ' || n, 'Last ' || n,
			'contact-' || n || '@example.com', 'contact-' || n || '@example.com', 'None', 'None', 1, now(), now()
		FROM generate_series(0, $2::int - 1) n`, account, contacts)
	if err != nil {
		return nil, err
	}
	return d, execute(ctx, at, "VACUUM ANALYZE")
}

// fresh returns the address of a new copy of the template, and what drops it.
func (d *databases) fresh(ctx context.Context, name string) (string, func() error, error) {
	if err := execute(ctx, d.server, "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		return "", nil, err
	}
	if err := execute(ctx, d.server, "CHECKPOINT"); err != nil {
		return "", nil, err
	}
	at, err := d.url(name)
	return at, func() error {
		return execute(context.WithoutCancel(ctx), d.server, "DROP DATABASE "+name+" WITH (FORCE)")
	}, err
}

// url returns the address of a database of the server.
func (d *databases) url(name string) (string, error) {
	u, err := url.Parse(d.server)
	if err != nil {
		return "", fmt.Errorf("parse postgres address: %w", err)
	}
	u.Path = "/" + name
	return u.String(), nil
}

// execute runs one statement on a connection of its own.
func execute(ctx context.Context, at, statement string, args ...any) error {
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, statement, args...); err != nil {
		return fmt.Errorf("execute: %w", err)
	}
	return nil
}

// verdict is what a way left behind.
type verdict struct {
	// Missing and Extra count writes that are not, or more than once, in the
	// contacts and their audit rows.
	Missing, Extra int
	// Disordered counts writes that were applied after a later one of the same
	// contact.
	Disordered int
}

// judge reads what a way did with a workload.
func judge(ctx context.Context, at string, w workload) (verdict, error) {
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return verdict{}, fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var rows, distinct, versions, notes, disordered int
	err = conn.QueryRow(ctx, `
		WITH log AS (
			SELECT contact_id, version, substring(new_value #>> '{}' from '\d+')::int AS n
			FROM crm_field_change_log WHERE field = 'job_title'
		), pairs AS (
			SELECT n, lag(n) OVER (PARTITION BY contact_id ORDER BY version) AS before FROM log
		)
		SELECT count(*), count(DISTINCT n), count(*) FILTER (WHERE before > n),
			(SELECT sum(version - 1)::int FROM contacts),
			(SELECT coalesce(sum(length(regexp_replace(notes, 'note \d+\n?', '#', 'g'))), 0)::int FROM contacts)
		FROM pairs`).Scan(&rows, &distinct, &disordered, &versions, &notes)
	if err != nil {
		return verdict{}, fmt.Errorf("judge: %w", err)
	}
	missing := max(w.Writes-distinct, w.Writes-versions, w.notes()-notes, 0)
	extra := max(rows-distinct, versions-w.Writes, notes-w.notes(), 0)
	return verdict{Missing: missing, Extra: extra, Disordered: disordered}, nil
}
