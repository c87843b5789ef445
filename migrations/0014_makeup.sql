-- What made a release and how it is started, beyond its image: JSON, as the domain type serialises.
ALTER TABLE releases ADD COLUMN makeup TEXT NOT NULL DEFAULT '{}';
