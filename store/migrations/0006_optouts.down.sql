DROP TABLE webhook_endpoints, left_addresses, quarantine, optout_reviews, webhook_events, suppressions;
ALTER TABLE lanes DROP COLUMN recheck;
DROP INDEX contacts_phone;
ALTER TABLE contacts DROP COLUMN phone_key;
CREATE INDEX contacts_phone ON contacts (account_id, phone)
    WHERE phone IS NOT NULL;
