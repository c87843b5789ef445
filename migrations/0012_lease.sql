-- Who is in charge: every start and every hand-over takes the next number, and only the connections of the newest one write.
CREATE TABLE lease (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    generation INTEGER NOT NULL,
    process    INTEGER NOT NULL,
    version    TEXT NOT NULL,
    taken_at   INTEGER NOT NULL
) STRICT;
