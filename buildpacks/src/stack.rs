//! Stack images: what apps are built in and run on, made here from Debian without any registry.
//!
//! A tag is a hash of the recipe, so a changed recipe is a new image and the old apps keep theirs.
//! The context of a stack build holds the recipe and a folder `meta`, with `ca.crt` in it when the
//! network wants a certificate authority of its own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Made by the server when the engine does not have it.
pub(crate) const DEBIAN: &str = "debian:trixie-slim";

/// How the names of images end that have more packages than their language wants.
const WITH_PACKAGES: &str = "-with-packages";

/// A base image the builder must have before the build of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackImage {
    /// For example `paas-stack/node20-build`.
    pub name: String,
    /// Hash of the recipe, 12 hex digits.
    pub tag: String,
    /// The `name:tag` it is made from; `None` means `debian:trixie-slim`.
    pub base: Option<String>,
    pub dockerfile: String,
}

impl StackImage {
    /// Whether it holds packages that an app asked for.
    pub fn has_wishes(&self) -> bool {
        self.name.ends_with(WITH_PACKAGES)
    }

    pub fn reference(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }

    /// `lines` follow the FROM line.
    pub(crate) fn new(name: &str, base: Option<&StackImage>, lines: &[String]) -> Self {
        let base = base.map(StackImage::reference);
        let from = base.as_deref().unwrap_or(DEBIAN);
        let dockerfile = format!("FROM {from}\n{}\n", lines.join("\n"));
        let hash = hex(&Sha256::digest(format!("{name}\n{dockerfile}")));
        Self { name: format!("paas-stack/{name}"), tag: hash.chars().take(12).collect(), base, dockerfile }
    }
}

impl StackImage {
    /// The same with more of Debian's packages; itself for none. The tag tells such images apart.
    pub(crate) fn with_packages(&self, packages: &BTreeSet<&str>) -> Self {
        if packages.is_empty() {
            return self.clone();
        }
        let packages: Vec<&str> = packages.iter().copied().collect();
        let mut lines = vec!["USER root".to_owned(), run(&apt_install(&packages))];
        let user = self.dockerfile.lines().rfind(|line| line.starts_with("USER "));
        // An image that says nothing has the user of the base.
        lines.push(user.unwrap_or("USER app").to_owned());
        let name = self.name.strip_prefix("paas-stack/").unwrap_or(&self.name);
        Self::new(&format!("{name}{WITH_PACKAGES}"), Some(self), &lines)
    }
}

/// Debian with its updates, certificates, and the user apps run as.
pub(crate) fn base() -> StackImage {
    let mut commands = apt_install(&["ca-certificates"]);
    commands.extend(
        [
            "apt-get upgrade -y",
            "useradd --uid 1000 --user-group --home-dir /app --no-create-home --shell /bin/sh app",
            "install -d -o app -g app /app",
        ]
        .map(str::to_owned),
    );
    StackImage::new("base", None, &[run(&commands), "WORKDIR /app".to_owned(), "USER app".to_owned()])
}

/// A RUN line with what every step of a stack needs. The package lists go to memory, not to the image.
pub(crate) fn run(commands: &[String]) -> String {
    let mounts = [
        "type=bind,source=meta,target=/tmp/paas-meta",
        "type=tmpfs,target=/var/lib/apt/lists",
        "type=tmpfs,target=/var/cache/apt",
    ];
    let mounts = mounts.map(|mount| format!("--mount={mount}"));
    format!("RUN {} \\\n    {}", mounts.join(" "), commands.join(" && \\\n    "))
}

pub(crate) fn apt_install(packages: &[&str]) -> Vec<String> {
    vec![
        "export DEBIAN_FRONTEND=noninteractive".to_owned(),
        "apt-get update".to_owned(),
        format!("apt-get install -y --no-install-recommends {}", packages.join(" ")),
    ]
}

/// Sets `ca` to the certificate authorities that the network of a stack build wants.
pub(crate) const CA: &str =
    "ca=/etc/ssl/certs/ca-certificates.crt && if [ -f /tmp/paas-meta/ca.crt ]; then ca=/tmp/paas-meta/ca.crt; fi";

/// Downloads a file with apt's own helper, which every Debian has: it follows redirects and checks the
/// hash before anything reads the file.
pub(crate) fn download(url: &str, sha512: &str, to: &str) -> Vec<String> {
    vec![
        CA.to_owned(),
        format!("/usr/lib/apt/apt-helper -o Acquire::https::CAInfo=$ca download-file {url} {to} SHA512:{sha512}"),
    ]
}

/// Sets `arch` as the npm registry calls it, and `hash` to what the table has for it.
pub(crate) fn npm_hash_pinned(x64: &str, arm64: &str) -> Vec<String> {
    vec![format!(
        "case $(dpkg --print-architecture) in amd64) arch=x64 hash={x64};; arm64) arch=arm64 hash={arm64};; *) exit 1;; esac"
    )]
}

/// Sets `arch` as the npm registry calls it, and `hash` to what the registry says of a version of a package.
pub(crate) fn npm_hash(package: &str, version: &str) -> Vec<String> {
    vec![
        "case $(dpkg --print-architecture) in amd64) arch=x64;; arm64) arch=arm64;; *) exit 1;; esac".to_owned(),
        CA.to_owned(),
        format!(
            "/usr/lib/apt/apt-helper -o Acquire::https::CAInfo=$ca download-file https://registry.npmjs.org/{package}/{version} /tmp/npm.json"
        ),
        "hash=$(grep -o '\"integrity\": *\"sha512-[^\"]*' /tmp/npm.json | cut -d- -f2 | base64 -d | od -An -v -tx1 | tr -d ' \\n')".to_owned(),
        "test ${#hash} = 128".to_owned(),
        "rm /tmp/npm.json".to_owned(),
    ]
}

/// Writes a script into the image, line by line: heredocs are newer than the engines we build on.
pub(crate) fn install_script(path: &str, text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("'{}'", line.replace('\'', r"'\''"))).collect();
    format!("RUN printf '%s\\n' \\\n    {} \\\n    > {path} && chmod 0755 {path}", lines.join(" \\\n    "))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_changes_with_the_recipe_and_with_the_base() {
        let one = StackImage::new("x", None, &["USER app".to_owned()]);
        let same = StackImage::new("x", None, &["USER app".to_owned()]);
        let other = StackImage::new("x", None, &["USER root".to_owned()]);
        assert_eq!(one.reference(), same.reference());
        assert_eq!(one.tag.len(), 12);
        assert_ne!(one.tag, other.tag);
        let on_one = StackImage::new("y", Some(&one), &[]);
        let on_other = StackImage::new("y", Some(&other), &[]);
        assert_ne!(on_one.tag, on_other.tag);
        assert_eq!(on_one.base, Some(one.reference()));
    }
}
