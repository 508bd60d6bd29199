package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// plain applies updates one by one, each in a bun transaction of its own.
type plain struct {
	db *bun.DB
}

// openPlain connects with at most so many connections.
func openPlain(at string, connections int) (*plain, error) {
	db, err := sql.Open("pgx", at+"&default_query_exec_mode=exec")
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return &plain{db: bun.NewDB(db, pgdialect.New())}, nil
}

// close ends the connections.
func (p *plain) close() { _ = p.db.Close() }

// change is one member of an audit row.
type change struct {
	Field string  `json:"field"`
	Op    string  `json:"op,omitempty"`
	Old   *string `json:"old"`
	New   string  `json:"new"`
}

// apply reads the contact under lock, changes it, and records what changed.
func (p *plain) apply(ctx context.Context, u *update) error {
	err := p.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var title, company *string
		var version int64
		err := tx.QueryRowContext(ctx, `SELECT job_title, company_name, version FROM contacts
			WHERE account_id = ? AND id = ? FOR UPDATE`, account, u.Contact).Scan(&title, &company, &version)
		if err != nil {
			return fmt.Errorf("read contact: %w", err)
		}
		if err := p.set(ctx, tx, u); err != nil {
			return fmt.Errorf("update contact: %w", err)
		}
		changes := []change{{"job_title", "", title, u.Title}, {"company_name", "", company, u.Company}}
		if u.Note != "" {
			changes = append(changes, change{"notes", "append", nil, u.Note})
		}
		text, err := json.Marshal(changes)
		if err != nil {
			return fmt.Errorf("encode changes: %w", err)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO writes (account_id, id, contact_id, kind, state, version,
				actor, source, accepted_at, applied_at, changes)
			VALUES (?, ?, ?, 'patch', 'applied', ?, 'peer', 'patch', now(), now(), ?)`,
			account, u.ID, u.Contact, version+1, string(text))
		if err != nil {
			return fmt.Errorf("record write: %w", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("apply update: %w", err)
	}
	return nil
}

// set changes the row of the contact.
func (p *plain) set(ctx context.Context, tx bun.Tx, u *update) error {
	statement := `UPDATE contacts SET job_title = ?, company_name = ?, version = version + 1, updated_at = now()
		WHERE account_id = ? AND id = ?`
	args := []any{u.Title, u.Company, account, u.Contact}
	if u.Note != "" {
		statement = `UPDATE contacts SET job_title = ?, company_name = ?, version = version + 1, updated_at = now(),
			notes = CASE WHEN notes IS NULL THEN ? ELSE notes || E'\n' || ? END WHERE account_id = ? AND id = ?`
		args = []any{u.Title, u.Company, u.Note, u.Note, account, u.Contact}
	}
	_, err := tx.ExecContext(ctx, statement, args...)
	return err
}
