-- What an app's owner sets about the router. A setting without a row has its default.

-- As it was written: `first-byte`, `60s`.
CREATE TABLE router_settings (
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (app_id, key)
) STRICT;

-- Who may visit with which password; the password itself is kept nowhere.
CREATE TABLE logins (
    app_id        INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    PRIMARY KEY (app_id, name)
) STRICT;

-- Pages of an app's own for visitors whom nothing answers: `502`, `503`, `504`, `maintenance`.
CREATE TABLE error_pages (
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    kind   TEXT NOT NULL CHECK (kind IN ('502', '503', '504', 'maintenance')),
    html   TEXT NOT NULL,
    PRIMARY KEY (app_id, kind)
) STRICT;

-- SHA-256 in hex of the token that lets its bearer past the maintenance that was switched on last.
CREATE TABLE maintenance_bypass (
    app_id       INTEGER PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    token_sha256 TEXT NOT NULL
) STRICT;

-- Domains whose visitors are sent on to another host of the same app.
CREATE TABLE domain_redirects (
    hostname TEXT PRIMARY KEY REFERENCES domains (hostname) ON DELETE CASCADE,
    target   TEXT NOT NULL
) STRICT;
