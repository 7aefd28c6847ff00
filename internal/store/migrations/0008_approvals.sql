-- What the rules ask for before a run starts, and what became of it.

-- approval_digest is of the plan; '' = none was asked for.
ALTER TABLE runs ADD COLUMN approval_digest TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN approval_rule TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN approval_asked_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN approval_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN approval_verdict TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN approval_by TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN approval_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN approval_reason TEXT NOT NULL DEFAULT '';
CREATE INDEX runs_awaiting ON runs (approval_until, id) WHERE state = 'awaiting_approval';
