//! `/apps/A/deploys`: pushes, and releases that no push made, newest first.
use super::Room;
use super::frame::{Frame, Page};
use super::problem::Problem;
use super::routes::{Access, Route};
use super::session::Caller;
use super::words::{StateWord, When, plain, span};
use crate::domain::{App, Build, BuildId, BuildState, Moment, Permission, Release, ReleaseNo};
use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use std::collections::HashMap;

/// Builds and releases that the page shows.
const LISTED: u32 = 50;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::page("/apps/{app}/deploys", Access::Holder(Permission::ReadApp), show)]
}

#[derive(Template)]
#[template(path = "deploys.html")]
struct DeploysPage {
    frame: Frame,
    app: String,
    tab: &'static str,
    deploys: Vec<DeployRow>,
}

struct DeployRow {
    /// `#12` of a push, `v5` of a release without one.
    name: String,
    /// The same in addresses.
    path: String,
    release: String,
    state: StateWord,
    what: String,
    by: String,
    took: String,
    when: When,
    at: Moment,
}

async fn show(
    State(room): State<Room>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Page<DeploysPage>, Problem> {
    let app = room.app(&name).await?;
    let store = &room.desk().store;
    let builds = store.builds(app.id, LISTED).await?;
    let releases = store.releases(app.id, LISTED).await?;
    let by_build: HashMap<BuildId, &Release> =
        releases.iter().filter_map(|release| Some((release.build()?, release))).collect();
    let mut deploys = push_rows(&room, &app, &builds, &by_build).await;
    let now = room.desk().clock.now();
    deploys
        .extend(releases.iter().filter(|release| release.build().is_none()).map(|release| release_row(release, now)));
    deploys.sort_by_key(|deploy| std::cmp::Reverse(deploy.at));
    deploys.truncate(LISTED as usize);
    let frame = Frame::inside(format!("Deploys of {}", app.name), &caller).fresh_by(&room, "/changes");
    Ok(Page(DeploysPage { frame, app: app.name.to_string(), tab: "deploys", deploys }))
}

async fn push_rows(room: &Room, app: &App, builds: &[Build], by_build: &HashMap<BuildId, &Release>) -> Vec<DeployRow> {
    let now = room.desk().clock.now();
    let said = room.said(&app.key, builds.iter().map(|build| build.moves.new.clone()).collect()).await;
    let row = |(build, said): (&Build, crate::builder::Said)| {
        let release = by_build.get(&build.id).copied();
        let commit = build.moves.new.short();
        DeployRow {
            name: build.id.to_string(),
            path: build.id.0.to_string(),
            release: release_no(build).map(|no| no.to_string()).unwrap_or_default(),
            state: release.map_or_else(|| (&build.state).into(), |release| (&release.rollout).into()),
            what: if said.subject.is_empty() { commit.to_owned() } else { format!("{commit} “{}”", said.subject) },
            by: plain(&build.pusher.to_string()),
            took: build.started_at.map(|from| span(build.ended_at.unwrap_or(now).since(from))).unwrap_or_default(),
            when: When::new(build.queued_at, now),
            at: build.queued_at,
        }
    };
    builds.iter().zip(said).map(row).collect()
}

pub(super) fn release_no(build: &Build) -> Option<ReleaseNo> {
    match build.state {
        BuildState::Released { release, .. } => Some(release),
        BuildState::Queued | BuildState::Running | BuildState::Failed { .. } => None,
    }
}

fn release_row(release: &Release, now: Moment) -> DeployRow {
    let no = release.no.to_string();
    DeployRow {
        name: no.clone(),
        path: no.clone(),
        release: no,
        state: (&release.rollout).into(),
        what: plain(&release.description),
        by: plain(&release.created_by),
        took: String::new(),
        when: When::new(release.created_at, now),
        at: release.created_at,
    }
}
