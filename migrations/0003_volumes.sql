-- Volumes: files of an app that outlive its instances, its releases and, unless its owner says otherwise, the app itself.
-- And whether an app's visitors are let in, and whether its releases may run side by side.

ALTER TABLE apps ADD COLUMN maintenance TEXT NOT NULL DEFAULT 'off' CHECK (maintenance IN ('off', 'on', 'pause'));
-- 1: instances of two releases may have the app's volumes at the same time.
ALTER TABLE apps ADD COLUMN overlaps INTEGER NOT NULL DEFAULT 0 CHECK (overlaps IN (0, 1));

CREATE TABLE volumes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    -- NULL: its app was destroyed and left it.
    app_id     INTEGER REFERENCES apps (id) ON DELETE SET NULL,
    name       TEXT NOT NULL,
    -- The engine's name for it: made of internal ids, never changed.
    key        TEXT NOT NULL UNIQUE,
    -- NULL: mounted nowhere.
    path       TEXT,
    -- 1 once an instance has had it: from then on its owner is left alone, and a missing one is not made anew.
    used       INTEGER NOT NULL DEFAULT 0 CHECK (used IN (0, 1)),
    was_of     TEXT,
    created_at INTEGER NOT NULL,
    UNIQUE (app_id, name),
    UNIQUE (app_id, path)
) STRICT;

CREATE TRIGGER an_app_leaves_its_volumes BEFORE DELETE ON apps
BEGIN
    UPDATE volumes SET was_of = OLD.name, path = NULL WHERE app_id = OLD.id;
END;
