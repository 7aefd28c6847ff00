-- What monitoring systems were told not to alert of while a host is worked on.
-- A row is there before its system is asked, so that whatever was placed is
-- lifted, by the next server too.
CREATE TABLE silences (
  task_id    $id NOT NULL,
  system     TEXT NOT NULL,   -- its name in the configuration
  run_id     $id NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  host       TEXT NOT NULL,
  alerts     TEXT NOT NULL,   -- JSON: a list of names
  state      TEXT NOT NULL,   -- asked | placed | refused | lifted
  foreign_id TEXT NOT NULL,   -- its id there; '' = not known
  failure    TEXT NOT NULL,
  asked_at   BIGINT NOT NULL,
  ends_at    BIGINT NOT NULL, -- when it ends by itself
  PRIMARY KEY (task_id, system)
);
CREATE INDEX silences_run ON silences (run_id, asked_at);
-- What is left to lift.
CREATE INDEX silences_open ON silences (asked_at) WHERE state IN ('asked', 'placed');
