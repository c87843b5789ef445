//! The name of an image in a registry, as people write it: `ghcr.io/me/blog:v7`, with or without a digest.
use std::fmt;
use std::str::FromStr;

/// Docker's own limit for the name.
const NAME_LENGTH_MAX: usize = 255;
const TAG_LENGTH_MAX: usize = 128;
/// The registry of names that say none.
const DOCKER_HUB: &str = "docker.io";

/// A checked reference (security rule R5). It always means a registry's image, never one that lies in the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRef {
    /// Registry and path, as they were written.
    name: String,
    registry: String,
    tag: Option<String>,
    digest: Option<String>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ImageRefError {
    #[error("`{0}` is no image of a registry; write it like ghcr.io/me/blog:v7")]
    Malformed(String),
    #[error("`{0}` is the id of an image, and an id names none in a registry; write it like ghcr.io/me/blog:v7")]
    Id(String),
}

impl ImageRef {
    /// Registry and path, without tag and digest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Host of the registry, with its port if it was written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The registry's host, of an IPv6 address without its brackets, and its port if one was written.
    pub fn registry_address(&self) -> (&str, Option<u16>) {
        let (host, port) = match self.registry.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
            Some((host, Ok(port))) => (host, Some(port)),
            Some((_, Err(_))) | None => (self.registry.as_str(), None),
        };
        (host.trim_matches(['[', ']']), port)
    }

    /// Where that is, the engine's own settings say.
    pub fn is_of_docker_hub(&self) -> bool {
        self.registry == DOCKER_HUB
    }

    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The same image for ever, whatever becomes of the tag.
    pub fn pinned(&self, digest: &str) -> String {
        format!("{}@{digest}", self.name)
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        let malformed = || ImageRefError::Malformed(text.chars().take(NAME_LENGTH_MAX).collect());
        let is_id = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if is_id(text.strip_prefix("sha256:").unwrap_or(text)) {
            return Err(ImageRefError::Id(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(malformed()),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => (DOCKER_HUB, name),
        };
        let is_good = name.len() <= NAME_LENGTH_MAX
            && is_host(registry)
            && path.split('/').all(is_component)
            && tag.is_none_or(is_tag);
        if !is_good {
            return Err(malformed());
        }
        Ok(Self { name: name.to_owned(), registry: registry.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => write!(f, "{}@{digest}", self.name),
            (None, Some(tag)) => write!(f, "{}:{tag}", self.name),
            (None, None) => write!(f, "{}:latest", self.name),
        }
    }
}

/// `sha256:` and 64 hex digits: the one kind that registries use.
pub fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_name = |host: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        !host.is_empty() && host.chars().all(is_plain) && !host.starts_with(['-', '.']) && !host.contains("..")
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = bracketed.map_or_else(|| is_name(host), |inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Lower-case letters and digits, with single separators between them: `.`, `_`, `__` or dashes.
fn is_component(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |run: &str| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-');
    text.starts_with(is_plain)
        && text.ends_with(is_plain)
        && text.split(is_plain).filter(|run| !run.is_empty()).all(is_separator)
}

fn is_tag(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= TAG_LENGTH_MAX
        && text.starts_with(is_word)
        && text.chars().all(|c| is_word(c) || c == '.' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_docker_reads_it() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, name, registry, shown) in [
            ("blog", "blog", "docker.io", "blog:latest"),
            ("me/blog:v7", "me/blog", "docker.io", "me/blog:v7"),
            ("ghcr.io/me/blog", "ghcr.io/me/blog", "ghcr.io", "ghcr.io/me/blog:latest"),
            ("127.0.0.1:5000/b_l.o--g:1", "127.0.0.1:5000/b_l.o--g", "127.0.0.1:5000", "127.0.0.1:5000/b_l.o--g:1"),
            ("localhost/x", "localhost/x", "localhost", "localhost/x:latest"),
            ("[::1]:5000/x:1", "[::1]:5000/x", "[::1]:5000", "[::1]:5000/x:1"),
        ] {
            let parsed: ImageRef = text.parse().unwrap();
            assert_eq!((parsed.name(), parsed.registry()), (name, registry));
            assert_eq!(parsed.to_string(), shown);
        }
        let pinned: ImageRef = format!("ghcr.io/me/blog:v7@{digest}").parse().unwrap();
        assert_eq!(pinned.digest(), Some(digest.as_str()));
        assert_eq!(pinned.to_string(), format!("ghcr.io/me/blog@{digest}"));
    }

    #[test]
    fn what_names_no_image_of_a_registry_is_refused() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(id.parse::<ImageRef>(), Err(ImageRefError::Id(id.clone())));
        assert!(matches!(format!("sha256:{id}").parse::<ImageRef>(), Err(ImageRefError::Id(_))));
        for wrong in [
            "",
            "-",
            "Blog",
            "a b",
            "a//b",
            "/a",
            "a/",
            "../a",
            "a/../b",
            "a:",
            "a:b/c:",
            "a@b",
            "a@sha256:12",
            "a?b",
            "ghcr.io:0/a",
            "ghcr.io:port/a",
            "a__-b",
            "a:-x",
            "--all",
            "ä",
        ] {
            assert!(wrong.parse::<ImageRef>().is_err(), "{wrong}");
        }
        assert!(format!("a/{}", "b".repeat(300)).parse::<ImageRef>().is_err());
    }

    #[test]
    fn a_registry_is_a_host_and_a_port() {
        for (text, address) in [
            ("blog", ("docker.io", None)),
            ("ghcr.io/me/blog", ("ghcr.io", None)),
            ("127.1:5000/a", ("127.1", Some(5000))),
            ("[::1]:5000/a", ("::1", Some(5000))),
            ("[::1]/a", ("::1", None)),
        ] {
            assert_eq!(text.parse::<ImageRef>().unwrap().registry_address(), address, "{text}");
        }
        assert!("blog".parse::<ImageRef>().unwrap().is_of_docker_hub());
        assert!(!"hub.example/blog".parse::<ImageRef>().unwrap().is_of_docker_hub());
    }
}
