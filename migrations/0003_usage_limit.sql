-- When the usage limit is over that the agent of a run has met; none when it has met none, or works again.

ALTER TABLE runs ADD COLUMN usage_limit TEXT;
CREATE INDEX runs_at_a_usage_limit ON runs (usage_limit) WHERE usage_limit IS NOT NULL;
