-- Which versions of languages an image holds: shown of a release, and kept by the next build that is asked for none.
CREATE TABLE image_versions (
    app_id   INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    image    TEXT NOT NULL,
    language TEXT NOT NULL,
    version  TEXT NOT NULL,
    PRIMARY KEY (app_id, image, language)
) STRICT;
