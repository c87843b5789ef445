//! The connection to Docker: made by the first call and after an outage; every call has a limit and one wording of errors.
use super::{EngineError, Result};
use anyhow::anyhow;
use arc_swap::ArcSwapOption;
use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Questions are answered from the engine's memory.
pub(super) const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// Changes wait for disks, networks and each other.
pub(super) const WRITE_TIME_MAX: Duration = Duration::from_mins(1);
/// Whole images move.
pub(super) const IMAGE_TIME_MAX: Duration = Duration::from_mins(30);
/// Streams end when their object or their reader does; this only bounds the wait for their first byte.
pub(super) const STREAM_OPEN_TIME_MAX: Duration = Duration::from_secs(10);

/// What is tried on what, for error messages; `thing` is what a 404 says is missing.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    verb: &'static str,
    thing: &'static str,
    name: &'a str,
}

impl<'a> Task<'a> {
    pub(super) const fn new(verb: &'static str, thing: &'static str, name: &'a str) -> Self {
        Self { verb, thing, name }
    }
}

impl fmt::Display for Task<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.thing)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " {}", self.name) }
    }
}

pub(super) struct Link {
    socket: PathBuf,
    /// A client that has agreed on a version; none before the first call and after an outage.
    agreed: ArcSwapOption<Docker>,
}

impl Link {
    pub(super) fn new(host: Option<&str>) -> Result<Self> {
        let socket = match host {
            None => DEFAULT_SOCKET,
            Some(host) => match host.strip_prefix("unix://") {
                Some(path) if path.starts_with('/') => path,
                _ => {
                    return Err(EngineError::Refused(format!(
                        "`{host}` is no engine's address; write unix:///path/to/docker.sock"
                    )));
                }
            },
        };
        Ok(Self { socket: socket.into(), agreed: ArcSwapOption::empty() })
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// As it stands in the paths of the API: `1.41`.
    pub(super) async fn api_version(&self) -> Result<String> {
        let version = self.client(Task::new("reach", "engine", ""), READ_TIME_MAX).await?.client_version();
        Ok(format!("{}.{}", version.major_version, version.minor_version))
    }

    /// A client whose requests wait for their answer's head for at most `limit`.
    pub(super) async fn client(&self, task: Task<'_>, limit: Duration) -> Result<Docker> {
        let agreed = match self.agreed.load_full() {
            Some(agreed) => Docker::clone(&agreed),
            None => self.agree(task).await?,
        };
        // Whole seconds only: one more, so that our own timer is the one that fires.
        Ok(agreed.with_timeout(limit + Duration::from_secs(1)))
    }

    async fn agree(&self, task: Task<'_>) -> Result<Docker> {
        let path = self.socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, READ_TIME_MAX.as_secs(), API_DEFAULT_VERSION);
        let negotiation = async { docker?.negotiate_version().await };
        let answer = tokio::time::timeout(READ_TIME_MAX, negotiation).await.unwrap_or(Err(Error::RequestTimeoutError));
        let docker = answer.map_err(|error| self.error(task, error))?;
        self.agreed.store(Some(Arc::new(docker.clone())));
        Ok(docker)
    }

    /// One call, answer included, within `limit`: an engine that hangs is one that does not answer.
    pub(super) async fn ask<T, F>(&self, task: Task<'_>, limit: Duration, call: impl FnOnce(Docker) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, Error>>,
    {
        let docker = self.client(task, limit).await?;
        let answer = tokio::time::timeout(limit, call(docker)).await;
        answer.unwrap_or(Err(Error::RequestTimeoutError)).map_err(|error| self.error(task, error))
    }

    pub(super) fn error(&self, task: Task<'_>, error: Error) -> EngineError {
        match error {
            Error::DockerResponseServerError { status_code: 404, message } if message.contains("network") => {
                EngineError::Missing("network")
            }
            Error::DockerResponseServerError { status_code: 404, .. } => EngineError::Missing(task.thing),
            Error::DockerResponseServerError { status_code: 400..=499, message } => {
                if message.contains("client version") {
                    // The engine behind the socket was exchanged: agree anew.
                    self.agreed.store(None);
                }
                EngineError::Refused(format!("{task}: {message}"))
            }
            Error::DockerStreamError { error } => EngineError::Refused(format!("{task}: {error}")),
            error @ (Error::SocketNotFoundError(_)
            | Error::IOError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::RequestTimeoutError) => {
                self.agreed.store(None);
                let place = self.socket.display().to_string();
                EngineError::Unreachable(anyhow!(error).context(format!("{task} on {place}")))
            }
            error => EngineError::Other(anyhow!(error).context(task.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_unix_socket_is_an_engines_address() {
        for host in ["tcp://1.2.3.4:2375", "/var/run/docker.sock", "unix://relative", ""] {
            assert!(matches!(Link::new(Some(host)), Err(EngineError::Refused(_))), "{host}");
        }
        assert_eq!(Link::new(Some("unix:///run/x.sock")).unwrap().socket(), Path::new("/run/x.sock"));
        assert_eq!(Link::new(None).unwrap().socket(), Path::new(DEFAULT_SOCKET));
    }

    #[test]
    fn errors_are_sorted_by_what_a_caller_can_do() {
        let link = Link::new(None).unwrap();
        let answer = |status_code, message: &str| {
            let error = Error::DockerResponseServerError { status_code, message: message.to_owned() };
            link.error(Task::new("start", "container", "abc"), error)
        };
        assert!(matches!(answer(404, "No such container: abc"), EngineError::Missing("container")));
        assert!(matches!(answer(404, "network abc not found"), EngineError::Missing("network")));
        assert!(matches!(answer(409, "in use"), EngineError::Refused(words) if words == "start container abc: in use"));
        assert!(matches!(answer(500, "oops"), EngineError::Other(_)));
        let timeout = link.error(Task::new("list", "containers", ""), Error::RequestTimeoutError);
        assert!(matches!(timeout, EngineError::Unreachable(_)));
    }
}
