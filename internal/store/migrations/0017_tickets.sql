-- Restarts of a service that came again and again for the same reason, and the
-- ticket about them.
CREATE TABLE recurrences (
  service     TEXT NOT NULL,
  environment TEXT NOT NULL,
  reason_key  TEXT NOT NULL,
  noted_at    BIGINT NOT NULL,
  runs        BIGINT NOT NULL, -- that were counted then
  latest      $id NOT NULL,    -- run
  message     $id NOT NULL,    -- by which the ticket is opened
  ticket      TEXT NOT NULL,   -- '' = it is not there yet
  url         TEXT NOT NULL,
  PRIMARY KEY (service, environment, reason_key)
);
CREATE INDEX recurrences_message ON recurrences (message);
