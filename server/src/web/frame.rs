//! What all pages share: the bar on top, the way out, and how they stay fresh.
use super::problem::{Problem, html_response};
use super::session::Caller;
use super::{Room, assets};
use askama::Template;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

pub(super) struct Frame {
    pub(super) title: String,
    pub(super) who: Option<Who>,
    /// Where the page hears of changes, and of new lines.
    pub(super) stream: Option<String>,
    /// The last line that the page shows; the stream goes on behind it.
    pub(super) last: String,
}

pub(super) struct Who {
    pub(super) name: String,
    pub(super) form_token: String,
}

impl Frame {
    /// For somebody who is logged in.
    pub(super) fn inside(title: impl Into<String>, caller: &Caller) -> Self {
        let who = Who { name: caller.session.who.to_string(), form_token: caller.token.form_token() };
        Self { title: title.into(), who: Some(who), stream: None, last: String::new() }
    }

    /// For a stranger.
    pub(super) fn outside(title: &str) -> Self {
        Self { title: title.to_owned(), who: None, stream: None, last: String::new() }
    }

    /// Keeps the page fresh by the stream at `path`. What changed before it was opened is told at its beginning.
    pub(super) fn fresh_by(mut self, room: &Room, path: &str) -> Self {
        let sign = if path.contains('?') { '&' } else { '?' };
        let seen = *room.desk().store.changes().borrow();
        self.stream = Some(format!("{path}{sign}seen={seen}"));
        self
    }

    pub(super) fn shown_to(mut self, last: impl Into<String>) -> Self {
        self.last = last.into();
        self
    }

    /// The hidden field of every form.
    pub(super) fn form_token(&self) -> &str {
        self.who.as_ref().map_or("", |who| &who.form_token)
    }

    #[expect(clippy::unused_self, reason = "templates call methods of their frame")]
    pub(super) fn asset(&self, name: &str) -> &'static str {
        assets::path_of(name)
    }
}

/// A page that is there.
pub(super) struct Page<T>(pub(super) T);

impl<T: Template> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        match self.0.render() {
            Ok(html) => html_response(StatusCode::OK, html),
            Err(error) => Problem::Broken(error.into()).into_response(),
        }
    }
}
