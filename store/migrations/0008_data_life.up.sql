-- Rows of the ledger whose ids are older than this may be gone; NULL: none are.
-- It only grows, and is committed before the first row goes.
ALTER TABLE meta ADD COLUMN writes_kept_from timestamptz;

-- A settled failure goes with the ledger's row of the write that repeated it.
CREATE INDEX failed_writes_retry ON failed_writes (retry_id) WHERE retry_id IS NOT NULL;

-- writes_bounds names the partition of a month and the ids that belong into it.
CREATE FUNCTION writes_bounds(month date, OUT part text, OUT lo uuid, OUT hi uuid)
    LANGUAGE sql STABLE
    AS $$ SELECT 'writes_' || to_char(month, 'YYYY_MM'),
        writes_floor(month::timestamp AT TIME ZONE 'UTC'),
        writes_floor((month + interval '1 month')::timestamp AT TIME ZONE 'UTC') $$;

-- writes_stage makes the table of one month beside the ledger and moves the
-- month's rows into it out of the default partition. Nobody waits for it: rows
-- that come in meanwhile stay where they are, for writes_attach. False: the
-- partition is there already. Two that make one month wait for each other.
CREATE FUNCTION writes_stage(month date) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    b record;
BEGIN
    SELECT * INTO b FROM writes_bounds(month);
    LOCK TABLE writes IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(b.part) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE writes INCLUDING ALL)', b.part);
    -- With this ATTACH knows the bounds of the rows without reading them.
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT staged CHECK (id >= %L AND id < %L)', b.part, b.lo, b.hi);
    EXECUTE format('WITH moved AS (DELETE FROM writes_default WHERE id >= %L AND id < %L RETURNING *)
        INSERT INTO %I SELECT * FROM moved', b.lo, b.hi, b.part);
    RETURN true;
END
$$;

-- writes_attach makes the staged table a partition, in the transaction that
-- staged it. It holds the default partition alone, for as long as it takes to
-- move what came in since and to read what is left there.
CREATE FUNCTION writes_attach(month date) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    b record;
BEGIN
    SELECT * INTO b FROM writes_bounds(month);
    LOCK TABLE writes_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('WITH moved AS (DELETE FROM writes_default WHERE id >= %L AND id < %L RETURNING *)
        INSERT INTO %I SELECT * FROM moved', b.lo, b.hi, b.part);
    EXECUTE format('ALTER TABLE writes ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', b.part, b.lo, b.hi);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT staged', b.part);
END
$$;

DROP FUNCTION writes_partition(date);

-- writes_open tells whether a failed write still waits for somebody: it was
-- neither discarded, nor has the write that repeats it an outcome.
CREATE FUNCTION writes_open(f failed_writes) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$ SELECT f.discarded_at IS NULL AND NOT EXISTS (
        SELECT FROM writes r WHERE r.account_id = f.account_id AND r.id = f.retry_id) $$;

-- writes_empty empties the partition of a month, but for failed writes that
-- still wait for somebody, and returns how many these are. More than most are
-- too many to be put back while everybody waits: it returns -1 then and the
-- caller rolls back. Failures that are settled go with their write.
CREATE FUNCTION writes_empty(month date, most integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    b    record;
    kept writes[];
BEGIN
    SELECT * INTO b FROM writes_bounds(month);
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', b.part);
    kept := ARRAY(SELECT w FROM failed_writes f JOIN writes w ON w.account_id = f.account_id AND w.id = f.id
        WHERE f.id >= b.lo AND f.id < b.hi AND w.id >= b.lo AND w.id < b.hi AND writes_open(f) LIMIT most + 1);
    IF cardinality(kept) > most THEN
        RETURN -1;
    END IF;
    DELETE FROM failed_writes f USING writes w
        WHERE f.retry_id >= b.lo AND f.retry_id < b.hi AND w.account_id = f.account_id AND w.id = f.retry_id
            AND w.id >= b.lo AND w.id < b.hi;
    DELETE FROM failed_writes WHERE id >= b.lo AND id < b.hi AND discarded_at IS NOT NULL;
    EXECUTE format('TRUNCATE %I', b.part);
    INSERT INTO writes SELECT (k).* FROM unnest(kept) AS k;
    RETURN cardinality(kept);
END
$$;

-- A role that applies writes owns no tables: these act for the one that migrated,
-- and nobody else may call them unless it is granted.
DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['writes_stage(date)', 'writes_attach(date)', 'writes_empty(date, integer)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_temp', f, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
END
$$;
