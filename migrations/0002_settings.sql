-- What an app is called and where it answers, what its instances may use, how their health is asked for, and its end.

-- 1 from `apps:destroy` until nothing is left of the app; the row goes last.
ALTER TABLE apps ADD COLUMN destroying INTEGER NOT NULL DEFAULT 0 CHECK (destroying IN (0, 1));

-- Names that an app had before: visitors, pushes and commands find it by them until they are freed.
CREATE TABLE former_names (
    name   TEXT NOT NULL PRIMARY KEY,
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX former_names_by_app ON former_names (app_id);

CREATE TABLE domains (
    hostname TEXT NOT NULL PRIMARY KEY,
    app_id   INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    added_at INTEGER NOT NULL
) STRICT;
CREATE INDEX domains_by_app ON domains (app_id);

-- What instances of a type may use; NULL stands for the default.
CREATE TABLE limits (
    app_id       INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    process      TEXT NOT NULL,
    memory_bytes INTEGER CHECK (memory_bytes > 0),
    cpu_millis   INTEGER CHECK (cpu_millis > 0),
    PRIMARY KEY (app_id, process)
) STRICT;

-- How new web instances are asked whether they are ready; NULL stands for the default.
CREATE TABLE checks (
    app_id     INTEGER PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    path       TEXT,
    timeout_ms INTEGER CHECK (timeout_ms > 0)
) STRICT;
