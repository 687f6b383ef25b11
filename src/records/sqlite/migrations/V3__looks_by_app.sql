-- Each app has its own queue of looks: where one bucket is out of reach, the others' go on.
DROP INDEX uploads_to_look_at;
CREATE INDEX uploads_to_look_at ON uploads (app, look_at) WHERE look_at IS NOT NULL;
