//! Languages whose own registries are not asked here: apps that need nothing but what Debian, npm and PyPI have.
use crate::harness::Town;

/// Pushes a sample, visits it, and does both again after a change.
fn goes_live_twice(sample: &str, said: [&str; 2]) {
    let town = Town::start();
    let work = town.work(sample, sample);
    let push = work.push();
    push.succeeds().says("-----> Live: v1 serves");
    for text in said {
        push.says(text);
    }
    town.shows(sample, &format!("{sample} v1"));
    work.set_version(&format!("{sample} v2")).push().succeeds();
    town.shows(sample, &format!("{sample} v2"));
    town.doctor_is_clean();
}

#[test]
fn a_ruby_app_with_webrick_of_debian_goes_live() {
    goes_live_twice("hello-ruby", ["Ruby app detected (Gemfile)", "Debian packages: ruby-webrick (Aptfile)"]);
}

#[test]
fn a_php_app_without_packages_goes_live() {
    goes_live_twice("hello-php", ["PHP app detected", "nginx and php-fpm serve /app/public"]);
}

#[test]
fn a_java_app_without_maven_goes_live() {
    goes_live_twice("hello-java", ["Java app detected (Main.java)", "javac"]);
}

#[test]
fn an_elixir_app_without_dependencies_goes_live_as_a_release() {
    goes_live_twice("hello-elixir", ["Elixir app detected (mix.exs)", "mix.exs describes a release"]);
}

#[test]
fn a_go_newer_than_debians_comes_from_its_backports_and_one_that_nobody_has_is_told() {
    let town = Town::start();
    let work = town.work("hello-go", "hello-go");
    let module = std::fs::read_to_string(work.path("go.mod")).expect("read go.mod");
    let asking = |version: &str| module.replace("go 1.24", &format!("go {version}"));
    work.write("go.mod", &asking("1.26.3")).commit("newer").push().succeeds().says("Debian's backports satisfy go.mod");
    town.shows("hello-go", "hello-go v1");
    work.write("go.mod", &asking("1.99.3")).commit("too new");
    work.push().fails_with("exited with status").says("go1.99.3 cannot be fetched from Go's module proxy");
    town.shows("hello-go", "hello-go v1");
    town.doctor_is_clean();
}

#[test]
fn a_deno_app_with_a_package_of_npm_goes_live() {
    let town = Town::start();
    town.push("hello-deno", "hello-deno").succeeds().says("-----> Deno app detected (deno.json)").says("tasks.start");
    town.shows("hello-deno", "hello-deno v1");
    assert_eq!(town.get("hello-deno", "/span").text(), "172800000");
    town.doctor_is_clean();
}

#[test]
fn a_node_from_long_ago_comes_from_the_npm_registry_and_stays() {
    let town = Town::start();
    let work = town.work("hello-node14", "hello-node14");
    work.push().succeeds().says("the npm registry's node satisfies engines.node \"14.x\"");
    let shown = town.get("hello-node14", "/node").text();
    assert!(shown.starts_with("v14.") && shown.ends_with(", 172800000"), "{shown}");

    // Who asks for none any more goes on with it.
    let package = std::fs::read_to_string(work.path("package.json")).expect("read package.json");
    work.write("package.json", &package.replace("  \"engines\": { \"node\": \"14.x\" },\n", "")).commit("any node");
    work.push().succeeds().says("as the release before, package.json has no engines.node");
    assert!(town.get("hello-node14", "/node").text().starts_with("v14."));
    town.paas(&["releases:info", "v2", "-a", "hello-node14"]).succeeds().says("versions node 14.");
    town.doctor_is_clean();
}

#[test]
fn a_python_of_an_older_debian_serves_and_one_that_cannot_be_had_is_told() {
    let town = Town::start();
    let work = town.work("hello-python39", "hello-python39");
    work.push().succeeds().says("Debian bullseye's python3").says("gets no security updates any more");
    town.shows("hello-python39", "python 3.9");
    // It depends on the network whether uv finds one.
    let push = work.write(".python-version", "3.12\n").commit("another").push();
    if push.stderr.contains("-----> Live: v2 serves") {
        town.shows("hello-python39", "python 3.12");
    } else {
        push.fails_with("Python 3.12 cannot be had: Debian has none, and uv does not reach where it is published");
        town.shows("hello-python39", "python 3.9");
    }
    town.doctor_is_clean();
}
