-- What the trail is searched by. Records are read by when they happened, and not
-- by when they were stored: what a host did alone is told later. area is an
-- audit.Area; search has the texts of the record, in lower case.
ALTER TABLE audit_records ADD COLUMN host TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_records ADD COLUMN environment TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_records ADD COLUMN area TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_records ADD COLUMN happened_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_records ADD COLUMN search TEXT NOT NULL DEFAULT '';
DROP INDEX audit_run;
DROP INDEX audit_actor;
DROP INDEX audit_action;
DROP INDEX audit_service;

-- Of records that are there already: see fillAuditSearch.
$fill_audit_search;

CREATE INDEX audit_run ON audit_records (run_id, happened_at, id);
CREATE INDEX audit_actor ON audit_records (actor, happened_at, id);
CREATE INDEX audit_action ON audit_records (action, happened_at, id);
CREATE INDEX audit_service ON audit_records (service, happened_at, id);
CREATE INDEX audit_area ON audit_records (area, happened_at, id);
CREATE INDEX audit_host ON audit_records (host, happened_at, id) WHERE host <> '';
CREATE INDEX audit_environment ON audit_records (environment, happened_at, id) WHERE environment <> '';
CREATE INDEX audit_all ON audit_records (happened_at, id);
-- Whatever happened, without the seals, of which there is one a minute.
CREATE INDEX audit_happened ON audit_records (happened_at, id) WHERE action <> 'audit.sealed';
