-- Who is logged in to the pages. Tokens are kept as SHA-256 only: who reads this file cannot log in with it.
-- Removing a key removes what its logins made; `key_id` is NULL for a person on the host itself.

CREATE TABLE login_links (
    hash       BLOB PRIMARY KEY,
    who        TEXT NOT NULL,
    key_id     INTEGER REFERENCES keys (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    hash       BLOB NOT NULL UNIQUE,
    who        TEXT NOT NULL,
    key_id     INTEGER REFERENCES keys (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL
) STRICT;
