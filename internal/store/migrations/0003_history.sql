-- Lists of runs narrowed to an environment, or by two things at once, over a
-- long history: without these, one that finds few runs reads all of them.

CREATE INDEX runs_environment ON runs (environment, id);
CREATE INDEX runs_service_environment ON runs (service, environment, id);
CREATE INDEX runs_actor_service ON runs (actor, service, id);
