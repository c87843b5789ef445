-- What instances of a type are spoken to in, where it is not HTTP/1.1.
CREATE TABLE protocols (
    app_id   INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    process  TEXT NOT NULL,
    protocol TEXT NOT NULL CHECK (protocol IN ('h2c')),
    PRIMARY KEY (app_id, process)
) STRICT;
