-- The least that each process of patchlane needs of its database. Run it as a
-- superuser, or as the owner of the database with CREATEROLE, before the first
-- migration and again after each one; running it again is harmless:
--
--   psql -v ON_ERROR_STOP=1 -d patchlane -f deploy/postgres-roles.sql
--   psql -d patchlane -c "CREATE ROLE crm_migrate LOGIN PASSWORD '…' IN ROLE patchlane_migrate"
--   psql -d patchlane -c "ALTER ROLE crm_migrate SET role = patchlane_migrate"
--   psql -d patchlane -c "CREATE ROLE crm_api LOGIN PASSWORD '…' IN ROLE patchlane_api"
--   psql -d patchlane -c "CREATE ROLE crm_worker LOGIN PASSWORD '…' IN ROLE patchlane_worker"
--
--   patchlane_migrate  owns the schema: `patchlane migrate` and `patchlane admin`
--   patchlane_api      reads, and changes settings, endpoints and the fate of
--                      failed writes; no contact, no ledger row, no API key
--   patchlane_worker   applies writes and events; sees no key, no endpoint, and no
--                      secret but that of erased addresses
--
-- None of the last two can create, alter or truncate anything; partitions of the
-- ledger are made and emptied by functions that belong to the first.
-- No role is given more than its row of the table below says; a relation that is
-- in no row ends the script with an error.
BEGIN;

DO $$
DECLARE
    r text;
BEGIN
    FOREACH r IN ARRAY ARRAY['patchlane_migrate', 'patchlane_api', 'patchlane_worker'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', r);
        END IF;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO patchlane_migrate, patchlane_api, patchlane_worker', current_database());
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO patchlane_migrate;
GRANT USAGE ON SCHEMA public TO patchlane_api, patchlane_worker;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, patchlane_api, patchlane_worker;

DO $$
DECLARE
    g record;
    missing text;
BEGIN
    CREATE TEMPORARY TABLE rights (relation text PRIMARY KEY, api text, worker text) ON COMMIT DROP;
    INSERT INTO rights VALUES
        -- relation             patchlane_api                                               patchlane_worker
        ('schema_migrations',    NULL,                                                       NULL),
        ('meta',                 'SELECT',                                                   'SELECT, UPDATE (writes_kept_from)'),
        ('accounts',             'SELECT, UPDATE (settings_revision, settings_changed_at)',  'SELECT'),
        ('api_keys',             'SELECT',                                                   NULL),
        ('signing_keys',         'SELECT, INSERT',                                           NULL),
        ('secrets',              'SELECT, INSERT, UPDATE (name)',                            'SELECT, INSERT, UPDATE (name)'),
        ('webhook_endpoints',    'SELECT, INSERT, UPDATE',                                   NULL),
        ('tags',                 'SELECT, INSERT, DELETE',                                   'SELECT'),
        ('custom_fields',        'SELECT, INSERT, DELETE',                                   'SELECT'),
        ('credits',              'SELECT, INSERT, UPDATE',                                   NULL),
        ('contacts',             'SELECT',                                                   'SELECT, INSERT, UPDATE, DELETE'),
        ('writes',               'SELECT',                                                   'SELECT, INSERT, UPDATE, DELETE'),
        ('crm_field_change_log', 'SELECT',                                                   'SELECT'),
        ('failed_writes',        'SELECT, UPDATE (retry_id, retry_at, retry_sent, discarded_at)', 'SELECT, INSERT, UPDATE, DELETE'),
        ('lanes',                'SELECT',                                                   'SELECT, UPDATE'),
        ('suppressions',         'SELECT',                                                   'SELECT, INSERT, UPDATE, DELETE'),
        ('webhook_events',       'SELECT',                                                   'SELECT, INSERT, UPDATE, DELETE'),
        ('optout_reviews',       'SELECT, UPDATE (state, decided_at, decided_by)',           'SELECT, INSERT, UPDATE, DELETE'),
        ('quarantine',           'SELECT',                                                   'SELECT, INSERT, DELETE'),
        ('left_addresses',       'SELECT',                                                   'SELECT, INSERT, UPDATE, DELETE'),
        ('erased_contacts',      'SELECT',                                                   'SELECT, INSERT, UPDATE'),
        ('operator_log',         'SELECT, INSERT',                                           'SELECT, INSERT');
    FOR g IN SELECT relation, who, what FROM rights, LATERAL (VALUES ('patchlane_api', api), ('patchlane_worker', worker)) AS v (who, what)
        WHERE what IS NOT NULL AND to_regclass('public.' || quote_ident(relation)) IS NOT NULL
    LOOP
        EXECUTE format('GRANT %s ON %I TO %I', g.what, g.relation, g.who);
    END LOOP;

    -- Of the secrets the worker needs that of erased addresses alone.
    IF to_regclass('public.secrets') IS NOT NULL THEN
        ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
        DROP POLICY IF EXISTS patchlane_api ON secrets;
        CREATE POLICY patchlane_api ON secrets TO patchlane_api USING (true);
        DROP POLICY IF EXISTS patchlane_worker ON secrets;
        CREATE POLICY patchlane_worker ON secrets TO patchlane_worker USING (name = 'erased_addresses');
    END IF;

    -- Partitions are reached through their table alone.
    SELECT string_agg(c.relname, ', ') INTO missing FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
            AND NOT EXISTS (SELECT FROM rights WHERE relation = c.relname);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'deploy/postgres-roles.sql says nothing of %', missing;
    END IF;

    FOREACH missing IN ARRAY ARRAY['writes_stage(date)', 'writes_attach(date)', 'writes_empty(date, integer)'] LOOP
        IF to_regprocedure('public.' || missing) IS NOT NULL THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO patchlane_worker', missing);
        END IF;
    END LOOP;
END
$$;

COMMIT;
