-- The first house: who may push, the apps, their config, builds, releases, and what the proxy was last told.
-- Times are milliseconds since 1970 UTC. Enums with data are JSON, as the domain types serialise.

CREATE TABLE installation (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    id         TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL UNIQUE,
    public_key  TEXT NOT NULL,
    added_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE apps (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    key           TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL UNIQUE,
    deploy_branch TEXT,
    -- Chosen among those free on the engine, kept for the app's life and never handed to another app.
    subnet        TEXT UNIQUE,
    stopped       INTEGER NOT NULL DEFAULT 0 CHECK (stopped IN (0, 1)),
    -- 1 while only a push that has not got as far as a build stands behind the app.
    provisional   INTEGER NOT NULL DEFAULT 0 CHECK (provisional IN (0, 1)),
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE config_vars (
    app_id       INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    sealed_value BLOB NOT NULL,
    PRIMARY KEY (app_id, name)
) STRICT;

CREATE TABLE formation (
    app_id   INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    process  TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity BETWEEN 0 AND 100),
    PRIMARY KEY (app_id, process)
) STRICT;

-- A slot whose epoch is above an instance's is restarted. Index 0 stands for every index of the type.
CREATE TABLE restarts (
    app_id  INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    process TEXT NOT NULL,
    idx     INTEGER NOT NULL CHECK (idx >= 0),
    epoch   INTEGER NOT NULL,
    PRIMARY KEY (app_id, process, idx)
) STRICT;

CREATE TABLE builds (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id      INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    branch      TEXT NOT NULL,
    old_oid     TEXT NOT NULL,
    new_oid     TEXT NOT NULL,
    pusher      TEXT NOT NULL,
    state       TEXT NOT NULL,
    word        TEXT NOT NULL,
    queued_at   INTEGER NOT NULL,
    started_at  INTEGER,
    ended_at    INTEGER
) STRICT;
CREATE INDEX builds_by_app ON builds (app_id, id);
CREATE INDEX builds_under_way ON builds (word) WHERE word IN ('queued', 'running');

-- Images by what went into them: the same inputs need no build.
CREATE TABLE images (
    app_id      INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL,
    image       TEXT NOT NULL,
    built_at    INTEGER NOT NULL,
    PRIMARY KEY (app_id, fingerprint)
) STRICT;

CREATE TABLE releases (
    app_id        INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    no            INTEGER NOT NULL CHECK (no > 0),
    origin        TEXT NOT NULL,
    image         TEXT NOT NULL,
    commit_oid    TEXT NOT NULL,
    processes     TEXT NOT NULL,
    port          INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    sealed_config BLOB NOT NULL,
    description   TEXT NOT NULL,
    created_by    TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    rollout       TEXT NOT NULL,
    word          TEXT NOT NULL CHECK (word IN ('starting', 'live', 'replaced', 'failed')),
    -- When it went live, kept after it was replaced: rollback goes to the one that was live before.
    live_at       INTEGER,
    PRIMARY KEY (app_id, no)
) STRICT;
CREATE UNIQUE INDEX one_live_release ON releases (app_id) WHERE word = 'live';
CREATE UNIQUE INDEX one_starting_release ON releases (app_id) WHERE word = 'starting';

-- The last published route table and the boot of the machine it was true in.
CREATE TABLE published_routes (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    boot_id  TEXT NOT NULL,
    routes   TEXT NOT NULL
) STRICT;

CREATE TABLE audit_log (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    who    TEXT NOT NULL,
    app    TEXT,
    what   TEXT NOT NULL,
    result TEXT NOT NULL
) STRICT;
