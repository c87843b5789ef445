-- How often an app's build caches were purged: a number in their names, so that the next build begins with empty ones.
ALTER TABLE apps ADD COLUMN cache_generation INTEGER NOT NULL DEFAULT 0;
-- The folder of the repository that is the app, where that is not its root.
ALTER TABLE apps ADD COLUMN build_root TEXT;
-- Names of the config vars that a build was given, as a JSON list.
ALTER TABLE builds ADD COLUMN reads TEXT;
