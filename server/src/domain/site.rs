//! Where apps are reached: the base domain and the port that visitors use.
use super::hostname::HostnameError;
use super::{AppName, Hostname};
use std::fmt;
use std::sync::Arc;

/// The ports that a URL leaves out.
const USUAL_PORT: u16 = 80;
const USUAL_HTTPS_PORT: u16 = 443;

/// Always a host of the dashboard: browsers take it for this machine, or for a tunnel's end, and trust it as they trust HTTPS.
pub const LOCAL_ADMIN_HOST: &str = "paas.localhost";

#[derive(Clone, Debug)]
pub struct Site {
    pub base_domain: Hostname,
    pub http_port: u16,
    pub ssh_port: u16,
    /// Without it nothing is served by HTTPS.
    pub https: Option<Https>,
}

/// The port for HTTPS, and who knows for which hosts a certificate lives now.
#[derive(Clone)]
pub struct Https {
    pub port: u16,
    pub has_certificate: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Https").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Site {
    /// The host name that an app answers at; an error when it is longer than a host name may be.
    pub fn host(&self, app: &AppName) -> Result<Hostname, HostnameError> {
        format!("{app}.{}", self.base_domain).parse()
    }

    /// The link to an app, for people.
    pub fn url(&self, app: &AppName) -> String {
        self.url_of(&format!("{app}.{}", self.base_domain))
    }

    /// The app that a host directly below the base domain belongs to, whether it exists or not.
    pub fn app_of(&self, host: &Hostname) -> Option<AppName> {
        host.as_str().strip_suffix(self.base_domain.as_str())?.strip_suffix('.')?.parse().ok()
    }

    /// The git remote of an app, for people: the base domain leads to this server in all likelihood.
    pub fn remote(&self, app: &AppName) -> String {
        format!("ssh://paas@{}:{}/{app}", self.base_domain, self.ssh_port)
    }

    /// The link to a host: by https once a certificate lives for it.
    pub fn url_of(&self, host: &str) -> String {
        match &self.https {
            Some(https) if self.is_secure(host) => url("https", host, https.port, USUAL_HTTPS_PORT),
            Some(_) | None => url("http", host, self.http_port, USUAL_PORT),
        }
    }

    /// Where visitors come.
    pub fn ports(&self) -> Vec<u16> {
        std::iter::once(self.http_port).chain(self.https.as_ref().map(|https| https.port)).collect()
    }

    pub fn is_secure(&self, host: &str) -> bool {
        self.https.as_ref().is_some_and(|https| (https.has_certificate)(host))
    }
}

fn url(scheme: &str, host: &str, port: u16, usual: u16) -> String {
    if port == usual { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_right_below_the_base_domain_belong_to_apps() {
        let site = Site { base_domain: "example.com".parse().unwrap(), http_port: 80, ssh_port: 22, https: None };
        let app_of = |host: &str| site.app_of(&host.parse().unwrap()).map(|app| app.to_string());
        assert_eq!(app_of("blog.example.com"), Some("blog".to_owned()));
        for host in ["example.com", "a.b.example.com", "blogexample.com", "blog.example.org", "www.example.com"] {
            assert_eq!(app_of(host), None, "{host}");
        }
        assert_eq!(site.remote(&"blog".parse().unwrap()), "ssh://paas@example.com:22/blog");
    }

    #[test]
    fn a_link_is_by_https_where_a_certificate_lives() {
        let has_certificate = Arc::new(|host: &str| host == "blog.example.com");
        let https = Some(Https { port: 443, has_certificate });
        let mut site = Site { base_domain: "example.com".parse().unwrap(), http_port: 80, ssh_port: 22, https };
        assert_eq!(site.url_of("blog.example.com"), "https://blog.example.com");
        assert_eq!(site.url_of("shop.example.com"), "http://shop.example.com");
        site.https.as_mut().unwrap().port = 8443;
        assert_eq!(site.url_of("blog.example.com"), "https://blog.example.com:8443");
        site.https = None;
        site.http_port = 8080;
        assert_eq!(site.url_of("blog.example.com"), "http://blog.example.com:8080");
    }
}
