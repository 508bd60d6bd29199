-- Secrets that an installation makes for itself, once: of two processes that
-- offer one at the same time the first stands.
CREATE TABLE secrets (
    name       text PRIMARY KEY,
    secret     bytea       NOT NULL CHECK (octet_length(secret) >= 32),
    created_at timestamptz NOT NULL DEFAULT now()
);
