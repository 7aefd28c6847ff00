-- What a dump takes here: its bytes, and those of the evidence beside it.
ALTER TABLE dumps ADD COLUMN weight BIGINT NOT NULL DEFAULT 0;
UPDATE dumps SET weight = stored + COALESCE(LENGTH(evidence), 0);

-- What is to go is found without a look at any row.
DROP INDEX dumps_created;
CREATE INDEX dumps_created ON dumps (created_at, id, weight, origin);
