//! How pages write times, spans, states and words of strangers.
use crate::desk::AppState;
use crate::domain::certificate_state::{CertificateState, Effort};
use crate::domain::moment::ago;
use crate::domain::{BuildState, Moment, Rollout};
use crate::logs::{printable, timestamp};
use std::time::Duration;

/// A time, for people and for machines.
#[derive(Clone)]
pub(super) struct When {
    pub(super) iso: String,
    pub(super) ago: String,
}

impl When {
    pub(super) fn new(at: Moment, now: Moment) -> Self {
        Self { iso: timestamp(at), ago: format!("{} ago", ago(now.since(at))) }
    }
}

/// A word for a state, and the class that gives it its shape and colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateWord {
    pub(super) word: &'static str,
    pub(super) class: &'static str,
}

impl From<AppState> for StateWord {
    fn from(state: AppState) -> Self {
        let class = match state {
            AppState::Live => "good",
            AppState::Deploying | AppState::Starting => "busy",
            AppState::Crashed => "bad",
            AppState::Stopped | AppState::NoWeb | AppState::Destroying => "off",
            AppState::Empty => "none",
        };
        Self { word: state.word(), class }
    }
}

impl From<&Rollout> for StateWord {
    fn from(rollout: &Rollout) -> Self {
        let class = match rollout {
            Rollout::Starting { .. } => "busy",
            Rollout::Live { .. } => "good",
            Rollout::Replaced { .. } => "none",
            Rollout::Failed { .. } => "bad",
        };
        Self { word: rollout.word(), class }
    }
}

/// A build's own state; where it made a release, how that fares says more.
impl From<&BuildState> for StateWord {
    fn from(state: &BuildState) -> Self {
        let class = match state {
            BuildState::Queued | BuildState::Running => "busy",
            BuildState::Released { .. } => "good",
            BuildState::Failed { .. } => "bad",
        };
        Self { word: state.word(), class }
    }
}

impl From<&CertificateState> for StateWord {
    fn from(state: &CertificateState) -> Self {
        let class = match (&state.live, &state.effort) {
            (None, Effort::Failed { .. } | Effort::Ended { .. }) => "bad",
            (None, Effort::Off { .. }) => "none",
            (None, Effort::None | Effort::WaitingDns { .. } | Effort::Queued | Effort::Issuing { .. }) => "busy",
            (Some(_), _) => "good",
        };
        Self { word: state.word(), class }
    }
}

/// Words of strangers (commit messages, names): what could do more than show itself is made visible. Templates escape it.
pub(super) fn plain(text: &str) -> String {
    printable(text).into_owned()
}

pub(super) fn span(span: Duration) -> String {
    match span.as_secs() {
        0..60 => format!("{:.1} s", span.as_secs_f64()),
        secs => format!("{} min {} s", secs / 60, secs % 60),
    }
}
