-- Where a release's image comes from that no push made: the reference, pinned by its digest.
ALTER TABLE releases ADD COLUMN source TEXT;
