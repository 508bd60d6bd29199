-- When the first of a chain of retries was accepted: failed writes are retried in
-- this order, and what a retry changed counts as changed then. NULL: written by a
-- release that did not know it; accepted_at stands for it.
ALTER TABLE failed_writes ADD COLUMN origin_at timestamptz;
WITH RECURSIVE chain (account_id, id, origin_at) AS (
    SELECT f.account_id, f.id, f.accepted_at
        FROM failed_writes f JOIN writes w ON w.account_id = f.account_id AND w.id = f.id
        WHERE w.retry_of IS NULL
    UNION ALL
    SELECT f.account_id, f.id, c.origin_at
        FROM chain c JOIN failed_writes o ON o.account_id = c.account_id AND o.id = c.id
        JOIN failed_writes f ON f.account_id = o.account_id AND f.id = o.retry_id
)
UPDATE failed_writes f SET origin_at = c.origin_at
    FROM chain c WHERE c.account_id = f.account_id AND c.id = f.id;

-- The retry is in a lane or has an outcome. A row with retry_id and without this
-- is a retry that died half-way: it is open still.
ALTER TABLE failed_writes ADD COLUMN retry_sent boolean NOT NULL DEFAULT false;
UPDATE failed_writes f SET retry_sent = true
    WHERE EXISTS (SELECT FROM writes w WHERE w.account_id = f.account_id AND w.id = f.retry_id);

-- What is open, in the order of retries.
CREATE INDEX failed_writes_open ON failed_writes ((coalesce(origin_at, accepted_at)), id)
    WHERE discarded_at IS NULL AND NOT retry_sent;
