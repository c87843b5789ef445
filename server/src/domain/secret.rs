//! A value that cannot be printed or serialised by accident (security rule R9).

/// Holds a config var's value or another secret; [`Secret::reveal`] is the only way in and easy to search for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    pub const fn reveal(&self) -> &T {
        &self.0
    }
}
