-- What the numbers of lanes are: fixed when the database is first migrated,
-- because the lane of a contact is a hash modulo this number.
CREATE TABLE meta (
    one           boolean PRIMARY KEY DEFAULT true CHECK (one),
    contact_lanes integer NOT NULL CHECK (contact_lanes BETWEEN 1 AND 2048),
    address_lanes integer NOT NULL CHECK (address_lanes BETWEEN 1 AND 2048)
);

CREATE TABLE accounts (
    id           uuid PRIMARY KEY,
    name         text        NOT NULL,
    consent_lock boolean     NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- The secret of a key is nowhere: hash is sha-256 of the whole credential.
CREATE TABLE api_keys (
    id         uuid PRIMARY KEY,
    account_id uuid        NOT NULL REFERENCES accounts (id),
    hash       bytea       NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    prefix     text        NOT NULL,
    dialect    text        NOT NULL,
    scopes     text[]      NOT NULL,
    per_minute integer     NOT NULL DEFAULT 0,
    per_day    integer     NOT NULL DEFAULT 0,
    expires_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Every API re-reads the rows changed since its last look.
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX api_keys_changed ON api_keys (changed_at);

-- No foreign key to accounts: accounts are never deleted, and the key-share
-- locks of concurrent batches on one account row would turn into multixacts.
-- No index on version or updated_at, and room on each page: the usual update
-- changes no indexed column and stays on its page (HOT).
CREATE TABLE contacts (
    account_id    uuid NOT NULL,
    id            uuid NOT NULL,
    first_name    text,
    last_name     text,
    email         text,
    phone         text,
    landline      text,
    date_of_birth date,
    job_title     text,
    company_name  text,
    linkedin_url  text,
    avatar_url    text,
    contact_owner text,
    external_id   text,
    source        text,
    notes         text,
    -- The form of email that is compared; made by the domain, not by SQL.
    email_key     text,
    tags          jsonb NOT NULL DEFAULT '[]',
    custom_fields jsonb NOT NULL DEFAULT '{}',
    metadata      jsonb NOT NULL DEFAULT '{}',
    -- The clocks of consent: newest opt-out by cause, then opt-in, then START,
    -- in microseconds; NULL: none of them was ever set. The columns after them
    -- are their projection.
    email_consent             bigint[],
    sms_consent               bigint[],
    email_unsubscribed        boolean NOT NULL DEFAULT false,
    email_unsubscribed_reason text,
    email_unsubscribed_at     timestamptz,
    sms_unsubscribed          boolean NOT NULL DEFAULT false,
    sms_unsubscribed_reason   text,
    sms_unsubscribed_at       timestamptz,
    archived_at timestamptz,
    archived_by text,
    version     bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (account_id, id)
) WITH (fillfactor = 85);
CREATE UNIQUE INDEX contacts_email ON contacts (account_id, email_key)
    WHERE archived_at IS NULL AND email_key IS NOT NULL;
CREATE UNIQUE INDEX contacts_external_id ON contacts (account_id, external_id)
    WHERE archived_at IS NULL AND external_id IS NOT NULL;
CREATE INDEX contacts_phone ON contacts (account_id, phone)
    WHERE phone IS NOT NULL;
-- Together with the unique ones these find every contact that has an address,
-- archived ones too, without a second index on the active rows.
CREATE INDEX contacts_archived_email ON contacts (account_id, email_key)
    WHERE archived_at IS NOT NULL AND email_key IS NOT NULL;
CREATE INDEX contacts_archived_external_id ON contacts (account_id, external_id)
    WHERE archived_at IS NOT NULL AND external_id IS NOT NULL;

-- Ledger and audit in one row a write, append-only. The id is a UUIDv7, so a
-- range of time is a range of ids. No foreign keys: a failed write may name a
-- contact that never was.
CREATE TABLE writes (
    account_id      uuid NOT NULL,
    id              uuid NOT NULL,
    contact_id      uuid NOT NULL,
    kind            text NOT NULL,
    state           text NOT NULL,
    code            text,
    message         text,
    version         bigint NOT NULL,
    actor           text NOT NULL,
    source          text NOT NULL,
    source_event    text,
    accepted_at     timestamptz NOT NULL,
    applied_at      timestamptz NOT NULL,
    idempotency_key bytea,
    retry_of        uuid,
    -- [{"field", "op", "old", "new"}]; op is left out for "set". NULL: none.
    changes         jsonb,
    -- [{"field", "reason"}]; NULL: none.
    skipped         jsonb,
    PRIMARY KEY (account_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX writes_contact ON writes (contact_id, version);
-- Ids carry a client's clock, and unreadable entries have made-up ids: what
-- falls into no month lands here, so that no insert can miss a partition.
CREATE TABLE writes_default PARTITION OF writes DEFAULT;

-- writes_floor is the smallest UUIDv7 of a moment.
CREATE FUNCTION writes_floor(at timestamptz) RETURNS uuid
    LANGUAGE sql STABLE
    AS $$ SELECT rpad(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid $$;

-- writes_partition makes the partition of one month if it is not there, and
-- moves the month's rows out of the default partition in the same transaction.
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

-- What a retry needs. Not partitioned: kept until somebody retries or discards.
-- Nothing here can refuse a row: the payload is bytes, ids have no references.
CREATE TABLE failed_writes (
    account_id   uuid        NOT NULL,
    id           uuid        NOT NULL,
    contact_id   uuid        NOT NULL,
    lane         text        NOT NULL,
    offsets      text        NOT NULL,
    code         text        NOT NULL,
    payload      bytea       NOT NULL,
    accepted_at  timestamptz NOT NULL,
    failed_at    timestamptz NOT NULL,
    -- The id of the write that repeats this one, fixed before it is appended.
    retry_id     uuid,
    retry_at     timestamptz,
    discarded_at timestamptz,
    PRIMARY KEY (account_id, id)
);
CREATE INDEX failed_writes_id ON failed_writes (id);

-- One row a lane: the id of the last stream entry whose effect is committed.
-- Text, because a stream id reaches 2^64-1 twice.
CREATE TABLE lanes (
    lane    text PRIMARY KEY,
    offsets text NOT NULL DEFAULT '0-0'
) WITH (fillfactor = 50);

-- One row a changed field.
CREATE VIEW crm_field_change_log AS
SELECT w.account_id,
       w.id::text || '.' || c.n                AS id,
       w.contact_id,
       c.change ->> 'field'                    AS field,
       coalesce(c.change ->> 'op', 'set')      AS op,
       c.change -> 'old'                       AS old_value,
       c.change -> 'new'                       AS new_value,
       w.id                                    AS write_id,
       c.n,
       w.version,
       w.actor,
       w.source,
       w.source_event,
       w.accepted_at,
       w.applied_at                            AS changed_at
FROM writes w
CROSS JOIN LATERAL jsonb_array_elements(w.changes) WITH ORDINALITY AS c (change, n);
