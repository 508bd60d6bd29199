-- Key pairs that sign access tokens, unless the operator gives them in files.
-- The newest that every process knows signs; all of them check. The private half
-- is nowhere else: whoever reads this table can sign tokens for every API key.
CREATE TABLE signing_keys (
    generation integer PRIMARY KEY CHECK (generation > 0),
    private    bytea       NOT NULL,
    public     bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
