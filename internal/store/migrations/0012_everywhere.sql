-- Counts of a service by week and month, for all environments together (*), so
-- that statistics of a year read a third of the rows or fewer.
INSERT INTO run_counts (service, grain, period, environment, kind, runs, completed, failed, aborted, hosts, again)
  SELECT service, grain, period, '*', kind, SUM(runs), SUM(completed), SUM(failed), SUM(aborted), SUM(hosts), SUM(again)
  FROM run_counts WHERE service <> '' AND grain <> 'day' GROUP BY service, grain, period, kind;
INSERT INTO reason_counts (grain, period, service, environment, kind, reason_key, runs, latest)
  SELECT grain, period, service, '*', kind, reason_key, SUM(runs), MAX(latest) FROM reason_counts GROUP BY grain, period, service, kind, reason_key;

-- The environment is always asked for, so it leads the period. The rows of all
-- services are found by the key, and are no part of this.
DROP INDEX run_counts_period;
CREATE INDEX run_counts_period ON run_counts (grain, environment, period, kind, service, runs, completed, failed, aborted, hosts, again) WHERE service <> '';
DROP INDEX reason_counts_period;
CREATE INDEX reason_counts_period ON reason_counts (grain, environment, period, kind, service, reason_key, runs, latest);
