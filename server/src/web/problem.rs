//! When there is no page: what is wrong and the next step, in the shape of the pages.
use super::frame::Frame;
use crate::desk::Refusal;
use crate::store::StoreError;
use askama::Template;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use std::time::Duration;

#[derive(Debug)]
pub(super) enum Problem {
    /// There is no such thing, or it is not yours: both read the same (security rule R7).
    NotFound,
    Said {
        status: StatusCode,
        what: String,
        next: Option<String>,
    },
    TooOften(Duration),
    /// The world failed, or we did.
    Broken(anyhow::Error),
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    what: String,
    next: Option<String>,
}

impl Problem {
    pub(super) fn said(status: StatusCode, what: impl Into<String>) -> Self {
        Self::Said { status, what: what.into(), next: None }
    }

    pub(super) fn next(self, step: &str) -> Self {
        match self {
            Self::Said { status, what, .. } => Self::Said { status, what, next: Some(step.to_owned()) },
            other @ (Self::NotFound | Self::TooOften(_) | Self::Broken(_)) => other,
        }
    }

    fn words(self) -> (StatusCode, String, Option<String>) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "there is nothing at this address".to_owned(), None),
            Self::Said { status, what, next } => (status, what, next),
            Self::TooOften(wait) => {
                let what = format!("too many failed logins; try again in {} s", wait.as_secs().max(1));
                (StatusCode::TOO_MANY_REQUESTS, what, None)
            }
            Self::Broken(error) => {
                tracing::error!("a page failed: {error:#}");
                let what = "the server could not answer; its log says why".to_owned();
                (StatusCode::INTERNAL_SERVER_ERROR, what, Some("run `paas server:doctor`".to_owned()))
            }
        }
    }

    /// Without the pages' shape: for when not even a session can be asked for.
    pub(super) fn into_bare_response(self) -> Response {
        let (status, what, _) = self.words();
        (status, [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], what).into_response()
    }
}

/// What is answered before the first key: what any other host without an app answers.
pub(super) fn bare_not_found() -> Response {
    Problem::NotFound.into_bare_response()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, what, next) = self.words();
        let page = ProblemPage { frame: Frame::outside(&what), what, next };
        match page.render() {
            Ok(html) => html_response(status, html),
            Err(error) => {
                tracing::error!("cannot render the page of a problem: {error}");
                status.into_response()
            }
        }
    }
}

pub(super) fn html_response(status: StatusCode, html: String) -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(header::CONTENT_TYPE, kind)], Body::from(html)).into_response()
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing { .. } => Self::NotFound,
            StoreError::Taken { .. }
            | StoreError::FormerName { .. }
            | StoreError::TooMany { .. }
            | StoreError::Destroying { .. }
            | StoreError::Replaced => Self::said(StatusCode::CONFLICT, error.to_string()),
            StoreError::Troubled { .. } | StoreError::Database(_) | StoreError::Other(_) => Self::Broken(error.into()),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Said { what, next } => Self::Said { status: StatusCode::CONFLICT, what, next },
            Refusal::Store(error) => error.into(),
            Refusal::World(error) => Self::Broken(error),
        }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

/// The end of a form that did what it should: on to a page.
pub(super) fn see_other(path: &str) -> (StatusCode, [(HeaderName, HeaderValue); 1]) {
    let place = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)])
}
