//! Certificates by ACME, from a real CA (pebble) that refuses every second nonce: issued, renewed, refused.
use crate::harness::{Authority, Town, eventually};
use serde_json::Value;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A CA needs about a second; the machine may be busy, and nonces are refused.
const ISSUED: Duration = Duration::from_mins(1);
/// A refused host is asked for again after a minute.
const AGAIN: Duration = Duration::from_secs(110);

fn town(authority: &Authority, more: &[(&str, &str)]) -> Town {
    Town::start_beside(authority, more)
}

/// How the host fares, as `domains --json` tells.
fn state(town: &Town, app: &str, host: &str) -> Value {
    let all = town.paas(&["domains", "-a", app, "--json"]).succeeds().json();
    let found = all.as_array().expect("a list").iter().find(|domain| domain["host"] == host).cloned();
    found.unwrap_or_else(|| panic!("{host} is not among {all}"))["certificate"].clone()
}

fn is(town: &Town, host: &str, word: &str) -> bool {
    state(town, "blog", host)["state"] == word
}

#[track_caller]
fn becomes(town: &Town, host: &str, word: &str, limit: Duration) {
    eventually(&format!("{host} is {word}"), limit, || is(town, host, word));
}

#[test]
fn a_domain_gets_its_certificate_once_dns_leads_it_here() {
    let authority = Authority::start(&[]);
    authority.lead("www.example.test", Ipv4Addr::new(127, 0, 0, 9));
    let town = town(&authority, &[]);
    town.paas(&["apps:create", "blog"]).succeeds();
    town.paas(&["domains:add", "www.example.test", "-a", "blog"]).succeeds();
    becomes(&town, "www.example.test", "Waiting DNS", ISSUED);
    let said = town.paas(&["domains:check", "-a", "blog"]).stdout;
    assert!(said.contains("Waiting DNS") && said.contains("127.0.0.9"), "{said}");
    // Its own name and the dashboard's lead here from the beginning.
    becomes(&town, "blog.apps.test", "Live", ISSUED);
    eventually("the dashboard has a certificate", ISSUED, || authority.served("paas.apps.test").is_some());
    assert!(authority.served("blog.apps.test").is_some());
    assert!(authority.served("www.example.test").is_none());
    authority.lead("www.example.test", authority.address);
    becomes(&town, "www.example.test", "Live", ISSUED);
    assert!(authority.served("www.example.test").is_some(), "what is live is served");
    let checked = town.paas(&["domains:check", "-a", "blog", "--json"]).succeeds().json();
    assert!(
        checked.as_array().expect("a list").iter().all(|host| host["certificate"]["source"] == "acme"),
        "{checked}"
    );
    let refused = town.paas(&["certs:renew", "www.example.test"]);
    refused.fails_with(1, "wait");
    let page = town.paas(&["certs"]).succeeds().stdout.clone();
    assert!(page.contains("www.example.test") && page.contains("acme"), "{page}");
}

#[test]
fn a_domain_is_proven_by_a_tls_greeting_where_that_is_set() {
    let authority = Authority::start(&[]);
    let town = town(&authority, &[("PAAS_ACME_CHALLENGE", "tls-alpn-01")]);
    town.paas(&["apps:create", "blog"]).succeeds();
    becomes(&town, "blog.apps.test", "Live", ISSUED);
    assert!(authority.served("blog.apps.test").is_some());
}

#[test]
fn one_wildcard_by_dns_serves_all_apps_and_leaves_no_record() {
    let authority = Authority::start(&[]);
    let (program, calls) = authority.dns_program();
    let config = authority.write("paas.toml", &format!("acme_dns_program = [\"{}\"]\n", program.display()));
    let town = town(&authority, &[("PAAS_CONFIG", &config.to_string_lossy())]);
    town.paas(&["apps:create", "blog"]).succeeds();
    becomes(&town, "blog.apps.test", "Live", ISSUED);
    assert_eq!(state(&town, "blog", "blog.apps.test")["of"], "*.apps.test");
    let serial = authority.served("blog.apps.test").expect("it is served");
    town.paas(&["apps:create", "shop"]).succeeds();
    assert_eq!(authority.served("shop.apps.test"), Some(serial), "the next app waits for nothing");
    let calls = std::fs::read_to_string(calls).expect("the program was called");
    assert_eq!(calls, "present _acme-challenge.apps.test\ncleanup _acme-challenge.apps.test\n");
}

#[test]
fn a_refused_host_is_told_in_the_ca_s_words_with_the_next_try() {
    // Nobody listens where this CA comes to check.
    let authority = Authority::checking_at(5099, &[]);
    let town = town(&authority, &[]);
    town.paas(&["apps:create", "blog"]).succeeds();
    becomes(&town, "blog.apps.test", "Failed", ISSUED);
    let state = state(&town, "blog", "blog.apps.test");
    let said = state["said"].as_str().expect("the CA's words");
    assert!(said.contains("5099") && said.contains("refused"), "{said}");
    assert!(state["next_try"].is_string(), "{state}");
    let said = town.paas(&["domains:check", "-a", "blog"]).stdout;
    assert!(said.contains("Failed") && said.contains("next try in"), "{said}");
    town.paas(&["certs:renew", "blog.apps.test"]).fails_with(1, "was asked for blog.apps.test");
    town.paas(&["certs:renew", "nobody.example.test"]).fails_with(1, "no host of an app");
}

#[test]
fn a_ca_that_is_down_leaves_the_old_certificate_which_is_renewed_when_it_is_back() {
    let mut authority = Authority::start(&[]);
    let mut town = town(&authority, &[]);
    town.paas(&["apps:create", "blog"]).succeeds();
    becomes(&town, "blog.apps.test", "Live", ISSUED);
    let old = authority.served("blog.apps.test").expect("it is served");
    authority.end();
    // Four of the five years that this CA's certificates last have gone by for the server.
    town.start_again_beside(&authority, &[("FAKETIME", "+1460d")]);
    let said = || state(&town, "blog", "blog.apps.test")["said"].as_str().unwrap_or_default().to_owned();
    eventually("the failed renewal is told", ISSUED, || said().contains("connect to"));
    assert!(is(&town, "blog.apps.test", "Live"), "the old one lives");
    assert_eq!(authority.shown("blog.apps.test"), Some(old.clone()), "the old one is served");
    // The CA has forgotten our account meanwhile, and signs with another key.
    authority.begin(&[]);
    eventually("it is renewed", AGAIN, || authority.shown("blog.apps.test").is_some_and(|serial| serial != old));
    becomes(&town, "blog.apps.test", "Live", ISSUED);
    assert_eq!(said(), "", "nothing is in the way any more");
}

#[test]
fn a_ca_that_serves_its_customers_alone_takes_us_by_the_account_that_is_named() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let authority = Authority::of_customers("kid-1", key);
    let town = town(&authority, &[]);
    town.paas(&["apps:create", "blog"]).succeeds();
    eventually("the CA has refused", ISSUED, || {
        state(&town, "blog", "blog.apps.test").to_string().contains("acme_external_account")
    });
    drop(town);
    let line = format!("acme_external_account = {{ id = \"kid-1\", key = \"{key}\" }}\n");
    let config = authority.write("paas.toml", &line);
    let town = self::town(&authority, &[("PAAS_CONFIG", &config.to_string_lossy())]);
    town.paas(&["apps:create", "blog"]).succeeds();
    becomes(&town, "blog.apps.test", "Live", ISSUED);
}
