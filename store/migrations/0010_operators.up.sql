-- What operators did, by the console or the command line. It holds ids, counts
-- and filters, never values of contacts.
CREATE TABLE operator_log (
    id         uuid PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    operator   text        NOT NULL,
    via        text        NOT NULL,
    action     text        NOT NULL,
    account_id uuid,
    target     text        NOT NULL,
    detail     text        NOT NULL,
    -- Why it did not succeed; empty: it did.
    problem    text        NOT NULL
);
