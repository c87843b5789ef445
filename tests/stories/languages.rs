//! Languages and their package managers: built by their real tools, from the real registries where they need any.
use crate::harness::{Town, Work};

/// Pushes a sample to an app of the same name and visits it.
fn goes_live(town: &Town, sample: &str, said: &[&str]) -> Work {
    let work = town.work(sample, sample);
    let push = work.push();
    push.succeeds().says("-----> Live: v1 serves");
    for text in said {
        push.says(text);
    }
    town.shows(sample, &format!("{sample} v1"));
    work
}

#[test]
fn a_go_app_is_built_from_its_vendored_modules_and_then_from_what_is_cached() {
    let town = Town::start();
    let work = goes_live(&town, "hello-go", &["-----> Go app detected", "vendor/"]);
    work.set_version("hello-go v2").push().succeeds();
    town.shows("hello-go", "hello-go v2");
    town.doctor_is_clean();
}

/// cargo goes by file times; what it left in its cache must not be taken for what was reverted to.
#[test]
fn a_reverted_rust_app_is_not_served_from_a_stale_program() {
    let town = Town::start();
    let work = goes_live(&town, "hello-rust", &["-----> Rust app detected", "itoa"]);
    work.set_version("hello-rust v2").push().succeeds();
    town.shows("hello-rust", "hello-rust v2");
    work.set_version("hello-rust v1").write("NOTES", "so that it is built again");
    work.commit("go back").push().succeeds();
    town.shows("hello-rust", "hello-rust v1");
    town.doctor_is_clean();
}

/// A tree that was built before comes out of the engine's cache with the times of then, older than what cargo has made since
/// of another tree. A value that the build is given makes cargo run over it all the same.
#[test]
fn a_rust_app_whose_sources_are_older_than_what_cargo_has_cached_is_compiled_anew() {
    let town = Town::start();
    let work = goes_live(&town, "hello-rust", &[]);
    let tree = |commit: &str| work.git(&["rev-parse", &format!("{commit}^{{tree}}")]).succeeds().stdout.clone();
    let first = tree("HEAD");
    work.set_version("hello-rust v2").push().succeeds();
    town.shows("hello-rust", "hello-rust v2");
    town.paas(&["config:set", "CARGO_NET_RETRY=3", "-a", "hello-rust"]).succeeds();
    let push = work.set_version("hello-rust v1").push();
    assert_eq!(tree("HEAD"), first, "the very same files");
    push.succeeds().does_not_say("no build needed");
    town.shows("hello-rust", "hello-rust v1");
    town.doctor_is_clean();
}

#[test]
fn node_apps_are_installed_and_built_by_the_manager_of_their_lockfile() {
    let town = Town::start();
    for (sample, agent) in
        [("hello-pnpm", "pnpm/"), ("hello-yarn", "yarn/1."), ("hello-berry", "yarn/4.9.1"), ("hello-bun", "bun/")]
    {
        goes_live(&town, sample, &["-----> Node.js app detected"]);
        let built = town.get(sample, "/built").text();
        assert!(built.starts_with(&format!("built by {agent}")) && built.ends_with(", 172800000 ms"), "{built}");
    }
    town.doctor_is_clean();
}

#[test]
fn pages_that_a_build_leaves_are_served_and_unknown_paths_are_the_pages_own_matter() {
    let town = Town::start();
    let work = town.work("hello-vite", "pages");
    work.push().succeeds().says("-----> Node.js app detected").says("-----> Live: v1 serves");
    let page = town.get("pages", "/").text();
    let script = page.split('"').find(|part| part.starts_with("/assets/")).expect("a script with a name of its own");
    assert!(town.get("pages", script).text().contains("hello-vite v1"));
    assert_eq!(town.get("pages", "/a/page/of/its/own").text(), page);
    town.doctor_is_clean();
}

#[test]
fn python_apps_are_installed_by_the_manager_of_their_lockfile() {
    let town = Town::start();
    for (sample, said) in [
        ("hello-uv", "uv.lock"),
        ("hello-poetry", "poetry.lock"),
        ("hello-pipenv", "Pipfile.lock"),
        ("hello-pdm", "pdm.lock"),
    ] {
        goes_live(&town, sample, &["-----> Python app detected", said]);
    }
    town.doctor_is_clean();
}
