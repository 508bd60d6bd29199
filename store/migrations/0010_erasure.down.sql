DROP FUNCTION writes_redact(jsonb);
DROP TABLE erased_contacts;
