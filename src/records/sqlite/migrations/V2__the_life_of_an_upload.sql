-- How often a row has changed: a change names the revision on which it was decided.
ALTER TABLE uploads ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;

-- How a file that comes in parts is cut; both or none.
ALTER TABLE uploads ADD COLUMN multipart_id TEXT;
ALTER TABLE uploads ADD COLUMN part_size INTEGER;

-- When the sweeper is to look at the object; NULL: never again. Rows of before get an hour's grace.
ALTER TABLE uploads ADD COLUMN look_at INTEGER;
UPDATE uploads SET look_at = CASE state
    WHEN 'pending'  THEN session_expires_at + 3600000
    WHEN 'uploaded' THEN updated_at
    ELSE url_expires_at + 3600000
END;
CREATE INDEX uploads_to_look_at ON uploads (look_at) WHERE look_at IS NOT NULL;

-- Deleted keys are read at start-up, and followed.
CREATE INDEX uploads_deleted ON uploads (updated_at) WHERE state = 'deleted';

-- What was asked for under an Idempotency-Key. Both digests are SHA-256.
CREATE TABLE idempotency_claims (
    scope      BLOB    NOT NULL PRIMARY KEY CHECK (length(scope) = 32),
    request    BLOB    NOT NULL CHECK (length(request) = 32),
    upload     BLOB    NOT NULL CHECK (length(upload) = 17),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_claims_expired ON idempotency_claims (expires_at);
