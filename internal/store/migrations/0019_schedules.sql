-- Runs that are planned for a time to come, and who reads them as a calendar.

CREATE TABLE schedules (
  id              $id PRIMARY KEY,
  run_id          $id NOT NULL UNIQUE,   -- of the one run that it may become
  draft           $id NOT NULL UNIQUE,   -- the plan that was confirmed for it
  request         TEXT NOT NULL,         -- JSON
  unticked        TEXT NOT NULL,         -- JSON list of hosts
  plan            $blob NOT NULL,        -- as it was shown
  service         TEXT NOT NULL,
  environment     TEXT NOT NULL,
  host_group      TEXT NOT NULL,
  scenario        TEXT NOT NULL,
  digest          TEXT NOT NULL,
  kind            TEXT NOT NULL,
  hosts           BIGINT NOT NULL,
  start_at        BIGINT NOT NULL,
  start_until     BIGINT NOT NULL,
  zone            TEXT NOT NULL,
  window_name     TEXT NOT NULL,         -- '' = it was given a time
  actor           TEXT NOT NULL,
  via             TEXT NOT NULL,
  created_at      BIGINT NOT NULL,
  state           TEXT NOT NULL,
  code            TEXT NOT NULL,
  why             TEXT NOT NULL,
  ended_by        TEXT NOT NULL,
  ended_at        BIGINT NOT NULL,       -- 0 = it is open
  held_until      BIGINT NOT NULL,       -- nobody else looks at it before
  restored        BIGINT NOT NULL,       -- 1 = it was open in a backup
  approval_digest TEXT NOT NULL,         -- '' = none was asked for
  approval_rule   TEXT NOT NULL,
  approval_verdict TEXT NOT NULL,
  approval_by     TEXT NOT NULL,
  approval_at     BIGINT NOT NULL,
  approval_reason TEXT NOT NULL
);
CREATE INDEX schedules_open ON schedules (start_at, id) WHERE ended_at = 0;
CREATE INDEX schedules_ended ON schedules (ended_at, id) WHERE ended_at <> 0;

-- One for each person at most. Of the secret only the SHA-256 is kept.
CREATE TABLE calendar_tokens (
  owner      TEXT PRIMARY KEY,
  hash       TEXT NOT NULL UNIQUE,
  created_at BIGINT NOT NULL,
  used_at    BIGINT NOT NULL -- 0 = never
);
