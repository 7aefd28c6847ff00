-- Up to which record those of the source have expired: they are not here any more.
ALTER TABLE audit_heads ADD COLUMN expired BIGINT NOT NULL DEFAULT 0;
