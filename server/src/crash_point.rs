//! Named places where a test can kill the process. Empty unless the cargo feature `crash-points` is on.

/// Ends the process as `kill -9` would when `PAAS_CRASH_POINT` names this place: every time, or, as `NAME@FILE`, the first
/// process that gets there and makes the file.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "crash-points")]
        $crate::crash_point::reached($name);
    };
}

#[cfg(feature = "crash-points")]
#[expect(clippy::disallowed_methods, reason = "the one test hook in product code; not in the binary that is deployed")]
pub fn reached(name: &str) {
    let wanted = std::env::var("PAAS_CRASH_POINT").unwrap_or_default();
    let (place, once) = wanted.split_once('@').map_or((wanted.as_str(), None), |(place, file)| (place, Some(file)));
    if place == name && once.is_none_or(|file| std::fs::File::create_new(file).is_ok()) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
