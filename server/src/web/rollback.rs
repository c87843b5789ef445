//! `/apps/A/rollback/vN`: what going back would change, and the button that does it.
use super::Room;
use super::fields::Fields;
use super::frame::{Frame, Page};
use super::problem::{Problem, see_other};
use super::routes::{Access, Route};
use super::session::Caller;
use super::words::{When, plain};
use crate::desk::Refusal;
use crate::domain::release::Config;
use crate::domain::{App, Command, Permission, Release, ReleaseNo};
use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use http::{HeaderName, HeaderValue, StatusCode};

pub(super) fn routes() -> Vec<Route> {
    const PATH: &str = "/apps/{app}/rollback/{release}";
    vec![
        Route::page(PATH, Access::Holder(Permission::ReadApp), show),
        Route::form(PATH, Access::Holder(Permission::ChangeApp), roll_back),
    ]
}

#[derive(Template)]
#[template(path = "rollback.html")]
struct RollbackPage {
    frame: Frame,
    app: String,
    tab: &'static str,
    to: String,
    /// What is live, which the new release replaces.
    from: String,
    what: String,
    commit: String,
    subject: String,
    when: When,
    changes: Vec<String>,
}

async fn show(
    State(room): State<Room>,
    Extension(caller): Extension<Caller>,
    Path((name, release)): Path<(String, String)>,
) -> Result<Page<RollbackPage>, Problem> {
    let app = room.app(&name).await?;
    let target = target(&room, &app, &release).await?;
    let live = room.desk().store.live_release(app.id).await?;
    let said = room.said_one(&app.key, &target.commit).await;
    Ok(Page(RollbackPage {
        frame: Frame::inside(format!("Roll back {} to {}", app.name, target.no), &caller),
        app: app.name.to_string(),
        tab: "",
        to: target.no.to_string(),
        from: live.as_ref().map(|live| live.no.to_string()).unwrap_or_default(),
        what: plain(&target.description),
        commit: target.made_of(),
        subject: said.subject,
        when: When::new(target.created_at, room.desk().clock.now()),
        changes: live.map(|live| changes(&live, &target)).unwrap_or_default(),
    }))
}

async fn target(room: &Room, app: &App, release: &str) -> Result<Release, Problem> {
    let no: ReleaseNo = release.parse().map_err(|_| Problem::NotFound)?;
    Ok(room.desk().rollback_target(app, Some(no)).await?)
}

/// What will be different, by names only.
fn changes(live: &Release, target: &Release) -> Vec<String> {
    let mut changes = Vec::new();
    if live.image == target.image {
        changes.push("The image stays: it is the same.".to_owned());
    } else {
        changes.push(format!("Code: {} instead of {}.", target.made_of(), live.made_of()));
    }
    let names = |what: &str, names: Vec<&str>| {
        (!names.is_empty()).then(|| format!("Config vars {what}: {}.", names.join(", ")))
    };
    let missing_in = |a: &Config, b: &Config| -> Vec<String> {
        a.keys().filter(|name| !b.contains_key(*name)).map(ToString::to_string).collect()
    };
    let (back, gone) = (missing_in(&target.config, &live.config), missing_in(&live.config, &target.config));
    let differ: Vec<&str> = target
        .config
        .iter()
        .filter(|(name, value)| live.config.get(name).is_some_and(|now| now != *value))
        .map(|(name, _)| name.as_str())
        .collect();
    changes.extend(names("that come back", back.iter().map(String::as_str).collect()));
    changes.extend(names("that go", gone.iter().map(String::as_str).collect()));
    changes.extend(names("that get their earlier value", differ));
    for (process, command) in &target.processes {
        if live.processes.get(process) != Some(command) {
            changes.push(format!("Process {process}: {}", plain(words(command))));
        }
    }
    for process in live.processes.keys().filter(|process| !target.processes.contains_key(*process)) {
        changes.push(format!("Process {process} goes."));
    }
    if live.port != target.port {
        changes.push(format!("PORT: {} instead of {}.", target.port, live.port));
    }
    changes
}

fn words(command: &Command) -> &str {
    match command {
        Command::Shell(line) => line,
        Command::ImageDefault => "(the image's own command)",
    }
}

async fn roll_back(
    State(room): State<Room>,
    Extension(caller): Extension<Caller>,
    Extension(fields): Extension<Fields>,
    Path((name, release)): Path<(String, String)>,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1]), Problem> {
    let app = room.app(&name).await?;
    let desk = room.desk();
    let target = target(&room, &app, &release).await?;
    let live = desk.store.live_release(app.id).await?.map(|live| live.no.to_string()).unwrap_or_default();
    if fields.one("from")?.unwrap_or_default() != live {
        return Err(Problem::said(
            StatusCode::CONFLICT,
            format!("{live} is live by now, which the page did not say yet"),
        )
        .next("go back, reload the page and look again"));
    }
    let made = desk.roll_back(&app, &target, &caller.session.who.to_string()).await;
    room.record_outcome(&caller, &app, "rollback", &made).await;
    let made = made?;
    let tools = room.tools();
    let (desk, stop, of) = (desk.clone(), tools.stop.clone(), app.clone());
    tools.tracker.spawn(async move {
        tokio::select! {
            seen = desk.see_through(&of, made) => if let Err(error) = seen {
                tracing::warn!("cannot see {} of {} through: {error:#}", made.no, of.name);
            },
            () = stop.cancelled() => {}
        }
    });
    Ok(see_other(&format!("/apps/{}/deploys/{}", app.name, made.no)))
}

impl Room {
    /// Writes how something that was asked for ended into the audit log.
    pub(super) async fn record_outcome<T>(&self, caller: &Caller, app: &App, what: &str, done: &Result<T, Refusal>) {
        let result = match done {
            Ok(_) => "done".to_owned(),
            Err(Refusal::Said { what, .. }) => what.clone(),
            Err(Refusal::Store(error)) => error.to_string(),
            Err(Refusal::World(error)) => format!("{error:#}"),
        };
        self.record(&caller.session.who, Some(&app.name), what, &result).await;
    }
}
