-- How long the runs of a service took, for all environments together (*), as
-- their counts are kept since 0012: statistics of a year read a third of the
-- rows or fewer.
INSERT INTO run_times (service, grain, period, environment, kind, bucket, runs)
  SELECT service, grain, period, '*', kind, bucket, SUM(runs)
  FROM run_times WHERE service <> '' GROUP BY service, grain, period, kind, bucket;

-- Has all that is added up, and the environment, which is always asked for.
CREATE INDEX run_times_period ON run_times (service, grain, environment, period, kind, bucket, runs);
