//! Logins of registries, from a file in the form that `docker login` writes. Read anew each time: a login made later counts.
use crate::domain::{ImageRef, Secret};
use crate::engine::RegistryLogin;
use anyhow::{Context, bail};
use base64::Engine as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// How Docker's own file calls the registry of names that say none.
const DOCKER_HUB_KEYS: [&str; 3] = ["https://index.docker.io/v1/", "index.docker.io", "docker.io"];

#[derive(Deserialize)]
struct Logins {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

/// No Debug: it holds passwords.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// The login for the registry of an image, if the file has one.
pub(super) fn find(file: &Path, image: &ImageRef) -> anyhow::Result<Option<RegistryLogin>> {
    let text = std::fs::read(file).with_context(|| format!("read registry_auth_file {}", file.display()))?;
    // What stands in it is told nobody, not even where it is wrong.
    let Ok(logins) = serde_json::from_slice::<Logins>(&text) else {
        bail!("registry_auth_file {} is not what `docker login` writes", file.display());
    };
    let is_its = |key: &str| {
        let host = key.trim_start_matches("https://").trim_start_matches("http://");
        host.split('/').next() == Some(image.registry())
            || (image.registry() == "docker.io" && DOCKER_HUB_KEYS.contains(&key))
    };
    let Some((_, entry)) = logins.auths.into_iter().find(|(key, _)| is_its(key)) else { return Ok(None) };
    login(entry).map(Some).with_context(|| {
        format!(
            "registry_auth_file {} has no password for {}: does a credential helper keep it? `docker login` with an empty \
             `credsStore` writes it there",
            file.display(),
            image.registry()
        )
    })
}

fn login(entry: Entry) -> Option<RegistryLogin> {
    if !entry.identitytoken.is_empty() {
        return Some(RegistryLogin::IdentityToken(Secret::new(entry.identitytoken)));
    }
    let (user, password) = if entry.username.is_empty() {
        let plain = base64::engine::general_purpose::STANDARD.decode(&entry.auth).ok()?;
        let plain = String::from_utf8(plain).ok()?;
        let (user, password) = plain.split_once(':')?;
        (user.to_owned(), password.to_owned())
    } else {
        (entry.username, entry.password)
    };
    (!user.is_empty()).then(|| RegistryLogin::Password { user, password: Secret::new(password) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, image: &str) -> anyhow::Result<Option<String>> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(&file, text).unwrap();
        let login = find(&file, &image.parse().unwrap())?;
        Ok(login.map(|login| match login {
            RegistryLogin::Password { user, password } => format!("{user}/{}", password.reveal()),
            RegistryLogin::IdentityToken(token) => format!("token {}", token.reveal()),
        }))
    }

    #[test]
    fn the_login_of_the_images_registry_is_found_as_docker_wrote_it() {
        // `me:secret:x`
        let text = r#"{"auths": {"ghcr.io": {"auth": "bWU6c2VjcmV0Ong="}, "https://index.docker.io/v1/": {"identitytoken": "t"},
            "127.0.0.1:5000": {"username": "a", "password": "b"}}, "credsStore": "x"}"#;
        assert_eq!(found(text, "ghcr.io/me/blog").unwrap().as_deref(), Some("me/secret:x"));
        assert_eq!(found(text, "me/blog").unwrap().as_deref(), Some("token t"));
        assert_eq!(found(text, "127.0.0.1:5000/x").unwrap().as_deref(), Some("a/b"));
        assert_eq!(found(text, "quay.io/x").unwrap(), None);
        assert_eq!(found("{}", "quay.io/x").unwrap(), None);
    }

    #[test]
    fn a_file_without_a_password_says_so_and_shows_nothing_of_itself() {
        let helped = found(r#"{"auths": {"ghcr.io": {}}}"#, "ghcr.io/x").unwrap_err();
        assert!(format!("{helped:#}").contains("credential helper"), "{helped:#}");
        let broken = format!("{:#}", found("{\"auths\": s3cret", "ghcr.io/x").unwrap_err());
        assert!(broken.contains("docker login") && !broken.contains("s3cret"), "{broken}");
    }
}
