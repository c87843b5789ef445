//! `/apps/A/deploys/N`: one push (`12`), or one release that no push made (`v5`): how far it has come, its log as it
//! grows, why it failed in the words that its pusher saw, and the end of it while there is something to end.
use super::fields::Fields;
use super::frame::{Frame, Page};
use super::phases::{self, Phase};
use super::problem::{Problem, see_other};
use super::routes::{Access, Route};
use super::session::Caller;
use super::stream::{self, Feed};
use super::words::{StateWord, When, plain};
use super::{Room, ansi, deploys};
use crate::domain::card::card;
use crate::domain::{App, Build, BuildId, BuildState, Failure, Permission, Release, ReleaseNo, Rollout};
use crate::logs::{From, Journal, TranscriptOf};
use askama::Template;
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::cell::Cell;
use std::sync::Arc;

/// Lines of the log that the page shows at first; the newest.
const LINES_SHOWN: usize = 2000;
/// How lines of a failure's card begin in a transcript.
const CARD_MARK: &str = " !     ";
/// A card is this long at most, in lines.
const CARD_LINES_MAX: usize = 8;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::page("/apps/{app}/deploys/{deploy}", Access::Holder(Permission::ReadApp), show),
        Route::stream("/apps/{app}/deploys/{deploy}/stream", Permission::ReadApp, follow),
        Route::form("/apps/{app}/deploys/{deploy}/cancel", Access::Holder(Permission::ChangeApp), cancel),
    ]
}

#[derive(Template)]
#[template(path = "deploy.html")]
struct DeployPage {
    frame: Frame,
    app: String,
    tab: &'static str,
    name: String,
    path: String,
    state: StateWord,
    facts: Vec<(&'static str, String)>,
    when: When,
    phases: Vec<Phase>,
    /// Why it failed, line by line.
    card: Vec<String>,
    can_cancel: bool,
    /// Lines that came before those shown.
    left_out: u64,
    /// `None` when only the state is asked for.
    lines: Option<Vec<String>>,
}

/// What a deploy's address names. Both belong to this app: another app's are as missing as none (security rule R8).
enum Deploy {
    Push { build: Box<Build>, release: Option<Box<Release>> },
    Release(Box<Release>),
}

impl Deploy {
    async fn find(room: &Room, app: &App, name: &str) -> Result<Self, Problem> {
        let store = &room.desk().store;
        if name.starts_with('v') {
            let no: ReleaseNo = name.parse().map_err(|_| Problem::NotFound)?;
            return Ok(Self::Release(Box::new(store.release(app.id, no).await?)));
        }
        let id = name.parse().map(BuildId).map_err(|_| Problem::NotFound)?;
        let build = store.build(app.id, id).await?;
        let release = match deploys::release_no(&build) {
            Some(no) => Some(Box::new(store.release(app.id, no).await?)),
            None => None,
        };
        Ok(Self::Push { build: Box::new(build), release })
    }

    fn release(&self) -> Option<&Release> {
        match self {
            Self::Push { release, .. } => release.as_deref(),
            Self::Release(release) => Some(release),
        }
    }

    fn transcript(&self, room: &Room, app: &App) -> anyhow::Result<Arc<Journal>> {
        let of = match self {
            Self::Push { build, .. } => TranscriptOf::Build(build.id),
            Self::Release(release) => TranscriptOf::rollout(release),
        };
        room.desk().logs.transcript(&app.key, of)
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Push { build, .. } if matches!(build.state, BuildState::Failed { .. }) => match &build.state {
                BuildState::Failed { failure } => Some(failure),
                BuildState::Queued | BuildState::Running | BuildState::Released { .. } => None,
            },
            Self::Push { .. } | Self::Release(_) => match &self.release()?.rollout {
                Rollout::Failed { failure, .. } => Some(failure),
                Rollout::Starting { .. } | Rollout::Live { .. } | Rollout::Replaced { .. } => None,
            },
        }
    }

    fn state(&self) -> StateWord {
        match (self, self.release()) {
            (_, Some(release)) => (&release.rollout).into(),
            (Self::Push { build, .. }, None) => (&build.state).into(),
            (Self::Release(release), None) => (&release.rollout).into(),
        }
    }

    fn can_cancel(&self) -> bool {
        match self {
            Self::Push { build, release } => match &build.state {
                BuildState::Queued | BuildState::Running => true,
                BuildState::Released { .. } => {
                    release.as_ref().is_some_and(|release| matches!(release.rollout, Rollout::Starting { .. }))
                }
                BuildState::Failed { .. } => false,
            },
            Self::Release(_) => false,
        }
    }
}

async fn show(
    State(room): State<Room>,
    Extension(caller): Extension<Caller>,
    Path((name, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let app = room.app(&name).await?;
    let deploy = Deploy::find(&room, &app, &path).await?;
    if let Deploy::Release(release) = &deploy
        && let Some(build) = release.build()
    {
        return Ok(see_other(&format!("/apps/{}/deploys/{}", app.name, build.0)).into_response());
    }
    let is_part = headers.contains_key("hx-request");
    let transcript = deploy.transcript(&room, &app)?;
    let (lines, count) = if is_part { (None, 0) } else { numbered_tail(&transcript)? };
    let now = room.desk().clock.now();
    let live_at = match deploy.release() {
        Some(release) => room.desk().store.live_at(app.id, release.no).await?,
        None => None,
    };
    let (phases, at) = match &deploy {
        Deploy::Push { build, release } => (phases::of_build(build, release.as_deref(), live_at, now), build.queued_at),
        Deploy::Release(release) => (phases::of_release(release, live_at, now), release.created_at),
    };
    let label = match &deploy {
        Deploy::Push { build, .. } => build.id.to_string(),
        Deploy::Release(release) => release.no.to_string(),
    };
    let shown = lines.as_ref().map_or(0, Vec::len) as u64;
    let page = DeployPage {
        frame: Frame::inside(format!("Deploy {label} of {}", app.name), &caller)
            .fresh_by(&room, &format!("/apps/{}/deploys/{path}/stream", app.name))
            .shown_to(count.to_string()),
        app: app.name.to_string(),
        tab: "deploys",
        name: label,
        state: deploy.state(),
        facts: facts(&room, &app, &deploy).await,
        when: When::new(at, now),
        phases,
        card: failure_card(&deploy, &transcript)?,
        can_cancel: deploy.can_cancel(),
        left_out: count - shown.min(count),
        lines,
        path,
    };
    Ok(Page(page).into_response())
}

async fn facts(room: &Room, app: &App, deploy: &Deploy) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let release = deploy.release();
    if let Some(release) = release {
        facts.push(("Release", format!("{}: {}", release.no, plain(&release.description))));
    }
    let (commit, by) = match deploy {
        Deploy::Push { build, .. } => (&build.moves.new, build.pusher.to_string()),
        Deploy::Release(release) => (&release.commit, release.created_by.clone()),
    };
    let said = room.said_one(&app.key, commit).await;
    match release.and_then(|release| release.source.as_deref()) {
        Some(source) => facts.push(("Image", plain(source))),
        None => facts.push(("Commit", format!("{} {}", commit.short(), said.subject))),
    }
    if !said.author.is_empty() {
        facts.push(("Author", said.author));
    }
    facts.push(("By", plain(&by)));
    if let Deploy::Push { build, .. } = deploy {
        facts.push(("Branch", plain(&build.moves.branch)));
    }
    facts
}

/// The newest lines as HTML, and how many there are in all.
fn numbered_tail(transcript: &Journal) -> anyhow::Result<(Option<Vec<String>>, u64)> {
    let count = Cell::new(0_u64);
    let count_all = |_: &str| {
        count.set(count.get() + 1);
        true
    };
    let tail = transcript.tail(LINES_SHOWN, count_all)?;
    let first = count.get() - tail.len() as u64 + 1;
    Ok((Some((first..).zip(&tail).map(|(number, line)| line_html(number, line)).collect()), count.get()))
}

/// One line with its number, which is also its address.
pub(super) fn line_html(number: u64, line: &str) -> String {
    format!(
        "<li id=\"L{number}\"><a href=\"#L{number}\">{number}</a><span class=\"text\">{}</span></li>",
        ansi::html(line)
    )
}

/// The card as its pusher saw it, out of the transcript; made anew where that has none.
fn failure_card(deploy: &Deploy, transcript: &Journal) -> anyhow::Result<Vec<String>> {
    let Some(failure) = deploy.failure() else { return Ok(Vec::new()) };
    let told = transcript.tail(CARD_LINES_MAX, |line| line.starts_with(CARD_MARK))?;
    let begins = told.iter().rposition(|line| line[CARD_MARK.len()..] == failure.to_string());
    let lines = match begins {
        Some(begins) => told[begins..].to_vec(),
        None => card(failure, None),
    };
    Ok(lines.iter().map(|line| plain(line.strip_prefix(CARD_MARK).unwrap_or(line))).collect())
}

async fn follow(
    State(room): State<Room>,
    Extension(caller): Extension<Caller>,
    Path((name, path)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let app = room.app(&name).await?;
    let deploy = Deploy::find(&room, &app, &path).await?;
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    let shown = stream::wanted_place(&headers, &query)?.and_then(|place| place.parse().ok()).unwrap_or(0);
    let follower = Box::new(deploy.transcript(&room, &app)?.follow(From::Start)?);
    stream::open(&room, &caller, &query, Feed::Transcript { follower, told: 0, shown })
}

async fn cancel(
    State(room): State<Room>,
    Extension(caller): Extension<Caller>,
    Path((name, path)): Path<(String, String)>,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1]), Problem> {
    let app = room.app(&name).await?;
    let Deploy::Push { build, .. } = Deploy::find(&room, &app, &path).await? else { return Err(Problem::NotFound) };
    let done = room.desk().cancel(&app, &build, &caller.session.who.to_string()).await;
    room.record_outcome(&caller, &app, "builds:cancel", &done).await;
    done?;
    Ok(see_other(&format!("/apps/{}/deploys/{path}", app.name)))
}
