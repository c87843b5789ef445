//! Flags, variables and files, as they are read together.
use super::*;
use crate::domain::acme::{Challenge, LETS_ENCRYPT};

fn load(line: &str) -> Result<Config, NoConfig> {
    Config::load(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("paas.toml");
    std::fs::write(&file, "base_domain = \"example.com\"\nhttp_listen = \"127.0.0.1:1\"\n").unwrap();
    let config = load(&format!("--config {} --http-listen 127.0.0.1:2", file.display())).unwrap();
    assert_eq!(config.http_listen.port(), 2);
    assert_eq!(config.admin_host.as_str(), "paas.example.com");
    assert_eq!(config.ssh_listen.port(), 2222);
    assert_eq!(config.https_listen.map(|address| address.port()), Some(443));
    assert_eq!(load("--https-listen off").unwrap().https_listen, None);
    assert_eq!(config.reserved_names(), ["paas"]);
}

#[test]
fn trusted_proxies_are_ranges_or_a_known_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("paas.toml");
    std::fs::write(&file, "trusted_proxies = [\"cloudflare\"]\nhttp_proxy_protocol = \"on\"\n").unwrap();
    let config = load(&format!("--config {}", file.display())).unwrap();
    assert!(config.trusted_proxies.len() == CLOUDFLARE.len() && config.http_proxy_protocol);
    let config = load("--trusted-proxies 10.0.0.0/8,::1,cloudflare").unwrap();
    assert_eq!(config.trusted_proxies.len(), CLOUDFLARE.len() + 2);
    let config = load("").unwrap();
    assert!(config.trusted_proxies.is_empty() && !config.http_proxy_protocol);
}

#[test]
fn a_build_has_half_an_hour_or_what_is_set() {
    let limit = |line: &str| load(line).unwrap().build_limit;
    assert_eq!(limit(""), Duration::from_mins(30));
    assert_eq!(limit("--build-limit 5s"), Duration::from_secs(5));
    assert_eq!(limit("--build-limit 24h"), Duration::from_hours(24));
}

#[test]
fn a_ca_is_asked_where_hosts_are_public_and_its_terms_are_agreed_to() {
    let acme = |line: &str| load(line).unwrap().acme;
    assert_eq!(acme("").unwrap_err(), AcmeOff::LocalBaseDomain);
    assert_eq!(acme("--acme-email a@example.com").unwrap_err(), AcmeOff::LocalBaseDomain);
    assert_eq!(acme("--base-domain example.com").unwrap_err(), AcmeOff::NoEmail);
    let public = "--base-domain example.com --acme-email a@example.com";
    assert_eq!(acme(public).unwrap().directory, LETS_ENCRYPT);
    assert_eq!(acme(&format!("{public} --acme-directory off")).unwrap_err(), AcmeOff::SwitchedOff);
    let own = acme("--acme-directory https://127.0.0.1:14000/dir --acme-email a@example.com").unwrap();
    assert_eq!((own.directory.as_str(), own.challenge), ("https://127.0.0.1:14000/dir", Challenge::Http));
}

/// A public server whose file has one line more.
fn with_line(line: &str) -> Result<Config, NoConfig> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("paas.toml");
    let public = "base_domain = \"example.com\"\nacme_email = \"a@example.com\"\n";
    std::fs::write(&file, format!("{public}{line}\n")).unwrap();
    load(&format!("--config {}", file.display()))
}

#[test]
fn a_program_for_dns_is_named_by_the_file_alone() {
    let with = with_line;
    let acme = with("acme_dns_program = [\"/usr/bin/dns\", \"zone\"]").unwrap().acme.unwrap();
    assert_eq!(acme.dns_program.unwrap(), ["/usr/bin/dns", "zone"]);
    let Err(NoConfig::Usage(text)) = with("acme_dns_program = [\"dns\"]") else { panic!("a relative path") };
    assert!(text.contains("acme_dns_program"), "{text}");
    assert!(load("--acme-dns-program /usr/bin/dns").is_err(), "there is no such flag");
}

#[test]
fn an_account_at_a_ca_is_named_by_the_file_alone_and_its_key_is_never_shown() {
    let line = |id: &str, key: &str| format!("acme_external_account = {{ id = \"{id}\", key = \"{key}\" }}");
    let acme = with_line(&line("kid-1", "_-8x")).unwrap().acme.unwrap();
    let account = acme.external_account.clone().unwrap();
    assert_eq!((account.id.as_str(), account.key.reveal().as_slice()), ("kid-1", &[0xff, 0xef, 0x31][..]));
    assert!(!format!("{acme:?}").contains("239"), "{acme:?}");
    for (id, key) in [("", "_-8x"), ("kid-1", "+/8x"), ("kid-1", "")] {
        let Err(NoConfig::Usage(text)) = with_line(&line(id, key)) else { panic!("{id} {key}") };
        assert!(text.contains("acme_external_account") && !text.contains("8x"), "{text}");
    }
    assert!(load("--acme-external-account kid-1").is_err(), "there is no such flag");
}

#[test]
fn mistakes_name_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("paas.toml");
    std::fs::write(&file, "base_domian = \"example.com\"\n").unwrap();
    for (line, named) in [
        ("--http-listen nonsense".to_owned(), "http_listen"),
        ("--https-listen on".to_owned(), "https_listen"),
        ("--base-domain 10.0.0.1".to_owned(), "base_domain"),
        ("--docker-host tcp://other:2375".to_owned(), "docker_host"),
        (format!("--config {}", file.display()), "base_domian"),
        ("--disk-reserve much".to_owned(), "disk_reserve"),
        ("--nonsense".to_owned(), "--nonsense"),
        ("--backup-at 24:00".to_owned(), "backup_at"),
        ("--backup-at 3:10".to_owned(), "backup_at"),
        ("--trusted-proxies 10.0.0.1/8".to_owned(), "trusted_proxies"),
        ("--trusted-proxies akamai".to_owned(), "trusted_proxies"),
        ("--http-proxy-protocol yes".to_owned(), "http_proxy_protocol"),
        ("--build-limit 0s".to_owned(), "build_limit"),
        ("--build-limit 25h".to_owned(), "build_limit"),
        ("--build-limit 30".to_owned(), "build_limit"),
        ("--acme-directory http://ca.example/dir".to_owned(), "acme_directory"),
        ("--acme-directory nonsense".to_owned(), "acme_directory"),
        ("--acme-challenge http".to_owned(), "acme_challenge"),
        ("--acme-challenge dns-01".to_owned(), "acme_dns_program"),
        ("--base-domain example.com --acme-email nobody".to_owned(), "acme_email"),
    ] {
        let Err(NoConfig::Usage(text)) = load(&line) else { panic!("{line} was accepted") };
        assert!(text.contains(named), "{text}");
    }
}
