//! `/apps/A`: how the app is in one sentence, what runs, what was released, and what is wrong with its fix.
use super::Room;
use super::fields::Fields;
use super::frame::{Frame, Page};
use super::problem::Problem;
use super::routes::{Access, Route};
use super::session::Caller;
use super::words::{StateWord, When, plain};
use crate::desk::{AppState, words_of};
use crate::domain::health::Health;
use crate::domain::{App, Maintenance, Permission, Release, Rollout};
use crate::scheduler::Instance;
use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use http::{HeaderValue, StatusCode, header};

/// Releases that the page shows; `/deploys` has more.
const RELEASES: u32 = 10;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::page("/apps/{app}", Access::Holder(Permission::ReadApp), show),
        Route::form("/apps/{app}/restart", Access::Holder(Permission::ChangeApp), restart),
    ]
}

#[derive(Template)]
#[template(path = "app.html")]
struct AppPage {
    frame: Frame,
    app: String,
    tab: &'static str,
    url: String,
    state: StateWord,
    sentence: String,
    live: Option<LiveView>,
    warnings: Vec<Warning>,
    domains: Vec<DomainRow>,
    instances: Vec<InstanceRow>,
    releases: Vec<ReleaseRow>,
    config: Vec<String>,
    formation: Vec<(String, u16)>,
    branch: Option<String>,
}

struct LiveView {
    release: String,
    deploy: String,
    commit: String,
    subject: String,
    author: String,
    by: String,
    when: When,
}

/// What is wrong, and the words that mend it.
struct Warning {
    what: String,
    fix: Option<String>,
}

/// A host of the app, and how it fares with its certificate.
struct DomainRow {
    host: String,
    state: StateWord,
    detail: String,
}

struct InstanceRow {
    slot: String,
    release: String,
    state: StateWord,
    detail: String,
    when: When,
}

struct ReleaseRow {
    no: String,
    deploy: String,
    state: StateWord,
    what: String,
    by: String,
    when: When,
    /// Whether one can go back to it.
    is_way_back: bool,
}

async fn show(
    State(room): State<Room>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Page<AppPage>, Problem> {
    let app = room.app(&name).await?;
    let desk = room.desk();
    let live = desk.store.live_release(app.id).await?;
    let state = desk.state(&app, live.as_ref(), &desk.scheduler.routes()).await?;
    let seen = desk.scheduler.instances(app.id).await;
    let mut warnings = warnings(&room, &app, live.as_ref(), state).await?;
    if let Err(error) = &seen {
        warnings.push(Warning {
            what: format!(
                "The container engine does not answer: {error}. Apps go on; nothing can be built or started."
            ),
            fix: Some("paas server:doctor".to_owned()),
        });
    }
    let formation = desk.store.formation(app.id).await?;
    let url = room.tools().site.url(&app.name);
    Ok(Page(AppPage {
        frame: Frame::inside(app.name.to_string(), &caller).fresh_by(&room, "/changes"),
        tab: "app",
        state: state.into(),
        sentence: sentence(state, live.as_ref(), &url),
        url,
        live: match &live {
            Some(live) => Some(live_view(&room, &app, live).await),
            None => None,
        },
        warnings,
        domains: domain_rows(&room, &app).await?,
        instances: instance_rows(&room, &desk.store.health(app.id).await?, seen.unwrap_or_default()),
        releases: release_rows(&room, &app).await?,
        config: desk.store.config_names(app.id).await?.iter().map(ToString::to_string).collect(),
        formation: formation.into_iter().map(|(process, count)| (process.to_string(), count)).collect(),
        branch: app.deploy_branch.as_deref().map(plain),
        app: app.name.to_string(),
    }))
}

fn sentence(state: AppState, live: Option<&Release>, url: &str) -> String {
    let no = live.map(|live| live.no.to_string()).unwrap_or_default();
    match state {
        AppState::Live => format!("{no} serves at {url}."),
        AppState::Deploying if live.is_some() => format!("A new release is starting; {no} serves until it is ready."),
        AppState::Deploying => "The first release is starting.".to_owned(),
        AppState::Starting => format!("{no} is starting; requests wait for it."),
        AppState::Crashed => format!("Instances of {no} end again and again; visitors get an error."),
        AppState::Destroying => "It is being destroyed; what it had goes step by step.".to_owned(),
        AppState::Stopped => "It was stopped; visitors get an error until it is started or pushed again.".to_owned(),
        AppState::NoWeb => format!("{no} runs without a web process; nothing answers at {url}."),
        AppState::Empty => "Nothing was released yet.".to_owned(),
    }
}

async fn domain_rows(room: &Room, app: &App) -> Result<Vec<DomainRow>, Problem> {
    let (tools, now) = (room.tools(), room.desk().clock.now());
    let domains = room.desk().store.domains(app.id).await?.into_iter().map(|domain| domain.host);
    let hosts = tools.site.host(&app.name).ok().into_iter().chain(domains);
    Ok(hosts
        .map(|host| {
            let state = tools.certs.state(&host);
            DomainRow { host: host.to_string(), state: (&state).into(), detail: plain(&state.detail(now)) }
        })
        .collect())
}

async fn live_view(room: &Room, app: &App, live: &Release) -> LiveView {
    let said = room.said_one(&app.key, &live.commit).await;
    LiveView {
        release: live.no.to_string(),
        deploy: deploy_of(live),
        commit: live.made_of(),
        subject: said.subject,
        author: said.author,
        by: plain(&live.created_by),
        when: When::new(live.created_at, room.desk().clock.now()),
    }
}

/// What a release's deploy is called in addresses: its push's number, or its own.
fn deploy_of(release: &Release) -> String {
    release.build().map_or_else(|| release.no.to_string(), |build| build.0.to_string())
}

async fn warnings(room: &Room, app: &App, live: Option<&Release>, state: AppState) -> Result<Vec<Warning>, Problem> {
    let (desk, name, mut warnings) = (room.desk(), &app.name, Vec::new());
    match state {
        AppState::Crashed => warnings.push(Warning {
            what: "Its instances end by themselves; their last words are in the log.".to_owned(),
            fix: Some(format!("paas logs -a {name} -s app")),
        }),
        AppState::Stopped => warnings
            .push(Warning { what: "The app is stopped.".to_owned(), fix: Some(format!("paas ps:start -a {name}")) }),
        AppState::NoWeb if live.is_some_and(|live| live.processes.keys().any(|p| p.as_str() == "web")) => warnings
            .push(Warning {
                what: "The web process is scaled to 0.".to_owned(),
                fix: Some(format!("paas ps:scale web=1 -a {name}")),
            }),
        AppState::Live
        | AppState::Deploying
        | AppState::Starting
        | AppState::NoWeb
        | AppState::Empty
        | AppState::Destroying => {}
    }
    let off = || Some(format!("paas maintenance:off -a {name}"));
    match desk.store.maintenance(app.id).await? {
        Maintenance::Off => {}
        Maintenance::On => {
            warnings
                .push(Warning { what: "Maintenance is on: visitors see a page that says so.".to_owned(), fix: off() });
        }
        Maintenance::Pause => {
            warnings.push(Warning { what: "The app is paused: requests wait for a while.".to_owned(), fix: off() });
        }
    }
    if let Some(live) = live
        && !app.stopped
        && state != AppState::Deploying
    {
        let pending = desk.pending_config(app, live).await?;
        if !pending.is_empty() {
            let names: Vec<&str> = pending.iter().map(crate::domain::VarName::as_str).collect();
            warnings.push(Warning {
                what: format!("Config vars are stored but do not run yet: {}.", names.join(", ")),
                fix: Some(format!("paas releases:retry -a {name}")),
            });
        }
    }
    Ok(warnings)
}

fn instance_rows(room: &Room, health: &Health, instances: Vec<Instance>) -> Vec<InstanceRow> {
    let now = room.desk().clock.now();
    let row = |instance: Instance| {
        let words = words_of(&instance, health);
        let class = match words.state {
            "up" => "good",
            "starting" | "draining" | "stopping" => "busy",
            _ended => "bad",
        };
        InstanceRow {
            slot: instance.slot.to_string(),
            release: instance.release.to_string(),
            state: StateWord { word: words.state, class },
            detail: words.detail,
            when: When::new(instance.since, now),
        }
    };
    instances.into_iter().map(row).collect()
}

async fn release_rows(room: &Room, app: &App) -> Result<Vec<ReleaseRow>, Problem> {
    let releases = room.desk().store.releases(app.id, RELEASES).await?;
    let said = room.said(&app.key, releases.iter().map(|release| release.commit.clone()).collect()).await;
    let now = room.desk().clock.now();
    let row = |(release, said): (&Release, crate::builder::Said)| ReleaseRow {
        no: release.no.to_string(),
        deploy: deploy_of(release),
        state: (&release.rollout).into(),
        what: match release.build() {
            Some(_) if !said.subject.is_empty() => format!("{} “{}”", plain(&release.description), said.subject),
            Some(_) | None => plain(&release.description),
        },
        by: plain(&release.created_by),
        when: When::new(release.created_at, now),
        is_way_back: matches!(release.rollout, Rollout::Replaced { .. }),
    };
    Ok(releases.iter().zip(said).map(row).collect())
}

async fn restart(
    State(room): State<Room>,
    Extension(caller): Extension<Caller>,
    Extension(fields): Extension<Fields>,
    Path(name): Path<String>,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1]), Problem> {
    let app = room.app(&name).await?;
    let done = room.desk().restart(&app, fields.one("what")?).await;
    room.record_outcome(&caller, &app, "ps:restart", &done).await;
    done?;
    Ok(super::problem::see_other(&format!("/apps/{}", app.name)))
}
