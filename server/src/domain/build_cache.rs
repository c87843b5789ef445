//! Which cache of the engine is which app's: what makes one an app's own, and the mark by which it is found again.
use super::AppKey;
use super::hex::hex;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// How often an app's caches were purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheGeneration(pub u32);

/// The mark on a cache, for everybody to read: it says whose the cache is and does not help to get at it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheMark {
    owner: String,
    generation: u32,
}

const OWNER_DIGITS: usize = 16;

/// What stands before the names of an app's caches: secret, since who knows it could read them from another app's build.
pub fn cache_namespace(app: &AppKey, generation: CacheGeneration) -> String {
    format!("{app}-g{}", generation.0)
}

impl CacheMark {
    pub fn new(app: &AppKey, generation: CacheGeneration) -> Self {
        Self { owner: owner(app), generation: generation.0 }
    }

    /// Whether the cache is the app's, of whatever generation.
    pub fn is_of(&self, app: &AppKey) -> bool {
        self.owner == owner(app)
    }

    /// Whether it was purged since.
    pub fn is_before(&self, generation: CacheGeneration) -> bool {
        self.generation < generation.0
    }
}

fn owner(app: &AppKey) -> String {
    let hash = hex(&Sha256::digest(format!("build caches of {app}")));
    hash[..OWNER_DIGITS].to_owned()
}

impl fmt::Display for CacheMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.owner, self.generation)
    }
}

impl FromStr for CacheMark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (owner, generation) = text.split_once('-').ok_or(())?;
        let is_hex = owner.len() == OWNER_DIGITS && owner.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let generation = generation.parse().map_err(|_| ())?;
        if is_hex { Ok(Self { owner: owner.to_owned(), generation }) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_whose_a_cache_is_and_not_its_name() {
        let (blog, shop) = (AppKey::new("0123456789abcdef".repeat(2)), AppKey::new("f".repeat(32)));
        let mark = CacheMark::new(&blog, CacheGeneration(2));
        let read: CacheMark = mark.to_string().parse().unwrap();
        assert_eq!(read, mark);
        assert!(read.is_of(&blog) && !read.is_of(&shop));
        assert!(read.is_before(CacheGeneration(3)) && !read.is_before(CacheGeneration(2)));
        assert!(!mark.to_string().contains(&blog.as_str()[..8]));
        assert!(cache_namespace(&blog, CacheGeneration(2)).starts_with(blog.as_str()));
        for wrong in
            ["", "x", "0123456789abcdef", "0123456789abcdef-", "0123456789abcdeg-1", "1-1", "0123456789abcdef-x"]
        {
            assert!(wrong.parse::<CacheMark>().is_err(), "{wrong}");
        }
    }
}
