-- What people decide about unknown tasks, runs that were made from others, and
-- the version at which a run last took another turn.

-- verdict is '' while nobody has decided.
ALTER TABLE tasks ADD COLUMN verdict TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN decided_by TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN decided_why TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN decided_at BIGINT NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN parent TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN work TEXT NOT NULL DEFAULT '';
-- The version of the last change of state or control, of the last decision, and
-- of the last new attempt: who acts on an older one has not seen it.
ALTER TABLE runs ADD COLUMN turned BIGINT NOT NULL DEFAULT 0;
CREATE INDEX runs_parent ON runs (parent, id) WHERE parent <> '';
