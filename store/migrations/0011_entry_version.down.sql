ALTER TABLE meta DROP COLUMN entry_version;
