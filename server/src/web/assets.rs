//! Files of `web/static`, carried in the program, named by their content and therefore kept by browsers for good.
use super::problem::Problem;
use super::routes::{Access, Route};
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};

struct Asset {
    name: &'static str,
    path: &'static str,
    plain: &'static [u8],
    packed: &'static [u8],
}

/// Made by `build.rs`.
static ASSETS: &[Asset] = &include!(concat!(env!("OUT_DIR"), "/assets.rs"));

pub(super) fn routes() -> Vec<Route> {
    vec![Route::page("/static/{file}", Access::Anybody, show)]
}

/// Where a file is served.
pub(super) fn path_of(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| asset.path)
}

async fn show(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let path = format!("/static/{file}");
    let asset = ASSETS.iter().find(|asset| asset.path == path).ok_or(Problem::NotFound)?;
    let takes_packed = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("gzip"));
    let mut response = if takes_packed { asset.packed } else { asset.plain }.into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind_of(asset.name)));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if takes_packed {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn kind_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
pub(super) fn packed_bytes(name: &str) -> usize {
    ASSETS.iter().find(|asset| asset.name == name).map_or(usize::MAX, |asset| asset.packed.len())
}
