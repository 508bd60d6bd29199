DROP INDEX failed_writes_open;
ALTER TABLE failed_writes DROP COLUMN retry_sent, DROP COLUMN origin_at;
