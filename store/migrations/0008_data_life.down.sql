DROP FUNCTION writes_empty(date, integer);
DROP FUNCTION writes_open(failed_writes);
DROP FUNCTION writes_attach(date);
DROP FUNCTION writes_stage(date);
DROP FUNCTION writes_bounds(date);

CREATE FUNCTION writes_partition(month date) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    part text := 'writes_' || to_char(month, 'YYYY_MM');
    lo   uuid := writes_floor(month::timestamp AT TIME ZONE 'UTC');
    hi   uuid := writes_floor((month + interval '1 month')::timestamp AT TIME ZONE 'UTC');
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN;
    END IF;
    LOCK TABLE writes IN SHARE UPDATE EXCLUSIVE MODE;
    LOCK TABLE writes_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE %I (LIKE writes INCLUDING ALL)', part);
    EXECUTE format('WITH moved AS (DELETE FROM writes_default WHERE id >= %L AND id < %L RETURNING *)
        INSERT INTO %I SELECT * FROM moved', lo, hi, part);
    EXECUTE format('ALTER TABLE writes ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, lo, hi);
END
$$;

DROP INDEX failed_writes_retry;
ALTER TABLE meta DROP COLUMN writes_kept_from;
