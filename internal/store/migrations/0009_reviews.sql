-- Versions of scenarios with the signatures of their reviewers. The bytes of a
-- version are those of the table scenarios, by digest, and never change.

CREATE TABLE scenario_versions (
  digest       TEXT PRIMARY KEY REFERENCES scenarios (digest),
  name         TEXT NOT NULL,
  serial       BIGINT NOT NULL,
  author       TEXT NOT NULL,   -- as the file says
  source       TEXT NOT NULL,   -- folder | push
  proposed_by  TEXT NOT NULL,   -- '' = it lay in the folder
  proposed_at  BIGINT NOT NULL,
  state        TEXT NOT NULL,   -- proposed | approved | withdrawn
  approved_at  BIGINT NOT NULL, -- when it first had its quorum; 0 = never
  withdrawn_by TEXT NOT NULL,
  withdrawn_at BIGINT NOT NULL,
  reason       TEXT NOT NULL    -- of the withdrawal
);
CREATE INDEX scenario_versions_name ON scenario_versions (name, serial);
-- Of one name and serial at most one version is ever approved.
CREATE UNIQUE INDEX scenario_versions_approved ON scenario_versions (name, serial) WHERE approved_at <> 0;

CREATE TABLE scenario_signatures (
  digest      TEXT NOT NULL REFERENCES scenario_versions (digest),
  principal   TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  armored     $blob NOT NULL,
  added_by    TEXT NOT NULL,   -- '' = it lay in the folder
  added_at    BIGINT NOT NULL,
  PRIMARY KEY (digest, principal)
);

-- That the end of a version was warned of, so many days ahead: once, whichever
-- server was first.
CREATE TABLE scenario_warnings (
  digest    TEXT NOT NULL REFERENCES scenario_versions (digest),
  days      BIGINT NOT NULL,
  warned_at BIGINT NOT NULL,
  PRIMARY KEY (digest, days)
);
