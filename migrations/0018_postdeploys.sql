-- Commands behind a first deploy that have not come to an end: written before the release goes live, gone when one has ended.
CREATE TABLE postdeploys (
    app_id     INTEGER PRIMARY KEY,
    release_no INTEGER NOT NULL,
    build_id   INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    line       TEXT NOT NULL,
    -- How often it was begun.
    begun      INTEGER NOT NULL DEFAULT 0,
    FOREIGN KEY (app_id, release_no) REFERENCES releases (app_id, no) ON DELETE CASCADE
) STRICT;
CREATE INDEX postdeploys_by_build ON postdeploys (build_id);
