//! Where apps are reached: the base domain and the port that visitors use.
use super::hostname::HostnameError;
use super::{AppName, Hostname};

/// The port that a URL leaves out.
const USUAL_PORT: u16 = 80;

#[derive(Clone, Debug)]
pub struct Site {
    pub base_domain: Hostname,
    pub http_port: u16,
    pub ssh_port: u16,
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

    pub fn url_of(&self, host: &str) -> String {
        if self.http_port == USUAL_PORT {
            format!("http://{host}")
        } else {
            format!("http://{host}:{}", self.http_port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_right_below_the_base_domain_belong_to_apps() {
        let site = Site { base_domain: "example.com".parse().unwrap(), http_port: 80, ssh_port: 22 };
        let app_of = |host: &str| site.app_of(&host.parse().unwrap()).map(|app| app.to_string());
        assert_eq!(app_of("blog.example.com"), Some("blog".to_owned()));
        for host in ["example.com", "a.b.example.com", "blogexample.com", "blog.example.org", "www.example.com"] {
            assert_eq!(app_of(host), None, "{host}");
        }
        assert_eq!(site.remote(&"blog".parse().unwrap()), "ssh://paas@example.com:22/blog");
    }
}
