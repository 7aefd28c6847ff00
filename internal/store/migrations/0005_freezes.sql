-- Freezes, locks narrowed to a group, broken glass and the messages about it.

CREATE TABLE freezes (
  id           $id PRIMARY KEY,
  environments TEXT NOT NULL,   -- JSON list
  services     TEXT NOT NULL,   -- JSON list; [] = every service
  begins_at    BIGINT NOT NULL, -- 0 = weekly
  ends_at      BIGINT NOT NULL, -- 0 = weekly
  weekly       TEXT NOT NULL,
  zone         TEXT NOT NULL,
  reason       TEXT NOT NULL,
  created_by   TEXT NOT NULL,
  created_at   BIGINT NOT NULL,
  removed_at   BIGINT NOT NULL  -- 0 = it stands
);
CREATE INDEX freezes_standing ON freezes (id) WHERE removed_at = 0;

ALTER TABLE runs ADD COLUMN break_glass BIGINT NOT NULL DEFAULT 0;
-- group: its lock is of its group alone; '': of the whole environment.
ALTER TABLE runs ADD COLUMN holds TEXT NOT NULL DEFAULT '';

-- host_group is '' where the lock is of the whole environment. Which of them
-- bear each other is decided under the row of lock_places.
CREATE TABLE lock_places (
  service     TEXT NOT NULL,
  environment TEXT NOT NULL,
  PRIMARY KEY (service, environment)
);
CREATE TABLE scoped_locks (
  service     TEXT NOT NULL,
  environment TEXT NOT NULL,
  host_group  TEXT NOT NULL,
  run_id      $id NOT NULL REFERENCES runs (id),
  since       BIGINT NOT NULL,
  PRIMARY KEY (service, environment, host_group)
);
INSERT INTO scoped_locks (service, environment, host_group, run_id, since)
  SELECT service, environment, '', run_id, since FROM service_locks;
DROP TABLE service_locks;
CREATE INDEX scoped_locks_run ON scoped_locks (run_id);

CREATE TABLE broken_glass (
  run_id      $id PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
  broken_by   TEXT NOT NULL,
  broken_at   BIGINT NOT NULL,
  waived      TEXT NOT NULL,   -- what stood in the way, for people
  reviewed_by TEXT NOT NULL,
  reviewed_at BIGINT NOT NULL, -- 0 = nobody has looked at it yet
  note        TEXT NOT NULL
);
CREATE INDEX broken_glass_unreviewed ON broken_glass (broken_at) WHERE reviewed_at = 0;

-- One row a message and receiver.
CREATE TABLE messages (
  id           $id NOT NULL,
  channel      TEXT NOT NULL,
  event        TEXT NOT NULL,
  body         $blob NOT NULL,
  created_at   BIGINT NOT NULL,
  attempts     BIGINT NOT NULL,
  next_at      BIGINT NOT NULL, -- nobody tries before
  delivered_at BIGINT NOT NULL, -- 0 = not yet
  given_up_at  BIGINT NOT NULL, -- 0 = not
  failure      TEXT NOT NULL,   -- why the last try failed
  PRIMARY KEY (id, channel)
);
CREATE INDEX messages_due ON messages (channel, next_at) WHERE delivered_at = 0 AND given_up_at = 0;
CREATE INDEX messages_over ON messages (delivered_at) WHERE delivered_at <> 0;
