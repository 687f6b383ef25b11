-- New entries come at the end of the index, whatever app they are of: a commit changes one page of it, and
-- not one for each app. Which apps are due is sorted out by the reader.
DROP INDEX uploads_to_look_at;
CREATE INDEX uploads_to_look_at ON uploads (look_at, app) WHERE look_at IS NOT NULL;
