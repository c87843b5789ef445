//! Which registries may be asked. The engine asks them, from the machine's own network: a name that leads to this machine or
//! into a private network would have it ask what no app reaches. So where a name leads is looked at before.
use super::foreign;
use crate::domain::{FetchAllow, ImageRef};
use crate::engine::{Engine, EngineError};
use crate::outbound::{OutboundError, check_host};
use std::net::SocketAddr;

/// Where registries without a port in their name listen.
const USUAL_PORT: u16 = 443;

/// Why one is not asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryRefusal {
    #[error("the registry {registry} leads to {}, which is no public address", address.ip())]
    Private { registry: String, address: SocketAddr },
    #[error("the registry {registry} has no address that DNS knows of")]
    Unknown { registry: String },
}

impl RegistryRefusal {
    /// What the server's owner writes into `fetch_allow` to have it asked all the same.
    pub fn to_allow(&self) -> String {
        match self {
            Self::Private { address, .. } => address.to_string(),
            Self::Unknown { registry } => registry.clone(),
        }
    }
}

/// Refuses an image whose registry is not public. An address that is not has to stand in `allow` itself, whatever name leads
/// to it; a name that DNS does not know and that stands there is the engine's matter, which may go by a proxy.
pub(super) async fn check(image: &ImageRef, allow: &FetchAllow) -> Result<(), RegistryRefusal> {
    if image.is_of_docker_hub() {
        return Ok(());
    }
    let (host, port) = image.registry_address();
    let port = port.unwrap_or(USUAL_PORT);
    let registry = || image.registry().to_owned();
    let is_allowed = |address: SocketAddr| allow.permits(&address.ip().to_string(), port);
    match check_host(host, port, is_allowed).await {
        Ok(()) => Ok(()),
        Err(OutboundError::Private { address, .. }) => {
            Err(RegistryRefusal::Private { registry: registry(), address: SocketAddr::new(address, port) })
        }
        Err(_) if allow.permits(host, port) => Ok(()),
        Err(_) => Err(RegistryRefusal::Unknown { registry: registry() }),
    }
}

/// The first image that a Dockerfile names and whose registry is refused. One that the engine has is asked for nowhere; a
/// name that DNS does not know is left to the engine, which may go by a proxy.
pub(super) async fn find_refused(
    engine: &dyn Engine,
    dockerfile: &str,
    allow: &FetchAllow,
) -> Result<Option<(String, RegistryRefusal)>, EngineError> {
    for reference in foreign::references(dockerfile) {
        let Ok(image) = reference.parse::<ImageRef>() else { continue };
        match check(&image, allow).await {
            Err(refusal @ RegistryRefusal::Private { .. }) if engine.image(&reference).await?.is_none() => {
                return Ok(Some((reference, refusal)));
            }
            Ok(()) | Err(RegistryRefusal::Private { .. } | RegistryRefusal::Unknown { .. }) => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::FakeEngine;

    async fn check_allowing(image: &str, allowed: &[&str]) -> Result<(), RegistryRefusal> {
        let allowed: Vec<String> = allowed.iter().map(|word| (*word).to_owned()).collect();
        check(&image.parse().unwrap(), &FetchAllow::parse(&allowed).unwrap()).await
    }

    #[tokio::test]
    async fn a_registry_of_this_machine_or_a_private_network_is_refused_however_it_is_written() {
        for (image, address) in [
            ("127.0.0.1:5000/a", "127.0.0.1:5000"),
            ("127.1:5000/a", "127.0.0.1:5000"),
            ("0x7f.1:5000/a", "127.0.0.1:5000"),
            ("2130706433:5000/a", "127.0.0.1:5000"),
            ("0177.0.0.1/a", "127.0.0.1:443"),
            ("127.0.0.1./a", "127.0.0.1:443"),
            ("10.1.2.3/a", "10.1.2.3:443"),
            ("100.64.0.1/a", "100.64.0.1:443"),
            ("169.254.169.254/a", "169.254.169.254:443"),
            ("0.0.0.0:5000/a", "0.0.0.0:5000"),
            ("[::1]:5000/a", "[::1]:5000"),
            ("[::]:5000/a", "[::]:5000"),
            ("[::ffff:10.0.0.1]:5000/a", "[::ffff:10.0.0.1]:5000"),
            ("[64:ff9b::7f00:1]/a", "[64:ff9b::7f00:1]:443"),
            ("[fd00::1]/a", "[fd00::1]:443"),
        ] {
            let refusal = check_allowing(image, &["example.com"]).await.unwrap_err();
            assert_eq!(refusal.to_allow(), address, "{image}: {refusal}");
        }
        for image in ["1.1.1.1/a", "[2606:4700::1111]/a", "blog", "me/blog"] {
            assert!(check_allowing(image, &[]).await.is_ok(), "{image}");
        }
    }

    /// The name is what it stands for: that it is written without an address helps nobody.
    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_refused_unless_its_addresses_are_allowed() {
        for image in ["localhost/a", "localhost:443/a", "localhost.:443/a"] {
            let refusal = check_allowing(image, &["localhost"]).await.unwrap_err();
            let told = refusal.to_string();
            assert!(told.contains("localhost") && told.contains("no public address"), "{told}");
            assert!(check_allowing(image, &["127.0.0.1", "[::1]"]).await.is_ok(), "{image}");
        }
        let elsewhere = check_allowing("localhost:5000/a", &["127.0.0.1", "[::1]:5000"]).await.unwrap_err();
        assert_eq!(elsewhere.to_allow(), "127.0.0.1:5000");
    }

    #[tokio::test]
    async fn a_name_that_dns_does_not_know_is_asked_only_when_it_is_allowed() {
        let refusal = check_allowing("registry.invalid/a", &[]).await.unwrap_err();
        assert!(refusal.to_string().contains("registry.invalid has no address"), "{refusal}");
        assert!(check_allowing("registry.invalid/a", &["registry.invalid"]).await.is_ok());
    }
    #[tokio::test]
    async fn a_dockerfile_names_no_registry_of_this_machine_or_a_private_network() {
        let engine = FakeEngine::new(crate::clock::SystemClock::shared());
        let allow = FetchAllow::parse(&["127.0.0.1:5000".to_owned()]).unwrap();
        let found = async |dockerfile: &str| find_refused(&engine, dockerfile, &allow).await.unwrap();
        for dockerfile in [
            "FROM 10.0.0.1:5000/base\n",
            "ARG R=10.0.0.1:5000\nFROM $R/base\n",
            "FROM debian\nCOPY --from=10.0.0.1:5000/base /a /a\n",
            "# syntax=10.0.0.1:5000/base\nFROM debian\n",
        ] {
            let (reference, refusal) = found(dockerfile).await.unwrap_or_else(|| panic!("{dockerfile} is let through"));
            assert_eq!((reference.as_str(), refusal.to_allow().as_str()), ("10.0.0.1:5000/base", "10.0.0.1:5000"));
        }
        for dockerfile in
            ["FROM debian AS one\nCOPY --from=one /a /a\n", "FROM 127.1:5000/base\n", "FROM r.invalid/a\n"]
        {
            assert!(found(dockerfile).await.is_none(), "{dockerfile}");
        }
    }
}
