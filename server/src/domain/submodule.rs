//! Submodules of a tree: where `.gitmodules` says that they come from, and which of those addresses are fetched from.
use super::FetchAllow;
use std::collections::HashMap;
use std::fmt;

/// Submodules of one push, those inside others among them.
pub const SUBMODULES_MAX: usize = 50;
/// Submodules inside each other.
pub const SUBMODULE_DEPTH_MAX: usize = 3;

const URL_BYTES_MAX: usize = 1000;
const USUAL_PORT: u16 = 443;

/// An https address without a user, of a host that builds may fetch from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmoduleUrl(String);

/// Why a submodule is not fetched, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmoduleError {
    #[error(".gitmodules has no address for it; add one there that begins with https://")]
    Undeclared,
    #[error(
        "a relative address leads nowhere here, since the push has no origin; write the whole https address in .gitmodules"
    )]
    Relative,
    #[error("submodules are fetched by https alone; write an address in .gitmodules that begins with https://")]
    NotHttps,
    #[error(
        "its address holds a user or a password, which nobody should read in a repository; write it without, and let \
         the repository be read without a password"
    )]
    Credentials,
    #[error("that is no address of a repository; write it in .gitmodules like https://HOST/PATH.git")]
    Odd,
    #[error(
        "{host} is not among the hosts that builds may fetch from; who runs the server adds it to `fetch_allow` in its \
         configuration"
    )]
    NotAllowed { host: String },
}

impl SubmoduleUrl {
    /// Checks what `.gitmodules` says. A relative address is taken from the repository that holds the submodule, if
    /// that one was fetched itself.
    pub fn of(declared: Option<&str>, holder: Option<&Self>, allow: &FetchAllow) -> Result<Self, SubmoduleError> {
        let text = declared.ok_or(SubmoduleError::Undeclared)?;
        if !(text.starts_with("./") || text.starts_with("../")) {
            return Self::parse(text, allow);
        }
        let holder = holder.ok_or(SubmoduleError::Relative)?;
        Self::parse(&joined(&holder.0, text).ok_or(SubmoduleError::Relative)?, allow)
    }

    fn parse(text: &str, allow: &FetchAllow) -> Result<Self, SubmoduleError> {
        let rest = text.strip_prefix("https://").ok_or(SubmoduleError::NotHttps)?;
        let (authority, path) = rest.split_once('/').ok_or(SubmoduleError::Odd)?;
        if authority.contains('@') {
            return Err(SubmoduleError::Credentials);
        }
        let is_fine = |c: char| c.is_ascii_graphic() && !"\"'<>\\^`{|}?#".contains(c);
        if text.len() > URL_BYTES_MAX || path.trim_matches('/').is_empty() || !path.chars().all(is_fine) {
            return Err(SubmoduleError::Odd);
        }
        let (host, port) = host_and_port(authority).ok_or(SubmoduleError::Odd)?;
        if !allow.permits(host, port) {
            return Err(SubmoduleError::NotAllowed { host: authority.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SubmoduleUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A sentence about a submodule that is not fetched; it shows no password.
pub fn submodule_complaint(path: &str, declared: Option<&str>, error: &SubmoduleError) -> String {
    let of = declared.map(|address| format!(" of {}", without_secrets(address))).unwrap_or_default();
    format!(
        "`{path}` is a submodule{of}: {error}; or commit its files instead: \
         `git rm --cached {path} && rm -rf {path}/.git && git add {path}`"
    )
}

/// Path of each submodule → its address, out of a `.gitmodules`, which git writes like a configuration file.
pub fn declared_submodules(text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let (mut path, mut url) = (None, None);
    for line in text.lines().map(str::trim).chain(["["]) {
        if line.starts_with('[') {
            if let (Some(path), Some(url)) = (path.take(), url.take()) {
                found.insert(path, url);
            }
            (path, url) = (None, None);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        match key.trim().to_ascii_lowercase().as_str() {
            "path" => path = Some(value_of(value)),
            "url" => url = Some(value_of(value)),
            _ => {}
        }
    }
    found
}

/// Without quotes, or without the comment behind it.
fn value_of(text: &str) -> String {
    let text = text.trim();
    if let Some((value, _)) = text.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        return value.to_owned();
    }
    let end = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| text.find(mark)).min();
    text[..end.unwrap_or(text.len())].trim_end().to_owned()
}

fn host_and_port(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let is_fine = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    if host.is_empty() || !host.chars().all(is_fine) {
        return None;
    }
    Some((host, port.map_or(Ok(USUAL_PORT), str::parse).ok()?))
}

/// As git does it: each `../` takes the last part of the holder's address away. `None`: it would take the host away.
fn joined(holder: &str, relative: &str) -> Option<String> {
    let (mut base, mut rest) = (holder.trim_end_matches('/'), relative);
    loop {
        if let Some(next) = rest.strip_prefix("../") {
            base = base.rsplit_once('/')?.0;
            rest = next;
        } else if let Some(next) = rest.strip_prefix("./") {
            rest = next;
        } else {
            break;
        }
    }
    let has_host = base.strip_prefix("https://").is_some_and(|host| !host.is_empty());
    has_host.then(|| format!("{base}/{rest}"))
}

/// An address as it may be shown: users that may be tokens, passwords and queries are left out.
fn without_secrets(address: &str) -> String {
    let without_query = |text: &str| text.split_inclusive(['?', '#']).next().unwrap_or_default().to_owned();
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let Some((user, place)) = rest.rsplit_once('@') else { return without_query(address) };
    if !scheme.starts_with("http") && !user.contains([':', '/']) {
        return without_query(address);
    }
    let slashes = if scheme.is_empty() { "" } else { "://" };
    without_query(&format!("{scheme}{slashes}***@{place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(declared: &str) -> Result<SubmoduleUrl, SubmoduleError> {
        let allow = FetchAllow::parse(&["git.example".to_owned(), "127.0.0.1:8443".to_owned(), "[::1]".to_owned()]);
        let holder = SubmoduleUrl("https://git.example/a/b.git".to_owned());
        SubmoduleUrl::of(Some(declared), Some(&holder), &allow.unwrap())
    }

    #[test]
    fn each_submodule_has_the_address_of_its_own_section() {
        let text = "[submodule \"a\"]\n\tpath = vendor/a\n\turl = https://example.com/a.git # ours\n\
            [submodule \"b\"]\n\turl = \"../b.git\"\n\tpath = b\n\tbranch = main\n[submodule \"c\"]\n\tpath = c\n";
        let found = declared_submodules(text);
        assert_eq!(found["vendor/a"], "https://example.com/a.git");
        assert_eq!(found["b"], "../b.git");
        assert!(!found.contains_key("c") && found.len() == 2);
        assert!(declared_submodules("").is_empty());
    }

    #[test]
    fn https_addresses_of_allowed_hosts_are_fetched_and_relative_ones_from_their_holder() {
        for (declared, url) in [
            ("https://git.example/x.git", "https://git.example/x.git"),
            ("https://GIT.example:443/x", "https://GIT.example:443/x"),
            ("https://127.0.0.1:8443/x/y.git", "https://127.0.0.1:8443/x/y.git"),
            ("https://[::1]/x", "https://[::1]/x"),
            ("../c.git", "https://git.example/a/c.git"),
            ("../../c.git", "https://git.example/c.git"),
            ("./c.git", "https://git.example/a/b.git/c.git"),
        ] {
            assert_eq!(of(declared).unwrap().as_str(), url, "{declared}");
        }
    }

    #[test]
    fn everything_else_is_refused_for_its_own_reason() {
        use SubmoduleError::{Credentials, NotHttps, Odd, Relative};
        for (declared, error) in [
            ("ssh://git@git.example/x.git", NotHttps),
            ("git@git.example:x.git", NotHttps),
            ("http://git.example/x.git", NotHttps),
            ("file:///etc", NotHttps),
            ("/srv/x.git", NotHttps),
            ("", NotHttps),
            ("https://u:p@git.example/x.git", Credentials),
            ("https://token@git.example/x.git", Credentials),
            ("https://git.example", Odd),
            ("https://git.example//", Odd),
            ("https://git.example/x?token=1", Odd),
            ("https://git.example/a b", Odd),
            ("https://git.example:x/a", Odd),
            ("https:///a", Odd),
            ("../../../c.git", Relative),
            ("../../../../../c.git", Relative),
        ] {
            assert_eq!(of(declared), Err(error), "{declared}");
        }
        let elsewhere = of("https://git.example:8443/x").unwrap_err().to_string();
        assert!(elsewhere.contains("git.example:8443 is not among") && elsewhere.contains("`fetch_allow`"));
        let allow = FetchAllow::default();
        assert_eq!(SubmoduleUrl::of(Some("../c.git"), None, &allow), Err(Relative));
        assert_eq!(SubmoduleUrl::of(None, None, &allow), Err(SubmoduleError::Undeclared));
    }

    #[test]
    fn a_complaint_names_path_and_address_and_shows_no_secret() {
        let told = |declared| submodule_complaint("vendor/lib", declared, &SubmoduleError::Odd);
        assert!(told(Some("https://a.example/x")).starts_with("`vendor/lib` is a submodule of https://a.example/x: "));
        assert!(told(None).starts_with("`vendor/lib` is a submodule: that is no address"));
        assert!(told(None).ends_with("`git rm --cached vendor/lib && rm -rf vendor/lib/.git && git add vendor/lib`"));
        for secret in [
            "https://u:s3cret@a.example/x",
            "https://s3cret@a.example/x",
            "ssh://u:s3cret@a.example/x",
            "u:s3cret@a.example:x",
            "https://u:s3/s3cret@a.example/x",
            "https://u:s3cret?s3cret@a.example/x",
            "https://a.example/x?token=s3cret",
        ] {
            let told = told(Some(secret));
            assert!(!told.contains("s3cret") && told.contains("a.example"), "{told}");
        }
        assert!(told(Some("git@a.example:x")).contains("of git@a.example:x"));
    }
}
