//! Heroku's classic buildpacks: the app's own, and others that are fetched by https.
use crate::harness::{Forge, Town, engine, eventually};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CANARY: &str = "canary-7d20-for-buildpacks";

/// The small buildpack of the tests, as a copy that a test may change.
fn buildpack(town: &Town) -> PathBuf {
    let copy = town.home().join("buildpack");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("buildpack");
    let copied = std::process::Command::new("cp").arg("-R").arg(source).arg(&copy).status();
    assert!(copied.expect("start cp").success());
    std::os::unix::fs::symlink("words", copy.join("lib/link")).expect("make a symlink");
    copy
}

fn is_in_a_layer(image: &str, text: &str) -> bool {
    let mut layers = Vec::new();
    let mut saving = engine::save(image);
    saving.stdout.take().expect("standard output is piped").read_to_end(&mut layers).expect("read the layers");
    assert!(saving.wait().expect("wait for docker save").success());
    layers.windows(text.len()).any(|bytes| bytes == text.as_bytes())
}

#[test]
fn an_app_is_built_by_its_own_buildpack_whose_cache_and_profile_are_there() {
    let town = Town::start();
    let work = town.work("hello-buildpack", "hello");
    town.paas(&["apps:create", "hello"]).succeeds();
    town.paas(&["config:set", &format!("SECRET={CANARY}"), "-a", "hello"]).succeeds();
    let push = work.push();
    push.succeeds()
        .says("-----> Buildpack app detected (bin/detect, bin/compile)")
        .says("-----> Hello app detected")
        .says(&format!("own: in /tmp/build as /app of heroku-24, commit {}", &work.head()[..7]))
        .says("own: build 1")
        .says(&format!("own: SECRET has {} bytes", CANARY.len()))
        .says("process types: greeter, web")
        .does_not_say(CANARY);
    town.shows("hello", "hello-buildpack v1");
    for image in town.engine.images() {
        assert!(!is_in_a_layer(&image, CANARY), "a layer of {image} holds the value");
        assert!(!engine::history(&image).contains(CANARY), "the history of {image} holds the value");
    }
    work.set_version("hello-buildpack v2").push().succeeds().says("own: build 2");
    town.shows("hello", "hello-buildpack v2");

    // What it left in .profile.d is there for every kind of process.
    town.paas(&["run", "-a", "hello", "--", "sh", "-c", "echo $GREETING of $DYNO"])
        .succeeds()
        .says("hello from the profile of run.");
    town.paas(&["run", "-a", "hello", "echo $GREETING"]).succeeds().says("hello from the profile");
    town.paas(&["ps:scale", "greeter=1", "-a", "hello"]).succeeds();
    eventually("the greeter greets", Duration::from_secs(30), || {
        town.paas(&["logs", "-a", "hello", "-p", "greeter.1"]).stdout.contains("hello from the profile")
    });
    // A Procfile goes before bin/release, and keeps its other types.
    work.write("Procfile", "release: echo released with $GREETING\nweb: exec ./server.pl $PORT\n").commit("Procfile");
    work.push().succeeds().says("released with hello from the profile").says("process types: greeter, web");
    town.doctor_is_clean();
}

#[test]
fn several_buildpacks_are_fetched_pinned_and_run_in_their_order() {
    let forge = Forge::start();
    let environment = forge.environment();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let town = Town::start_with(&environment);
    let folder = buildpack(&town);
    let first = forge.publish(&folder, "tool.git");
    let work = town.work("hello-buildpack", "hello");
    let compile = std::fs::read_to_string(work.path("bin/compile")).expect("read bin/compile");
    work.write_script("bin/compile", &format!("{compile}echo \"       own: $(tool from export)\"\n"));
    work.write(".buildpacks", &format!("{}\n.\n", forge.url("tool.git"))).commit("with a tool");
    let push = work.push();
    push.succeeds()
        .says("-----> Buildpack app detected (.buildpacks)")
        .says(&format!("{} is {}", forge.url("tool.git"), &first[..12]))
        .says("-----> Tool app detected")
        .says("tool: words of v1, words")
        .says("-----> Hello app detected")
        .says("own: tool says from export");
    town.shows("hello", "hello-buildpack v1");
    town.paas(&["run", "-a", "hello", "tool at run time"]).succeeds().says("tool says at run time");
    let info = town.paas(&["releases:info", "v1", "-a", "hello", "--json"]).json();
    assert_eq!(info["buildpacks"][0]["pin"], first.as_str(), "{info}");
    assert_eq!(info["buildpacks"][1]["source"], "./", "{info}");

    // The same tree and the same buildpacks need no build; another commit of one of them does.
    work.commit("nothing").push().succeeds().says("no build needed");
    std::fs::write(folder.join("lib/words"), "words of v2\n").expect("write a file");
    let second = forge.publish(&folder, "tool.git");
    work.commit("still nothing").push().succeeds().says("tool: words of v2").says("before me builds tool-was-here");
    assert_ne!(first, second);
    // By a command, at a commit that was; it wins over the file.
    let old = format!("{}#{first}", forge.url("tool.git"));
    town.paas(&["builds:buildpacks", "set", &old, ".", "-a", "hello"]).succeeds().says("is built by:");
    work.commit("go back").push().succeeds().says("tool: words of v1");
    // As an archive, with a folder around it.
    forge.pack(&folder, "tool.tgz");
    town.paas(&["buildpacks", "remove", &old, "-a", "hello"]).succeeds();
    town.paas(&["buildpacks", "add", "--index", "1", &forge.url("tool.tgz"), "-a", "hello"]).succeeds();
    let listed = town.paas(&["builds:buildpacks", "-a", "hello", "--json"]).json();
    assert_eq!(listed, serde_json::json!([forge.url("tool.tgz"), "."]));
    work.commit("packed").push().succeeds().says("app detected (paas builds:buildpacks)").says("tool: words of v2");
    town.doctor_is_clean();
}

#[test]
fn a_buildpack_that_cannot_be_had_or_says_no_refuses_the_push_with_the_way_out() {
    let forge = Forge::start();
    let environment = forge.environment();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let town = Town::start_with(&environment);
    let folder = buildpack(&town);
    forge.publish(&folder, "tool.git");
    let work = town.work("hello-buildpack", "hello");
    town.paas(&["apps:create", "hello"]).succeeds();
    let refused = |list: &str, words: &str| {
        work.write(".buildpacks", &format!("{list}\n")).commit("another list").push().fails_with(words);
    };
    refused("https://127.0.0.2:1/tool.git", "127.0.0.2:1 is not among the hosts that builds may fetch from");
    refused("https://github.invalid/tool.git", "the server's setting `fetch_allow` lists them");
    refused(&forge.url("nothing.git"), "404");
    refused(&format!("{}#v9", forge.url("tool.git")), "it has no branch or tag v9");
    refused(&format!("{}#{}", forge.url("tool.git"), "1".repeat(40)), "cannot fetch the buildpack");
    refused(&forge.url("redirect/tool.git"), "sent us on to https://elsewhere.example/: write that address");
    refused("./tool", "the buildpack in the folder ./tool has no tool/bin/detect");
    refused("heroku/clojure", ".buildpacks line 1: `heroku/clojure` is a name of Heroku's registry");
    town.paas(&["builds:buildpacks", "set", "http://a.example/b", "-a", "hello"]).fails_with(1, "by https alone");
    work.write(".buildpacks", ".\n").write_script("bin/detect", "#!/bin/sh\nexit 1\n").commit("says no");
    work.push().fails_with("App not compatible with buildpack ./");
    assert!(town.engine.images().is_empty(), "nothing is left");
    town.doctor_is_clean();
}
