//! `/apps/A/logs`: what was said and what is being said, in one list; its address holds the filter.
use super::fields::Fields;
use super::frame::{Frame, Page};
use super::log_filter::LogFilter;
use super::problem::Problem;
use super::routes::{Access, Route};
use super::session::Caller;
use super::stream::{self, Feed};
use super::{Room, ansi};
use crate::domain::Permission;
use crate::logs::{Place, parts, printable};
use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// Lines that the page shows at first; the newest.
const LINES_SHOWN: usize = 500;
/// Lines that a download holds; the newest.
const LINES_DOWNLOADED: usize = 500_000;
/// Sources that lines have.
const SOURCES: [&str; 3] = ["app", "router", "paas"];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::page("/apps/{app}/logs", Access::Holder(Permission::ReadApp), show),
        Route::page("/apps/{app}/logs/download", Access::Holder(Permission::ReadApp), download),
        Route::stream("/apps/{app}/logs/stream", Permission::ReadApp, follow),
    ]
}

#[derive(Template)]
#[template(path = "logs.html")]
struct LogsPage {
    frame: Frame,
    app: String,
    tab: &'static str,
    filter: LogFilter,
    sources: [&'static str; 3],
    /// Process types and instances that can be chosen.
    processes: Vec<String>,
    lines: Vec<String>,
    /// The filter in addresses, and as the flags of the command.
    query: String,
    flags: String,
}

async fn show(
    State(room): State<Room>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Page<LogsPage>, Problem> {
    let app = room.app(&name).await?;
    let filter = LogFilter::of(&Fields::parse(query.unwrap_or_default().as_bytes()))?;
    let journal = room.desk().logs.app(&app.key)?;
    let (lines, _) = journal.read_tail(LINES_SHOWN, |line| filter.keeps(line))?;
    let last = lines.last().map(|(place, _)| place.to_string()).unwrap_or_default();
    let mut processes = Vec::new();
    for (process, count) in room.desk().store.formation(app.id).await? {
        processes.push(process.to_string());
        processes.extend((1..=count).map(|index| format!("{process}.{index}")));
    }
    // One that is chosen can be chosen again, whether it still exists or not.
    if !filter.process.is_empty() && !processes.contains(&filter.process) {
        processes.push(filter.process.clone());
    }
    let query = filter.query();
    let frame = Frame::inside(format!("Log of {}", app.name), &caller)
        .fresh_by(&room, &format!("/apps/{}/logs/stream{query}", app.name))
        .shown_to(last);
    Ok(Page(LogsPage {
        frame,
        app: app.name.to_string(),
        tab: "logs",
        sources: SOURCES,
        processes,
        lines: lines.iter().map(|(_, line)| line_html(line)).collect(),
        flags: filter.flags(),
        query,
        filter,
    }))
}

/// One line: when, from whom, what.
pub(super) fn line_html(line: &str) -> String {
    let (at, source, text) = parts(line);
    let clock = at.split_once('T').map_or(at, |(_, time)| time.trim_end_matches('Z'));
    format!(
        "<li><time datetime=\"{at}\" title=\"{at}\">{clock}</time><span class=\"from\">{source}</span><span class=\"text\">{}</span></li>",
        ansi::html(text),
        at = ansi::html(at),
        clock = ansi::html(clock),
        source = ansi::html(source),
    )
}

async fn follow(
    State(room): State<Room>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let app = room.app(&name).await?;
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    let filter = LogFilter::of(&query)?;
    let journal = room.desk().logs.app(&app.key)?;
    let place: Option<Place> = stream::wanted_place(&headers, &query)?.and_then(|place| place.parse().ok());
    let kept = match place {
        Some(place) => journal.read_after(place)?,
        None => None,
    };
    let reader = match kept {
        Some(reader) => reader,
        // What comes from now on: the page showed what was.
        None => journal.read_tail(0, |_| false)?.1,
    };
    stream::open(&room, &caller, &query, Feed::Log { reader: Box::new(reader), filter })
}

async fn download(
    State(room): State<Room>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let app = room.app(&name).await?;
    let filter = LogFilter::of(&Fields::parse(query.unwrap_or_default().as_bytes()))?;
    let lines = room.desk().logs.app(&app.key)?.tail(LINES_DOWNLOADED, |line| filter.keeps(line))?;
    let mut text = String::new();
    for line in &lines {
        text.push_str(&printable(line));
        text.push('\n');
    }
    let file = HeaderValue::try_from(format!("attachment; filename=\"{}.log\"", app.name))
        .map_err(|error| Problem::Broken(error.into()))?;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    let fields = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, file)];
    Ok((StatusCode::OK, fields, Body::from(text)).into_response())
}
