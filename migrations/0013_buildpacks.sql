-- The classic buildpacks that were set for an app by a command, in their order, as they were typed.
CREATE TABLE buildpacks (
    app_id   INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    position INTEGER NOT NULL CHECK (position > 0),
    source   TEXT NOT NULL,
    PRIMARY KEY (app_id, position)
) STRICT;
