//! `/login`: the one-time link of `paas login` opens a page, whose button uses the link up. And the way out.
use super::fields::Fields;
use super::frame::{Frame, Page};
use super::house::Visitor;
use super::problem::Problem;
use super::routes::{Access, Route};
use super::session::{self, Caller};
use super::{Room, problem};
use crate::domain::session::{SESSION_LIFE, Token};
use crate::domain::{Permission, Pusher};
use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::page("/login", Access::Anybody, show),
        Route::form("/login", Access::Anybody, log_in),
        Route::form("/logout", Access::Holder(Permission::ReadServer), log_out),
    ]
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    /// Whom the link logs in, and its token; without a good link there is only advice.
    link: Option<(String, String)>,
    /// Why a link that was given is not good.
    complaint: Option<&'static str>,
    days: u64,
}

impl LoginPage {
    fn new(link: Option<(String, String)>, complaint: Option<&'static str>) -> Self {
        Self { frame: Frame::outside("Log in"), link, complaint, days: SESSION_LIFE.as_secs() / 86_400 }
    }
}

const USED_UP: &str = "This link was used already or has expired.";

async fn show(
    State(room): State<Room>,
    Extension(visitor): Extension<Visitor>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let Some(text) = fields.one("token")? else { return Ok(Page(LoginPage::new(None, None)).into_response()) };
    let who = try_link(&room, visitor, text, async |token: &Token| {
        let desk = room.desk();
        Ok(desk.store.login_link(&token.hash(), desk.clock.now()).await?)
    })
    .await?;
    Ok(match who {
        Some(who) => Page(LoginPage::new(Some((who.to_string(), text.to_owned())), None)).into_response(),
        None => refused(),
    })
}

async fn log_in(
    State(room): State<Room>,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Result<Response, Problem> {
    let text = fields.one("token")?.unwrap_or_default();
    let opened = try_link(&room, visitor, text, async |token: &Token| {
        let desk = room.desk();
        Ok(desk.store.open_session(&token.hash(), desk.clock.now()).await?)
    })
    .await?;
    let Some((token, who)) = opened else { return Ok(refused()) };
    room.record(&who, None, "log in to the pages", "done").await;
    let cookie = session::set_cookie(&token, visitor.transport);
    let home = HeaderValue::from_static("/");
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, home), (header::SET_COOKIE, cookie)]).into_response())
}

/// Asks about a link's token, unless this address failed too often.
async fn try_link<T>(
    room: &Room,
    visitor: Visitor,
    text: &str,
    ask: impl AsyncFnOnce(&Token) -> Result<Option<T>, Problem>,
) -> Result<Option<T>, Problem> {
    let now = room.desk().clock.now();
    if let Some(wait) = room.0.attempts.wait(visitor.peer, now) {
        return Err(Problem::TooOften(wait));
    }
    let found = match text.parse::<Token>() {
        Ok(token) => ask(&token).await?,
        Err(_) => None,
    };
    if found.is_none() {
        room.0.attempts.note_failure(visitor.peer, now);
    }
    Ok(found)
}

fn refused() -> Response {
    match LoginPage::new(None, Some(USED_UP)).render() {
        Ok(html) => problem::html_response(StatusCode::FORBIDDEN, html),
        Err(error) => Problem::Broken(error.into()).into_response(),
    }
}

async fn log_out(
    State(room): State<Room>,
    Extension(visitor): Extension<Visitor>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    room.desk().store.end_session(caller.session.id).await?;
    let (login, cookie) = (HeaderValue::from_static("/login"), session::clear_cookie(visitor.transport));
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, login), (header::SET_COOKIE, cookie)]).into_response())
}

impl Room {
    /// Writes the audit log, in the words of the commands.
    pub(super) async fn record(&self, who: &Pusher, app: Option<&crate::domain::AppName>, what: &str, result: &str) {
        let desk = self.desk();
        if let Err(error) = desk.store.record(desk.clock.now(), who, app, what, result).await {
            tracing::warn!("cannot write the audit log: {error}");
        }
    }
}
