-- Our accounts at CAs: one per directory, with its key.
CREATE TABLE acme_accounts (
    directory          TEXT PRIMARY KEY,
    email              TEXT NOT NULL,
    sealed_credentials BLOB NOT NULL,
    made_at            INTEGER NOT NULL
) STRICT;

-- What the CA was asked last for a host, and how it ended; written as failed when it begins, so that a crash is none for free.
CREATE TABLE acme_attempts (
    -- A wildcard is written with its `*.`.
    host         TEXT PRIMARY KEY,
    failures     INTEGER NOT NULL CHECK (failures >= 0),
    tried_at     INTEGER NOT NULL,
    next_at      INTEGER NOT NULL,
    barred_until INTEGER,
    complaint    TEXT CHECK ((complaint IS NULL) = (failures = 0))
) STRICT;
