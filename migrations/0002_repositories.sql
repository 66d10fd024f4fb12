-- Open runs and slots are counted by repository: several projects of a root may work one. Rows of before have no repository;
-- they get theirs with the run's next event, or from the configuration when a rig opens the store to act.
ALTER TABLE runs ADD COLUMN repository TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX one_open_run_for_an_issue_of_a_repository ON runs (repository, issue) WHERE open = 1 AND repository <> '';
CREATE INDEX open_runs_of_a_repository ON runs (repository) WHERE open = 1;
