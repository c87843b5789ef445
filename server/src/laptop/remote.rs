//! The git remote that leads to a server: `ssh://paas@HOST:2222/APP`, or `paas@HOST:APP`.
use crate::domain::AppName;
use crate::domain::name::NameError;
use git2::{Repository, RepositoryOpenFlags};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where commands go. Its parts can stand in a command line of ssh: none looks like an option, or like two words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    pub app: AppName,
}

/// Why there is no remote to go to.
#[derive(Debug, thiserror::Error)]
pub enum NoRemote {
    #[error("no git checkout in {} or above it", .0.display())]
    NoCheckout(PathBuf),
    #[error("the checkout in {} has no remote named `{name}`", .folder.display())]
    Missing { folder: PathBuf, name: String },
    #[error("the remote `{name}` ({url}) leads to no app: {reason}")]
    Unfit { name: String, url: String, reason: Unfit },
    #[error("cannot read the checkout in {}: {}", .0.display(), .1.message())]
    Unreadable(PathBuf, git2::Error),
}

/// Why an address is none of an app's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("it is no SSH address; apps are at `ssh://paas@HOST:2222/APP`")]
    Form,
    #[error("`{0}` is no name of a host")]
    Host(String),
    #[error("`{0}` is no name of a user")]
    User(String),
    #[error("`{0}` is no port")]
    Port(String),
    #[error(transparent)]
    App(#[from] NameError),
}

impl Remote {
    /// The remote of this name of the checkout that a folder is in; linked worktrees too.
    pub fn find(folder: &Path, name: &str) -> Result<Self, NoRemote> {
        // No variables of git's are asked: they are those of a hook that may be running us.
        let none: [&OsStr; 0] = [];
        let repo = match Repository::open_ext(folder, RepositoryOpenFlags::empty(), none) {
            Ok(repo) => repo,
            Err(error) if error.code() == git2::ErrorCode::NotFound => {
                return Err(NoRemote::NoCheckout(folder.to_owned()));
            }
            Err(error) => return Err(NoRemote::Unreadable(folder.to_owned(), error)),
        };
        let missing = || NoRemote::Missing { folder: folder.to_owned(), name: name.to_owned() };
        let remote = match repo.find_remote(name) {
            Ok(remote) => remote,
            Err(error) if matches!(error.code(), git2::ErrorCode::NotFound | git2::ErrorCode::InvalidSpec) => {
                return Err(missing());
            }
            Err(error) => return Err(NoRemote::Unreadable(folder.to_owned(), error)),
        };
        let url = remote.url().map_err(|_| missing())?;
        Self::parse(url).map_err(|reason| NoRemote::Unfit { name: name.to_owned(), url: without_password(url), reason })
    }

    pub(super) fn parse(url: &str) -> Result<Self, Unfit> {
        let (login, path) = match url.strip_prefix("ssh://") {
            Some(rest) => rest.split_once('/').ok_or(Unfit::Form)?,
            None if url.contains("://") => return Err(Unfit::Form),
            None => return Self::parse_short(url),
        };
        let (user, place) = login.rsplit_once('@').map_or((None, login), |(user, place)| (Some(user), place));
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        Self::of(user, host, port, path)
    }

    /// git's short form: `paas@HOST:APP`.
    fn parse_short(url: &str) -> Result<Self, Unfit> {
        let (login, path) = url.split_once(':').ok_or(Unfit::Form)?;
        if login.contains('/') {
            return Err(Unfit::Form);
        }
        let (user, host) = login.rsplit_once('@').map_or((None, login), |(user, host)| (Some(user), host));
        Self::of(user, host, None, path)
    }

    fn of(user: Option<&str>, host: &str, port: Option<&str>, path: &str) -> Result<Self, Unfit> {
        let is_plain = |text: &str, more: &[u8]| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b) || more.contains(&b))
        };
        if !is_plain(host, b":") {
            return Err(Unfit::Host(host.to_owned()));
        }
        if let Some(user) = user.filter(|user| !is_plain(user, b"")) {
            return Err(Unfit::User(without_password(user)));
        }
        let port = match port.filter(|port| !port.is_empty()) {
            None => None,
            Some(text) => Some(text.parse().ok().filter(|port| *port > 0).ok_or(Unfit::Port(text.to_owned()))?),
        };
        let path = path.trim_matches('/');
        let app = path.strip_suffix(".git").unwrap_or(path).parse()?;
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port, app })
    }

    /// `paas@example.com`, as ssh takes it.
    pub(super) fn login(&self) -> String {
        self.user.as_ref().map_or_else(|| self.host.clone(), |user| format!("{user}@{}", self.host))
    }
}

/// Addresses of other remotes may hold a password; errors do not repeat it.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let login_end = rest.find('/').unwrap_or(rest.len());
    let shown = match rest[..login_end].rsplit_once('@') {
        Some((login, _)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:…{}", &rest[login.len()..]),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    if scheme.is_empty() { shown } else { format!("{scheme}://{shown}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (Option<String>, String, Option<u16>, String) {
        let remote = Remote::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        (remote.user, remote.host, remote.port, remote.app.to_string())
    }

    #[test]
    fn addresses_of_apps_are_read_in_both_forms() {
        let expected = |user: &str, host: &str, port: Option<u16>| {
            (Some(user.to_owned()), host.to_owned(), port, "blog".to_owned())
        };
        assert_eq!(parts("ssh://paas@example.com:2222/blog"), expected("paas", "example.com", Some(2222)));
        assert_eq!(parts("ssh://paas@example.com/blog.git"), expected("paas", "example.com", None));
        assert_eq!(parts("ssh://paas@[2001:db8::1]:2222/blog"), expected("paas", "2001:db8::1", Some(2222)));
        assert_eq!(parts("ssh://paas@[::1]/blog"), expected("paas", "::1", None));
        assert_eq!(parts("paas@my_host:blog"), expected("paas", "my_host", None));
        assert_eq!(parts("my-alias:/blog.git").1, "my-alias");
    }

    #[test]
    fn what_could_be_an_option_or_two_words_is_refused() {
        for url in [
            "ssh://-oProxyCommand=x/blog",
            "ssh://paas@-oProxyCommand=x/blog",
            "ssh://-x@example.com/blog",
            "-oProxyCommand=x:blog",
            "ssh://paas@a b/blog",
            "ssh://paas@a%20b/blog",
            "ssh://paas@example.com:0/blog",
            "ssh://paas@example.com:99999/blog",
            "ssh://paas@example.com:22x/blog",
            "ssh://paas@/blog",
            "ssh://paas@example.com",
            "ssh://paas@example.com/",
            "ssh://paas@example.com/a/b",
            "ssh://paas@example.com/-x",
            "https://example.com/blog",
            "/srv/blog",
            "../x:blog",
            "",
        ] {
            assert!(Remote::parse(url).is_err(), "{url} was accepted");
        }
    }

    #[test]
    fn passwords_are_not_repeated() {
        assert_eq!(without_password("https://me:secret@example.com/x"), "https://me:…@example.com/x");
        assert_eq!(without_password("ssh://me@example.com/x"), "ssh://me@example.com/x");
        assert_eq!(without_password("me:secret"), "me:secret".to_owned());
    }
}
