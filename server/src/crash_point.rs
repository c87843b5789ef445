//! Named places where a test can kill the process. Empty unless the cargo feature `crash-points` is on.

/// Ends the process as `kill -9` would when `PAAS_CRASH_POINT` names this place.
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
    if std::env::var("PAAS_CRASH_POINT").as_deref() == Ok(name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
