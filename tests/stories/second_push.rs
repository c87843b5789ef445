//! Later pushes, and everything else that makes a release.
use crate::harness::Town;

#[test]
fn a_second_push_replaces_the_first_and_tells_the_drain() {
    let town = Town::start();
    let work = town.work("hello-docker", "blog");
    work.push().succeeds();
    town.shows("blog", "hello-docker v1");
    work.set_version("hello-docker v2").push().succeeds().says("-----> Live: v2 serves").says("v1 drained");
    town.shows("blog", "hello-docker v2");
    assert_eq!(work.remote_head("main"), Some(work.head()));
    town.doctor_is_clean();
}

#[test]
fn the_same_tree_pushed_again_is_deployed_without_a_build() {
    let town = Town::start();
    let work = town.work("hello-shell", "blog");
    work.push().succeeds().does_not_say("no build needed");
    work.commit("nothing changed").push().succeeds().says("Same tree, same settings: no build needed").says("Live: v2");
    let again = work.push();
    again.succeeds().says("Everything up-to-date");
    town.doctor_is_clean();
}

#[test]
fn a_rollback_brings_back_what_was_live_before() {
    let town = Town::start();
    let work = town.work("hello-docker", "blog");
    for version in ["one", "two", "three"] {
        work.set_version(version).push().succeeds();
    }
    town.paas(&["rollback", "-a", "blog"]).succeeds().says("Rolling back to v2").says("Live: v4 serves");
    town.shows("blog", "two");
    town.paas(&["rollback", "v1", "-a", "blog"]).succeeds().says("Rolling back to v1");
    town.shows("blog", "one");
    assert_eq!(work.remote_head("main"), Some(work.head()), "a rollback leaves the branch where it is");
    town.paas(&["rollback", "v9", "-a", "blog"]).fails_with(1, "v9");
    town.doctor_is_clean();
}

#[test]
fn a_config_change_makes_a_release_and_the_app_sees_it() {
    let town = Town::start();
    let work = town.work("hello-docker", "blog");
    // The sample shows VERSION; this one shows a config var.
    let server = std::fs::read_to_string(work.path("server.pl")).expect("read the sample");
    work.write_script(
        "server.pl",
        &server.replace("close $file;", "close $file; $version .= $ENV{GREETING} // 'none';"),
    );
    work.commit("greet").push().succeeds();
    town.shows("blog", "none");
    town.paas(&["config:set", "GREETING=good morning", "-a", "blog"]).succeeds();
    town.shows("blog", "good morning");
    town.paas(&["releases", "-a", "blog"]).succeeds().says("v2");
    town.paas(&["config:unset", "GREETING", "-a", "blog"]).succeeds();
    town.shows("blog", "none");
    town.doctor_is_clean();
}

#[test]
fn config_set_before_the_first_push_is_there_when_it_comes() {
    let town = Town::start();
    town.paas(&["apps:create", "blog"]).succeeds();
    town.paas(&["config:set", "WORD=early", "-a", "blog"]).succeeds();
    town.paas(&["releases", "-a", "blog"]).succeeds().says("no releases yet");
    let work = town.work("hello-shell", "blog");
    work.write("Procfile", "web: echo $WORD > VERSION && exec ./server.pl $PORT\n").commit("say it");
    work.push().succeeds().says("Live: v1");
    town.shows("blog", "early");
    assert_eq!(town.paas(&["config:get", "WORD", "-a", "blog"]).succeeds().stdout.trim(), "early");
    town.doctor_is_clean();
}

#[test]
fn a_change_of_port_is_followed() {
    let town = Town::start();
    town.push("hello-shell", "blog").succeeds().says("on port 5000");
    town.paas(&["config:set", "PORT=7777", "-a", "blog"]).succeeds().says("on port 7777");
    town.shows("blog", "hello-shell v1");
    town.paas(&["config:set", "PORT=nonsense", "-a", "blog"]).fails_with(1, "PORT");
    town.shows("blog", "hello-shell v1");
    town.doctor_is_clean();
}

#[test]
fn the_one_port_that_an_image_exposes_is_its_port() {
    let town = Town::start();
    let work = town.work("hello-docker", "blog");
    let recipe = std::fs::read_to_string(work.path("Dockerfile")).expect("read the sample");
    work.write("Dockerfile", &format!("{recipe}EXPOSE 8080\n")).commit("expose");
    work.push().succeeds().says("on port 8080");
    town.shows("blog", "hello-docker v1");
    town.doctor_is_clean();
}

#[test]
fn a_force_push_deploys() {
    let town = Town::start();
    let work = town.work("hello-docker", "blog");
    work.push().succeeds();
    work.set_version("two").push().succeeds();
    work.git(&["reset", "--quiet", "--hard", "HEAD~1"]).succeeds();
    work.set_version("instead").push().fails_with("[rejected]");
    town.shows("blog", "two");
    work.push_with(&["--force", "main"]).succeeds().says("forced update");
    town.shows("blog", "instead");
    town.doctor_is_clean();
}

#[test]
fn a_shallow_clone_can_push() {
    let town = Town::start();
    let work = town.work("hello-docker", "blog");
    work.set_version("two").set_version("three");
    let shallow = work.copy_of(&town, &["--depth=1"]);
    shallow.push().succeeds();
    town.shows("blog", "three");
    shallow.set_version("four").push().succeeds();
    town.shows("blog", "four");
    town.doctor_is_clean();
}

#[test]
fn an_app_can_be_cloned_back() {
    let town = Town::start();
    let work = town.work("hello-docker", "blog");
    work.push().succeeds();
    let clone = crate::harness::Work::bare_folder(&town, "key");
    clone.git(&["clone", "--quiet", &town.remote("blog"), "."]).succeeds();
    assert_eq!(clone.head(), work.head());
    let refs = clone.git(&["ls-remote", "origin"]).stdout;
    assert!(!refs.contains("refs/paas"), "{refs}");
    town.doctor_is_clean();
}
