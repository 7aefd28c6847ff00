-- History: what lists are narrowed by and searched in, and counts that are kept
-- as runs end, so that statistics of years are read in a moment. Of runs that
-- were there before, recount fills them in: see recount.go.

-- Reason and ticket, in lower case.
ALTER TABLE runs ADD COLUMN search TEXT NOT NULL DEFAULT '';
-- Of the reason without its numbers: the same where one reason is given again.
ALTER TABLE runs ADD COLUMN reason_key TEXT NOT NULL DEFAULT '';
-- 1: it was completed, and within a day the same was restarted again.
ALTER TABLE runs ADD COLUMN again BIGINT NOT NULL DEFAULT 0;
CREATE INDEX runs_group ON runs (host_group, id);
CREATE INDEX runs_kind ON runs (kind, id);
CREATE INDEX runs_reason ON runs (service, reason_key, id);
CREATE INDEX runs_ended ON runs (service, environment, finished_at);

-- Runs that have started and are over, by when they ended. service '' is of all
-- together. period is the first day, in days since 1970, UTC.
CREATE TABLE run_counts (
  service     TEXT NOT NULL,
  grain       TEXT NOT NULL, -- day | week | month
  period      BIGINT NOT NULL,
  environment TEXT NOT NULL,
  kind        TEXT NOT NULL,
  runs        BIGINT NOT NULL,
  completed   BIGINT NOT NULL,
  failed      BIGINT NOT NULL,
  aborted     BIGINT NOT NULL,
  hosts       BIGINT NOT NULL,
  again       BIGINT NOT NULL,
  PRIMARY KEY (service, grain, period, environment, kind)
);
-- Has all that is added up over services, so that it is read alone.
CREATE INDEX run_counts_period ON run_counts (grain, period, environment, kind, service, runs, completed, failed, aborted, hosts, again);

-- How many of them took how long: bucket is a step of a scale, see counts.go.
CREATE TABLE run_times (
  service     TEXT NOT NULL,
  grain       TEXT NOT NULL, -- week | month
  period      BIGINT NOT NULL,
  environment TEXT NOT NULL,
  kind        TEXT NOT NULL,
  bucket      BIGINT NOT NULL,
  runs        BIGINT NOT NULL,
  PRIMARY KEY (service, grain, period, environment, kind, bucket)
);

-- Reasons that were given again for the same service within four weeks.
CREATE TABLE reason_counts (
  grain       TEXT NOT NULL, -- week | month
  period      BIGINT NOT NULL,
  service     TEXT NOT NULL,
  environment TEXT NOT NULL,
  kind        TEXT NOT NULL,
  reason_key  TEXT NOT NULL,
  runs        BIGINT NOT NULL,
  latest      $id NOT NULL, -- run
  PRIMARY KEY (grain, period, service, environment, kind, reason_key)
);
CREATE INDEX reason_counts_period ON reason_counts (grain, period, environment, kind, service, reason_key, runs, latest);

-- Restarts on hosts. week is its Monday, in days since 1970, UTC.
CREATE TABLE host_counts (
  week        BIGINT NOT NULL,
  host        TEXT NOT NULL,
  environment TEXT NOT NULL,
  tasks       BIGINT NOT NULL,
  failed      BIGINT NOT NULL,
  took        BIGINT NOT NULL, -- microseconds, of all together
  PRIMARY KEY (week, host, environment)
);
CREATE INDEX host_counts_week ON host_counts (week, host, environment, tasks, failed, took);
