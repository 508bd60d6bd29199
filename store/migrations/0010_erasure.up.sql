-- Contacts that were erased. Their ids stay taken, so that a sync which does not
-- know of it cannot bring one back. While done_at is NULL values of the contact
-- are still being taken out of the ledger; addresses holds those that it had,
-- [[channel, key], …], until then, all of them once scanned.
CREATE TABLE erased_contacts (
    account_id uuid        NOT NULL,
    id         uuid        NOT NULL,
    write_id   uuid        NOT NULL,
    version    bigint      NOT NULL,
    erased_at  timestamptz NOT NULL,
    addresses  jsonb       NOT NULL DEFAULT '[]',
    scanned    boolean     NOT NULL DEFAULT false,
    done_at    timestamptz,
    PRIMARY KEY (account_id, id)
);
CREATE INDEX erased_contacts_pending ON erased_contacts (erased_at) WHERE done_at IS NULL;

-- writes_redact takes the values out of changes; which field changed stays, but
-- for the keys of metadata, which are the client's own words.
CREATE FUNCTION writes_redact(changes jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$ SELECT jsonb_agg(jsonb_build_object('old', NULL, 'new', NULL, 'field',
            CASE WHEN c.change ->> 'field' LIKE 'metadata.%' THEN 'metadata.erased' ELSE c.change ->> 'field' END)
            || CASE WHEN c.change ? 'op' THEN jsonb_build_object('op', c.change -> 'op') ELSE '{}' END ORDER BY c.n)
        FROM jsonb_array_elements(changes) WITH ORDINALITY AS c (change, n) $$;
