package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
)

const (
	// insideSessions apply at the same time, each its own contacts.
	insideSessions = 4
	// insideBatch is how many writes a transaction holds.
	insideBatch = 500
)

// insideProcedure changes the rows of the workload without any client: the
// numbers, ids and texts of the writes are made by the server too. A statement
// cannot change a row twice, so the second write of each contact is in the next
// transaction.
const insideProcedure = `
CREATE PROCEDURE inside(account uuid, session int, sessions int, total int, contacts int, batch int)
LANGUAGE plpgsql AS $$
DECLARE
    pairs int := total / 2;
    first int := session;
BEGIN
    WHILE first < pairs LOOP
        FOR half IN 0..1 LOOP
            WITH input AS (
                SELECT pair * 2 + half AS n,
                    ('00000000-0000-7000-8000-' || lpad(to_hex(pair::bigint * 7919 % contacts), 12, '0'))::uuid AS id
                FROM generate_series(first, least(first + (batch - 1) * sessions, pairs - 1), sessions) pair
            ), old AS (
                SELECT c.id, c.job_title, c.company_name, c.version, i.n
                FROM input i JOIN contacts c ON c.account_id = account AND c.id = i.id
                ORDER BY c.id FOR UPDATE OF c
            ), changed AS (
                UPDATE contacts c SET job_title = 'Title ' || o.n, company_name = 'Company ' || o.n,
                    notes = CASE WHEN o.n % 5 <> 0 THEN c.notes WHEN c.notes IS NULL THEN 'note ' || o.n
                        ELSE c.notes || E'\n' || 'note ' || o.n END,
                    version = c.version + 1, updated_at = now()
                FROM old o WHERE c.account_id = account AND c.id = o.id
            )
            INSERT INTO writes (account_id, id, contact_id, kind, state, version, actor, source,
                accepted_at, applied_at, changes)
            SELECT account, (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
                    || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid,
                id, 'patch', 'applied', version + 1, 'peer', 'patch', now(), now(),
                jsonb_build_array(
                    jsonb_build_object('field', 'job_title', 'old', job_title, 'new', 'Title ' || n),
                    jsonb_build_object('field', 'company_name', 'old', company_name, 'new', 'Company ' || n))
                || CASE WHEN n % 5 <> 0 THEN '[]'::jsonb ELSE jsonb_build_array(jsonb_build_object(
                    'field', 'notes', 'op', 'append', 'old', NULL, 'new', 'note ' || n)) END
            FROM old;
            COMMIT;
        END LOOP;
        first := first + batch * sessions;
    END LOOP;
END
$$`

// inside is the least work that the database can do for the rows.
func inside(ctx context.Context, e environment, w workload) error {
	if err := execute(ctx, e.database, insideProcedure); err != nil {
		return err
	}
	errs := make([]error, insideSessions)
	conns := make([]*pgx.Conn, insideSessions)
	for i := range conns {
		conn, err := pgx.Connect(ctx, e.database)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		conns[i] = conn
	}
	e.begin()
	var wg sync.WaitGroup
	for i, conn := range conns {
		wg.Go(func() {
			_, errs[i] = conn.Exec(ctx, `CALL inside($1, $2, $3, $4, $5, $6)`, pgx.QueryExecModeExec,
				account, i, insideSessions, w.Writes, w.Contacts, insideBatch)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
