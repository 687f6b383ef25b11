-- Whether storage wants the SHA-256 of every part of a file that comes in parts.
ALTER TABLE uploads ADD COLUMN part_checksums INTEGER NOT NULL DEFAULT 0;
