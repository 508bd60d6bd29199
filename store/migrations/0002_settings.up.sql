-- What an account has defined. Every change raises the revision in the same
-- transaction, so that of two copies of the settings the newer is known; the
-- row lock on the account keeps changes apart.
ALTER TABLE accounts
    ADD COLUMN settings_revision   bigint NOT NULL DEFAULT 0,
    ADD COLUMN settings_changed_at timestamptz;
-- Every API re-reads the accounts changed since its last look.
CREATE INDEX accounts_settings_changed ON accounts (settings_changed_at)
    WHERE settings_changed_at IS NOT NULL;

-- The key is the form in which tags are compared; made by the domain, not by
-- SQL. The name is the spelling that contacts carry.
CREATE TABLE tags (
    account_id uuid        NOT NULL REFERENCES accounts (id),
    key        text        NOT NULL,
    name       text        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, key)
);

-- Contacts hold values under the internal name, without a foreign key: a
-- definition may go by force while contacts keep its values.
CREATE TABLE custom_fields (
    account_id    uuid        NOT NULL REFERENCES accounts (id),
    internal_name text        NOT NULL,
    label         text        NOT NULL,
    type          text        NOT NULL CHECK (type IN ('string', 'number', 'boolean', 'date', 'url')),
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (account_id, internal_name)
);
