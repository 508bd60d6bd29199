-- The version in which entries are written. Every process reads it; it is raised
-- by `migrate --finish` once no process of the release before is left.
ALTER TABLE meta ADD COLUMN entry_version integer NOT NULL DEFAULT 1 CHECK (entry_version > 0);
