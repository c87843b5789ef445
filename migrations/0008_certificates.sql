-- Certificates that are served, whoever got them, and what each app wants of HTTPS beside.
CREATE TABLE certificates (
    host       TEXT NOT NULL,
    -- 1: it is served for every host one label below `host`, and not for `host` itself.
    wildcard   INTEGER NOT NULL CHECK (wildcard IN (0, 1)),
    source     TEXT NOT NULL CHECK (source IN ('uploaded', 'acme')),
    -- PEM, the host's own certificate first.
    chain      TEXT NOT NULL,
    sealed_key BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    not_after  INTEGER NOT NULL CHECK (not_after > not_before),
    added_at   INTEGER NOT NULL,
    PRIMARY KEY (host, wildcard)
) STRICT;

-- An app without a row has the default: http is sent on to https once a certificate lives, no HSTS.
CREATE TABLE tls_policies (
    app_id       INTEGER PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    redirect     INTEGER NOT NULL CHECK (redirect IN (0, 1)),
    hsts_seconds INTEGER CHECK (hsts_seconds BETWEEN 0 AND 4294967295)
) STRICT;
