//! What people can do something about when SQLite refuses: the sentence says what it is and the way out.
use super::StoreError;
use std::fmt;

/// A trouble of the database file that no question caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Full,
    Locked,
    NotWritable,
    /// The file was writable when it was opened, and its disk takes nothing now.
    Refused,
    Damaged,
}

impl Trouble {
    /// Reads SQLite's result code (<https://www.sqlite.org/rescode.html>); the low byte is the primary one.
    fn of_code(code: i32) -> Option<Self> {
        match code & 0xff {
            5 | 6 => Some(Self::Locked),
            // SQLITE_CANTOPEN: the file is there, but not for us.
            8 | 14 => Some(Self::NotWritable),
            // SQLITE_IOERR: what a disk says that was mounted read-only, by hand or by the kernel after an error.
            10 => Some(Self::Refused),
            11 | 26 => Some(Self::Damaged),
            13 => Some(Self::Full),
            _ => None,
        }
    }

    fn of(error: &sqlx::Error) -> Option<Self> {
        Self::of_code(error.as_database_error()?.code()?.parse().ok()?)
    }

    /// The same for an error that migrations are wrapped in.
    pub(super) fn within(error: &sqlx::migrate::MigrateError) -> Option<Self> {
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
        causes.filter_map(|cause| cause.downcast_ref::<sqlx::Error>()).find_map(Self::of)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the disk of the database is full; free some space, nothing needs a restart",
            Self::Locked => "the database is locked by another process; end it, or wait and try again",
            Self::NotWritable => "the database cannot be written; make paas.db and its folder writable for the server",
            Self::Refused => {
                "the disk of the database takes no writes; see `dmesg` and `mount` whether it broke or became read-only; \
                 nothing needs a restart"
            }
            Self::Damaged => {
                "the database is damaged; stop the server and restore paas.db from a backup (`paas backups` lists them)"
            }
        })
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        if super::lease::is_fenced(&source) {
            return Self::Replaced;
        }
        match Trouble::of(&source) {
            Some(trouble) => Self::Troubled { trouble, source },
            None => Self::Database(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_count_as_their_primary_ones() {
        assert_eq!(Trouble::of_code(13), Some(Trouble::Full));
        assert_eq!(Trouble::of_code(261), Some(Trouble::Locked), "SQLITE_BUSY_RECOVERY");
        assert_eq!(Trouble::of_code(1544), Some(Trouble::NotWritable), "SQLITE_READONLY_DIRECTORY");
        assert_eq!(Trouble::of_code(778), Some(Trouble::Refused), "SQLITE_IOERR_WRITE");
        assert_eq!(Trouble::of_code(779), Some(Trouble::Damaged), "SQLITE_CORRUPT_INDEX");
        assert_eq!(Trouble::of_code(2067), None, "a unique index");
    }
}
