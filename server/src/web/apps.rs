//! `/`: all apps, each with its state, its address and what is live. And the stream of changes that any page may use.
use super::Room;
use super::fields::Fields;
use super::frame::{Frame, Page};
use super::problem::Problem;
use super::routes::{Access, Route};
use super::session::Caller;
use super::stream::{self, Feed};
use super::words::{StateWord, When, plain};
use crate::domain::{App, AppId, BuildId, Permission, Release};
use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use std::collections::HashMap;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::page("/", Access::Holder(Permission::ReadServer), show),
        Route::stream("/changes", Permission::ReadServer, follow),
    ]
}

#[derive(Template)]
#[template(path = "apps.html")]
struct AppsPage {
    frame: Frame,
    apps: Vec<AppRow>,
    /// For the empty page: where a first push goes.
    remote: String,
}

struct AppRow {
    name: String,
    state: StateWord,
    url: String,
    /// A push that is under way.
    build: Option<BuildId>,
    live: Option<LiveRow>,
}

/// `v41 · 3 h ago · "fix login"`.
struct LiveRow {
    release: String,
    when: When,
    what: String,
}

async fn show(State(room): State<Room>, Extension(caller): Extension<Caller>) -> Result<Page<AppsPage>, Problem> {
    let builds = room.builds_under_way().await?;
    let mut apps = Vec::new();
    for app in room.desk().store.apps().await? {
        apps.push(row(&room, &app, builds.get(&app.id).copied()).await?);
    }
    let frame = Frame::inside("Apps", &caller).fresh_by(&room, "/changes");
    let tools = room.tools();
    let remote = tools.site.remote(&"blog".parse().map_err(|_| Problem::NotFound)?);
    Ok(Page(AppsPage { frame, apps, remote }))
}

async fn row(room: &Room, app: &App, build: Option<BuildId>) -> Result<AppRow, Problem> {
    let desk = room.desk();
    let live = desk.store.live_release(app.id).await?;
    let state = desk.state(app, live.as_ref(), &desk.scheduler.routes()).await?;
    let live = match live {
        Some(live) => Some(live_row(room, app, &live).await),
        None => None,
    };
    Ok(AppRow { name: app.name.to_string(), state: state.into(), url: room.tools().site.url(&app.name), build, live })
}

async fn live_row(room: &Room, app: &App, live: &Release) -> LiveRow {
    let subject = match live.build() {
        Some(_) => room.said_one(&app.key, &live.commit).await.subject,
        // What no push made says itself what it is.
        None => String::new(),
    };
    let what = if subject.is_empty() { plain(&live.description) } else { format!("“{subject}”") };
    LiveRow { release: live.no.to_string(), when: When::new(live.created_at, room.desk().clock.now()), what }
}

async fn follow(
    State(room): State<Room>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    stream::open(&room, &caller, &query, Feed::Changes)
}

impl Room {
    /// The newest push of each app that is queued or being built.
    pub(super) async fn builds_under_way(&self) -> Result<HashMap<AppId, BuildId>, Problem> {
        let store = &self.desk().store;
        let running = store.running_builds().await?;
        let builds = running.into_iter().chain(store.queued_builds().await?);
        Ok(builds.map(|build| (build.app, build.id)).collect())
    }
}
