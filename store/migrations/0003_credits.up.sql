-- A copy of what each account has left of its credits: the truth is in Redis,
-- which is refilled from here should it come up empty. An account without a row
-- is not metered.
CREATE TABLE credits (
    account_id uuid PRIMARY KEY REFERENCES accounts (id),
    balance    bigint      NOT NULL CHECK (balance >= 0),
    -- epoch grows each time credits are given, by the clock, so that it goes on
    -- growing after a backup was restored; seq counts the changes since.
    epoch      bigint      NOT NULL,
    seq        bigint      NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
