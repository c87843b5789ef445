//! What builds keep from one to the next: each app's own, purged by a word, and gone with the app.
use crate::harness::{Town, engine};
use sha2::{Digest, Sha256};

/// The mark on the caches of the app that the newest image is of, in this generation.
fn mark(town: &Town, generation: u32) -> String {
    let image = town.engine.images().remove(0);
    let name = engine::inspect(&image)["RepoTags"][0].as_str().expect("a name").to_owned();
    let key = name.trim_start_matches("paas/").split(':').next().expect("the app's key").to_owned();
    let hash = Sha256::digest(format!("build caches of {key}"));
    let owner = u64::from_be_bytes(hash[..8].try_into().expect("eight bytes"));
    format!(" # cache {owner:016x}-{generation}")
}

#[test]
fn a_purged_cache_is_gone_and_the_next_build_begins_with_another() {
    let town = Town::start();
    let work = town.work("node-deps", "blog");
    work.push().succeeds().does_not_say("# cache");
    let (first, second) = (mark(&town, 0), mark(&town, 1));
    assert!(engine::cache_mounts().contains(&first), "the engine's cache carries the mark {first}");
    let report = town.paas(&["server:status", "--json"]).json();
    assert!(report["disk"]["apps"][0]["caches_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{report}");
    town.paas(&["server:status"]).succeeds().says("CACHES");

    town.paas(&["builds:purge-cache", "-a", "blog"]).succeeds().says("begins with empty caches;").says("freed");
    assert!(!engine::cache_mounts().contains(&first), "what was there is gone");
    work.commit("the same tree").push().succeeds().does_not_say("no build needed").says("npm ci");
    assert!(engine::cache_mounts().contains(&second) && !engine::cache_mounts().contains(&first));

    town.paas(&["apps:destroy", "blog", "--confirm", "blog"]).succeeds();
    crate::harness::eventually("its caches go with the app", std::time::Duration::from_secs(30), || {
        !engine::cache_mounts().contains(&second)
    });
    town.doctor_is_clean();
}

/// Two Dockerfiles that name the same folder and no id would share it, were they built by hand.
#[test]
fn the_caches_of_an_apps_own_dockerfile_are_its_own_too() {
    let town = Town::start();
    let (mine, theirs) = (town.work("hello-docker", "mine"), town.work("hello-docker", "theirs"));
    let dockerfile = |who: &str, n: u32| {
        format!(
            "FROM debian:trixie-slim\nRUN --mount=type=cache,target=/kept echo {n}; cat /kept/who || true; echo {who} >>/kept/who\n\
             COPY server.pl VERSION ./\nUSER nobody\nCMD [\"./server.pl\"]\n"
        )
    };
    mine.write("Dockerfile", &dockerfile("it-was-mine", 1)).commit("keep").push().succeeds();
    let push = theirs.write("Dockerfile", &dockerfile("it-was-theirs", 1)).commit("look").push();
    push.succeeds().does_not_say("it-was-mine\n");
    let kept = mine.write("Dockerfile", &dockerfile("again", 2)).commit("look").push();
    kept.succeeds().says("  it-was-mine");
    town.paas(&["builds:purge-cache", "-a", "mine"]).succeeds();
    let purged = mine.write("Dockerfile", &dockerfile("again", 3)).commit("look again").push();
    purged.succeeds().does_not_say("  it-was-mine");
    town.doctor_is_clean();
}
