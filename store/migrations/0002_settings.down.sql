DROP TABLE tags, custom_fields;
DROP INDEX accounts_settings_changed;
ALTER TABLE accounts DROP COLUMN settings_revision, DROP COLUMN settings_changed_at;
