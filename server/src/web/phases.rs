//! How far a deploy has come: Queued → Build → Start → Live, each with its time. Pure.
use super::words::span;
use crate::domain::release::Release;
use crate::domain::{Build, BuildState, Moment, Rollout};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    /// `good` is done, `busy` goes on, `bad` failed here, `none` did not begin.
    pub(super) class: &'static str,
    /// What the class says, for those who do not see it.
    pub(super) word: &'static str,
    pub(super) took: String,
}

fn phase(name: &'static str, class: &'static str, from: Option<Moment>, to: Option<Moment>) -> Phase {
    let word = match class {
        "good" => "done",
        "busy" => "goes on",
        "bad" => "failed",
        _other => "to come",
    };
    let took = from.zip(to).map(|(from, to)| span(to.since(from))).unwrap_or_default();
    Phase { name, class, word, took }
}

/// Of a push: what its build and, once there is one, its release tell. `live_at` is when it went live, if it did.
pub(super) fn of_build(build: &Build, release: Option<&Release>, live_at: Option<Moment>, now: Moment) -> Vec<Phase> {
    let (queued, begun, ended) = (build.queued_at, build.started_at, build.ended_at);
    let waiting = match (&build.state, begun) {
        (BuildState::Queued, _) => phase("Queued", "busy", Some(queued), Some(now)),
        (BuildState::Failed { .. }, None) => phase("Queued", "bad", Some(queued), ended),
        (BuildState::Running | BuildState::Released { .. } | BuildState::Failed { .. }, _) => {
            phase("Queued", "good", Some(queued), begun)
        }
    };
    let building = match (&build.state, begun) {
        (BuildState::Running, _) => phase("Build", "busy", begun, Some(now)),
        (BuildState::Released { .. }, _) => phase("Build", "good", begun, ended),
        (BuildState::Failed { .. }, Some(_)) => phase("Build", "bad", begun, ended),
        (BuildState::Queued, _) | (BuildState::Failed { .. }, None) => phase("Build", "none", None, None),
    };
    let mut phases = vec![waiting, building];
    match release {
        Some(release) => phases.extend(of_release(release, live_at, now)),
        None => phases.extend(["Start", "Live"].map(|name| phase(name, "none", None, None))),
    }
    phases
}

pub(super) fn of_release(release: &Release, live_at: Option<Moment>, now: Moment) -> Vec<Phase> {
    let from = Some(release.created_at);
    match &release.rollout {
        Rollout::Starting { .. } => {
            vec![phase("Start", "busy", from, Some(now)), phase("Live", "none", None, None)]
        }
        // It may have been live before it failed: an early crash takes it back.
        Rollout::Failed { at, .. } => match live_at {
            Some(live_at) => {
                vec![phase("Start", "good", from, Some(live_at)), phase("Live", "bad", Some(live_at), Some(*at))]
            }
            None => vec![phase("Start", "bad", from, Some(*at)), phase("Live", "none", None, None)],
        },
        Rollout::Live { .. } => vec![phase("Start", "good", from, live_at), phase("Live", "good", None, None)],
        Rollout::Replaced { at } => {
            vec![phase("Start", "good", from, live_at), phase("Live", "good", live_at, Some(*at))]
        }
    }
}
