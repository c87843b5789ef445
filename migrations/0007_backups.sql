-- Backups of the platform: every attempt, so that a night that failed is not forgotten. The files are in backups/.
CREATE TABLE backups (
    name        TEXT PRIMARY KEY,
    made_at     INTEGER NOT NULL,
    made_by     TEXT NOT NULL,
    nightly     INTEGER NOT NULL CHECK (nightly IN (0, 1)),
    -- How it is encrypted: `passphrase`, `public key` or `nothing`.
    cipher      TEXT NOT NULL,
    size_bytes  INTEGER,
    sha256      TEXT,
    -- When it was last read back to its end and found whole.
    verified_at INTEGER,
    failure     TEXT
) STRICT;
CREATE INDEX backups_by_time ON backups (made_at);
