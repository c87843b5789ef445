//! What a person reads when something failed: the same lines for the pusher, the pages and the log.
use super::{Failure, ReleaseNo};

/// The failure card in Heroku's shape: what failed, what to do, and what serves meanwhile.
pub fn card(failure: &Failure, live: Option<ReleaseNo>) -> Vec<String> {
    let mut lines = vec![format!(" !     {failure}")];
    if let Some(advice) = failure.advice() {
        lines.push(format!(" !     {advice}"));
    }
    if let Some(live) = live {
        lines.push(format!(" !     {live} still serves"));
    }
    lines
}

/// The failure in one line, for git's `! [remote rejected] main -> main (…)`.
pub fn one_line(failure: &Failure, live: Option<ReleaseNo>) -> String {
    match live {
        Some(live) => format!("{failure}; {live} still serves"),
        None => failure.to_string(),
    }
}
