-- Some questions are about all events of one kind, such as what was used: the whole journal is not read for them.
CREATE INDEX events_of_a_kind ON events (kind, at);
