DROP VIEW crm_field_change_log;
DROP TABLE lanes, failed_writes, writes, contacts, api_keys, accounts, meta;
DROP FUNCTION writes_partition(date);
DROP FUNCTION writes_floor(timestamptz);
