-- One row for each upload. Its id begins with the time, so rows are inserted at the end.
-- All times are milliseconds since 1970.
CREATE TABLE uploads (
    id                 BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 17),
    app                TEXT    NOT NULL,
    owner              TEXT    NOT NULL,
    key                TEXT    NOT NULL,
    state              TEXT    NOT NULL,
    reason             TEXT,             -- why it failed
    declared_type      TEXT    NOT NULL, -- what the client said
    declared_size      INTEGER,
    declared_sha256    BLOB    CHECK (length(declared_sha256) = 32),
    stored_size        INTEGER,          -- what storage said; NULL: it was not asked yet
    stored_type        TEXT,
    stored_etag        TEXT,
    stored_version     TEXT,
    stored_width       INTEGER,          -- in pixels
    stored_height      INTEGER,
    created_at         INTEGER NOT NULL,
    url_expires_at     INTEGER NOT NULL,
    session_expires_at INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
