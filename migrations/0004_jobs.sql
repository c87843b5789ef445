-- What of a release runs once: its release command, and its cron table with the runs so far.

-- Both belong to the release and never change: JSON, as the domain type serialises.
ALTER TABLE releases ADD COLUMN jobs TEXT NOT NULL DEFAULT '{}';
-- When its release command succeeded: a server that starts again does not run it twice.
ALTER TABLE releases ADD COLUMN command_done_at INTEGER;

-- Up to which minute each entry of a live cron table was looked after. It only grows: the claim of a minute.
CREATE TABLE cron_marks (
    app_id   INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    command  TEXT NOT NULL,
    schedule TEXT NOT NULL,
    through  INTEGER NOT NULL,
    PRIMARY KEY (app_id, command, schedule)
) STRICT;

CREATE TABLE cron_runs (
    app_id     INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    no         INTEGER NOT NULL CHECK (no > 0),
    release_no INTEGER NOT NULL,
    command    TEXT NOT NULL,
    triggered  TEXT NOT NULL,
    -- The minute that it was due at; NULL when a person asked for it.
    due_at     INTEGER,
    started_at INTEGER NOT NULL,
    state      TEXT NOT NULL,
    word       TEXT NOT NULL,
    PRIMARY KEY (app_id, no)
) STRICT;
CREATE UNIQUE INDEX cron_once_a_minute ON cron_runs (app_id, command, due_at) WHERE due_at IS NOT NULL;
CREATE UNIQUE INDEX cron_one_at_a_time ON cron_runs (app_id, command) WHERE word = 'running';
