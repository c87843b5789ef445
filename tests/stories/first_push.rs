//! The first push of every kind of app goes live.
use crate::harness::{Town, eventually};
use std::time::Duration;

/// Pushes the sample to an app of the same name, looks at what the pusher reads, and visits it.
fn goes_live(sample: &str, detected: &str, shown: &str) {
    let town = Town::start();
    let push = town.push(sample, sample);
    push.succeeds()
        .says(&format!("-----> {detected}"))
        .says("-----> Release v1: starting web.1")
        .says("-----> Live: v1 serves");
    push.says(&format!("http://{sample}.localhost")).says("healthy after").says("[new branch]      main -> main");
    town.shows(sample, shown);
    town.doctor_is_clean();
}

#[test]
fn the_first_push_of_a_dockerfile_goes_live() {
    goes_live("hello-docker", "Dockerfile app detected", "hello-docker v1");
}

#[test]
fn the_first_push_of_a_static_site_goes_live() {
    goes_live("hello-static", "Static", "hello-static v1");
}

#[test]
fn the_first_push_of_a_node_app_goes_live() {
    goes_live("hello-node", "Node.js app detected (package.json)", "hello-node v1");
}

#[test]
fn the_first_push_of_a_node_app_with_dependencies_goes_live() {
    goes_live("node-deps", "Node.js app detected", "an hour is 3600000 ms");
}

#[test]
fn the_first_push_of_a_flask_app_goes_live_without_a_procfile() {
    goes_live("hello-flask", "Python app detected", "hello-flask v1");
}

#[test]
fn the_first_push_of_a_fastapi_app_goes_live() {
    let town = Town::start();
    town.push("hello-fastapi", "sums").succeeds().says("-----> Python app detected").says("-----> Live: v1 serves");
    town.shows("sums", "hello-fastapi v1");
    assert_eq!(town.get("sums", "/sum?a=2&b=40").text(), r#"{"sum":42}"#);
    assert_eq!(town.get("sums", "/sum?a=2&b=x").status, 422);
    town.doctor_is_clean();
}

#[test]
fn the_first_push_of_a_procfile_alone_goes_live() {
    goes_live("hello-shell", "Procfile", "hello-shell v1");
}

#[test]
fn the_first_push_of_the_echo_app_goes_live() {
    goes_live("echo", "Node.js app detected", "echo v1");
}

#[test]
fn a_slow_starter_is_waited_for() {
    goes_live("slow-start", "Procfile", "slow-start v1");
}

#[test]
fn a_worker_stays_at_0_until_it_is_scaled() {
    let town = Town::start();
    let push = town.push("web-worker", "shop");
    push.succeeds().says("at 0: worker (start with `paas ps:scale worker=1`)");
    town.shows("shop", "web-worker v1");
    assert_eq!(town.paas(&["ps", "-a", "shop", "--json"]).json().as_array().map(Vec::len), Some(1));
    town.paas(&["ps:scale", "-a", "shop", "worker=1"]).succeeds().says("web=1 worker=1");
    eventually("the worker's log says what it does", Duration::from_secs(20), || {
        town.paas(&["logs", "-a", "shop", "-p", "worker.1"]).stdout.contains("worked")
    });
    town.doctor_is_clean();
}
