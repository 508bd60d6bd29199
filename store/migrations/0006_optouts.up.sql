-- The form of phone that is compared with opt-outs; made by the domain, like
-- email_key. What is no number at all is its own key.
ALTER TABLE contacts ADD COLUMN phone_key text;
UPDATE contacts SET phone_key = regexp_replace(phone, '^\+521(\d{10})$', '+52\1')
    WHERE phone IS NOT NULL;
DROP INDEX contacts_phone;
CREATE INDEX contacts_phone ON contacts (account_id, phone_key)
    WHERE phone_key IS NOT NULL;

-- What is known about the consent of an address. clock is that of the address,
-- in the form of contacts.sms_consent; events holds the event of each cause. The
-- columns after them are the projection.
CREATE TABLE suppressions (
    account_id uuid        NOT NULL,
    channel    text        NOT NULL,
    address    text        NOT NULL,
    clock      bigint[]    NOT NULL,
    events     uuid[]      NOT NULL,
    suppressed boolean     NOT NULL,
    reason     text,
    since      timestamptz,
    event_id   uuid,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, channel, address)
);

-- Every event, once: of two with one key the first counts. What it does to the
-- contacts of its address (opts_out, undoes) is fixed with it, so that a drain
-- that died halfway goes on with the same.
CREATE TABLE webhook_events (
    account_id    uuid        NOT NULL,
    dedup         bytea       NOT NULL CHECK (octet_length(dedup) = 16),
    id            uuid        NOT NULL,
    channel       text        NOT NULL,
    address       text        NOT NULL,
    contact_id    uuid,
    action        text        NOT NULL,
    cause         text,
    reason        text        NOT NULL,
    provider      text        NOT NULL,
    type          text        NOT NULL,
    provider_id   text        NOT NULL,
    endpoint_id   uuid,
    decides       uuid,
    source        text        NOT NULL,
    actor         text        NOT NULL,
    ambiguous     boolean     NOT NULL,
    at            timestamptz,
    whole_seconds boolean     NOT NULL,
    evidence      jsonb,
    accepted_at   timestamptz NOT NULL,
    applied_at    timestamptz NOT NULL,
    result        text        NOT NULL,
    opts_out      boolean     NOT NULL,
    undoes        integer     NOT NULL,
    -- How many contacts it changed so far, and whether all were looked at.
    contacts      integer     NOT NULL DEFAULT 0,
    done          boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (account_id, dedup)
) WITH (fillfactor = 85);
CREATE UNIQUE INDEX webhook_events_id ON webhook_events (account_id, id);

-- Events that wait for somebody who decides, and what was decided.
CREATE TABLE optout_reviews (
    account_id uuid NOT NULL,
    id         uuid NOT NULL,
    state      text NOT NULL DEFAULT 'pending',
    decided_at timestamptz,
    decided_by text,
    PRIMARY KEY (account_id, id)
);
CREATE INDEX optout_reviews_pending ON optout_reviews (account_id, id) WHERE state = 'pending';

-- Elements that came with a good signature and could not be read.
CREATE TABLE quarantine (
    account_id uuid  NOT NULL,
    id         uuid  NOT NULL,
    raw        bytea NOT NULL,
    PRIMARY KEY (account_id, id)
);
CREATE INDEX quarantine_id ON quarantine (id);

-- The addresses that contacts had within the last days: an event of an address
-- that is older than the change concerns the person still.
CREATE TABLE left_addresses (
    account_id uuid        NOT NULL,
    channel    text        NOT NULL,
    address    text        NOT NULL,
    contact_id uuid        NOT NULL,
    left_at    timestamptz NOT NULL,
    given      bigint      NOT NULL,
    kept_since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, channel, address, contact_id, left_at)
);
CREATE INDEX left_addresses_kept ON left_addresses (kept_since);

-- The addresses that the last batch gave to contacts, to be looked up once more
-- after its commit.
ALTER TABLE lanes ADD COLUMN recheck jsonb;

-- Where providers post. The secrets check signatures, so they are kept in clear.
CREATE TABLE webhook_endpoints (
    id         uuid PRIMARY KEY,
    account_id uuid        NOT NULL REFERENCES accounts (id),
    provider   text        NOT NULL,
    secrets    text[]      NOT NULL,
    basic_auth text[]      NOT NULL,
    topic_arn  text        NOT NULL,
    settings   jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE INDEX webhook_endpoints_account ON webhook_endpoints (account_id, id);
CREATE INDEX webhook_endpoints_changed ON webhook_endpoints (changed_at);
