//! What a build needs from elsewhere: buildpacks and submodules, by https from hosts that the configuration allows (security rule R2).
//!
//! Everything goes through the one client that checks addresses and follows nothing, and is held in memory within limits.
//! First what is asked for is pinned, then, when something has to be built, its files are had.
mod archive;
mod git;
mod pack;
mod pkt_line;

use crate::domain::FetchAllow;
use crate::outbound::{AnswerLimits, Outbound, OutboundError};
use buildpacks::{Buildpack, EntryKind};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use std::time::Duration;

/// What one answer may take, and be.
const LIMITS: AnswerLimits = AnswerLimits { time: Duration::from_mins(2), body_bytes: 64 << 20 };
/// What is in it.
const UNPACKED_BYTES_MAX: u64 = 128 << 20;
const FILES_MAX: usize = 20_000;
const USUAL_PORT: u16 = 443;

/// A file of a buildpack; its path has no odd parts.
pub(super) struct FetchedFile {
    pub(super) path: String,
    pub(super) kind: EntryKind,
    /// Of a symlink, its target.
    pub(super) contents: Vec<u8>,
}

/// A buildpack as it was at one moment.
pub(super) struct Pinned {
    pub(super) pin: Option<String>,
    held: Held,
}

enum Held {
    /// It is in the app itself.
    Here,
    Commit {
        url: String,
        oid: String,
    },
    Archive(Bytes),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{host} is not among the hosts that builds may fetch from: the server's setting `fetch_allow` lists them")]
    NotAllowed { host: String },
    #[error("{host} answered {status}: is the address right, and readable without a password?")]
    Status { host: String, status: StatusCode },
    #[error("{0}")]
    Unusable(String),
    #[error("{sentence}")]
    Outbound { sentence: String },
}

impl From<OutboundError> for FetchError {
    fn from(error: OutboundError) -> Self {
        let sentence = match &error {
            OutboundError::Redirect { host, to } => format!("{host} sent us on to {to}: write that address"),
            other => other.to_string(),
        };
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        Self::Outbound { sentence: format!("{sentence}{source}") }
    }
}

/// Fetches within what the configuration allows.
pub struct Fetcher {
    ca_bundle: Option<Vec<u8>>,
    allow: FetchAllow,
}

impl Fetcher {
    pub fn new(ca_bundle: Option<Vec<u8>>, allow: FetchAllow) -> Self {
        Self { ca_bundle, allow }
    }

    /// Finds out what a buildpack is now.
    pub(super) async fn pin(&self, buildpack: &Buildpack) -> Result<Pinned, FetchError> {
        match buildpack {
            Buildpack::Inline { .. } => Ok(Pinned { pin: None, held: Held::Here }),
            Buildpack::Git { url, reference } => {
                let oid = git::resolve(self, url, reference.as_deref()).await?;
                Ok(Pinned { pin: Some(oid.clone()), held: Held::Commit { url: url.clone(), oid } })
            }
            Buildpack::Archive { url } => {
                let body = self.ask(Method::GET, url, &[], Bytes::new()).await?;
                Ok(Pinned { pin: Some(archive::sha256(&body)), held: Held::Archive(body) })
            }
        }
    }

    /// The files of a pinned one; none of one inside the app.
    pub(super) async fn files(&self, pinned: Pinned) -> Result<Vec<FetchedFile>, FetchError> {
        let unpacked = match pinned.held {
            Held::Here => return Ok(Vec::new()),
            Held::Commit { url, oid } => {
                let pack = git::fetch(self, &url, &oid).await?;
                tokio::task::spawn_blocking(move || git::unpack(&pack, &oid)).await
            }
            Held::Archive(body) => tokio::task::spawn_blocking(move || archive::unpack(&body)).await,
        };
        let files = unpacked.unwrap_or_else(|error| Err(FetchError::Unusable(error.to_string())))?;
        if files.iter().any(|file| file.path == "bin/compile") {
            return Ok(files);
        }
        Err(unusable("there is no bin/compile in it: is it a buildpack?"))
    }

    /// The pack of one commit, without what was before it.
    pub(super) async fn pack_of(&self, url: &str, commit: &str) -> Result<Vec<u8>, FetchError> {
        // Asked first for what only it says: that it moved, or speaks another protocol.
        git::greet(self, url).await?;
        git::fetch(self, url, commit).await
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, &'static str)],
        body: Bytes,
    ) -> Result<Bytes, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Unusable(format!("`{url}` is no address")))?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(USUAL_PORT);
        if !self.allow.permits(&host, port) {
            let named = uri.authority().map(ToString::to_string).unwrap_or_default();
            return Err(FetchError::NotAllowed { host: named });
        }
        let outbound = Outbound::new(self.ca_bundle.clone(), self.allow.private_address(&host, port));
        let mut request = Request::builder().method(method).uri(uri).body(body).map_err(unusable)?;
        // Hosts of repositories turn away who does not say what he is.
        let ours = [(header::USER_AGENT, concat!("git/2 (paas ", env!("CARGO_PKG_VERSION"), ")"))];
        for (name, value) in ours.into_iter().chain(headers.iter().cloned()) {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let answer = outbound.send_within(request, LIMITS).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(FetchError::Status { host, status }),
        }
    }
}

fn unusable(error: impl std::fmt::Display) -> FetchError {
    FetchError::Unusable(error.to_string())
}

/// Counts what is unpacked against the limits.
#[derive(Default)]
struct Budget {
    files: usize,
    bytes: u64,
}

impl Budget {
    fn take(&mut self, bytes: u64) -> Result<(), FetchError> {
        self.files += 1;
        self.bytes += bytes;
        if self.files > FILES_MAX || self.bytes > UNPACKED_BYTES_MAX {
            let most = UNPACKED_BYTES_MAX >> 20;
            return Err(FetchError::Unusable(format!("it holds more than {FILES_MAX} files or {most} MiB")));
        }
        Ok(())
    }
}

/// A path that stays where it is put.
fn check_path(path: &str) -> Result<(), FetchError> {
    let is_odd = |part: &str| matches!(part, "" | "." | ".." | ".git") || part.contains(['\0', '\\', '\n']);
    if path.is_empty() || path.split('/').any(is_odd) {
        return Err(FetchError::Unusable(format!("it holds the odd path {path:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_refused() {
        let mut budget = Budget::default();
        assert!(budget.take(UNPACKED_BYTES_MAX).is_ok());
        assert!(budget.take(1).is_err());
        let mut budget = Budget::default();
        for _ in 0..FILES_MAX {
            assert!(budget.take(0).is_ok());
        }
        assert!(budget.take(0).is_err());
    }

    #[test]
    fn odd_paths_are_refused() {
        for path in ["", "/a", "a//b", "../a", "a/./b", ".git/config", "a\\b", "a\nb"] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        assert!(check_path("bin/.gitignore").is_ok());
    }

    #[tokio::test]
    async fn only_hosts_that_are_allowed_are_asked_and_a_redirect_names_its_target() {
        let answer = |_: &str| "HTTP/1.1 302 Found\r\nlocation: https://elsewhere.example/x\r\n\r\n".to_owned();
        let (port, certificate) = crate::outbound::testing::answering(answer).await;
        let fetcher =
            |allowed: &str| Fetcher::new(Some(certificate.clone()), FetchAllow::parse(&[allowed.to_owned()]).unwrap());
        let archive = Buildpack::Archive { url: format!("https://127.0.0.1:{port}/a.tgz") };
        let Err(refused) = fetcher("git.example.com").pin(&archive).await else { panic!("it was asked") };
        assert!(refused.to_string().contains("not among the hosts"), "{refused}");
        let Err(refused) = fetcher(&format!("127.0.0.1:{port}")).pin(&archive).await else { panic!("it was followed") };
        assert!(refused.to_string().contains("write that address"), "{refused}");
        // A name that leads to this machine is not the address itself.
        let by_name = Buildpack::Archive { url: format!("https://localhost:{port}/a.tgz") };
        let Err(refused) = fetcher(&format!("localhost:{port}")).pin(&by_name).await else { panic!("it was asked") };
        assert!(refused.to_string().contains("no public address"), "{refused}");
    }
}
