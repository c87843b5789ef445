//! Releases of images that were built elsewhere: in a registry, or sent as a file.
use crate::harness::{Registry, Town, engine, run};
use std::io::Read as _;
use tempfile::TempDir;

/// A folder that CI would build.
fn sources(version: &str, dockerfile: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("make a folder");
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("apps/hello-docker");
    std::fs::copy(sample.join("server.pl"), folder.path().join("server.pl")).expect("copy server.pl");
    std::fs::write(folder.path().join("VERSION"), version).expect("write VERSION");
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).expect("write Dockerfile");
    folder
}

const DOCKERFILE: &str = "FROM debian:trixie-slim\nWORKDIR /srv\nCOPY server.pl VERSION ./\nUSER nobody\nEXPOSE 7070\nCMD [\"./server.pl\"]\n";

fn built(version: &str, reference: &str) -> String {
    engine::build(sources(version, DOCKERFILE).path(), reference)
}

fn town_beside(registry: &Registry, more: &[(&str, &str)]) -> Town {
    let address = registry.address.to_string();
    let town = Town::start_with(&[&[("PAAS_FETCH_ALLOW", address.as_str())], more].concat());
    town.paas(&["apps:create", "blog"]).succeeds();
    town
}

/// The command on the host, and what it is told by `paas releases:from-image -` over SSH.
fn send(town: &Town, archive: &[u8]) -> crate::harness::Outcome {
    let command = town.ssh_command("key", &[], "releases:from-image -a blog -");
    run(command, "ssh releases:from-image -", archive)
}

#[test]
fn an_image_that_ci_pushed_is_released_pinned_and_gone_back_to() {
    let registry = Registry::start();
    let town = town_beside(&registry, &[]);
    let name = registry.name("ci/blog:latest");
    built("from ci v1", &name);
    engine::publish(&name, "/nonexistent");
    let first = town.paas(&["releases:from-image", &name, "-a", "blog"]);
    first.succeeds().says("-----> Pulling").says("sha256:").says("on port 7070");
    town.shows("blog", "from ci v1");
    let info = town.paas(&["releases:info", "v1", "-a", "blog", "--json"]).json();
    let pinned = info["source"].as_str().expect("a source").to_owned();
    assert!(pinned.starts_with(&format!("{name}@sha256:")) && pinned.len() == name.len() + 72, "{pinned}");
    assert!(info["commit"].is_null(), "{info}");
    assert_eq!(info["processes"]["web"], "(the image's own command)");

    // The tag means something else now; what is pinned does not.
    built("from ci v2", &name);
    engine::publish(&name, "/nonexistent");
    town.ssh(&format!("releases:from-image -a blog {name}")).succeeds().says("-----> Live: v2 serves");
    town.shows("blog", "from ci v2");
    town.paas(&["config:set", "A=b", "-a", "blog"]).succeeds();
    let third = town.paas(&["releases:info", "v3", "-a", "blog", "--json"]).json();
    assert!(third["source"].as_str().is_some_and(|source| source != pinned), "{third}");
    town.paas(&["rollback", "v1", "-a", "blog"]).succeeds();
    town.shows("blog", "from ci v1");
    let by_digest = pinned.replace(":latest@", "@");
    town.paas(&["releases:from-image", &by_digest, "-a", "blog"]).succeeds();
    town.shows("blog", "from ci v1");

    let names = engine::image_names();
    let left =
        names.iter().filter(|name| name.starts_with("paas-guest/") || name.contains(&registry.address.to_string()));
    assert_eq!(left.count(), 0, "{names:?}");
    assert_eq!(town.engine.images().len(), 3, "one image for each of the three that were brought");
    town.doctor_is_clean();
}

#[test]
fn an_archive_on_standard_input_is_released_and_names_in_it_move_nothing() {
    let registry = Registry::start();
    let town = town_beside(&registry, &[]);
    town.work("hello-docker", "other").push().succeeds();
    let theirs = town.engine.images().pop().expect("an image");
    let their_name = engine::inspect(&theirs)["RepoTags"][0].as_str().expect("its name").to_owned();
    let base = engine::image_id("debian:trixie-slim");
    let name = format!("paas-test/archive-{}:1", std::process::id());
    built("from a file", &name);
    let archive = renamed(&engine::saved(&name), &["debian:trixie-slim", &their_name, &name]);
    engine::untag(&name);

    send(&town, &archive).succeeds().says("-----> Loading the image").says("-----> Live: v1 serves");
    town.shows("blog", "from a file");
    assert_eq!(engine::image_id("debian:trixie-slim"), base, "the base image is what it was");
    assert_eq!(engine::image_id(&their_name), theirs, "the other app's image is what it was");
    assert_eq!(engine::image_id(&name), "", "and the archive's own name is not there either");
    town.shows("other", "hello-docker v1");
    let source = town.paas(&["releases:info", "v1", "-a", "blog", "--json"]).json()["source"].clone();
    assert!(source.as_str().is_some_and(|source| source.starts_with("archive@sha256:")), "{source}");

    let mut packed = std::process::Command::new("gzip");
    packed.arg("-1c");
    // Packed, and from the host.
    let packed = pipe_through(packed, &archive);
    town.paas_with_input(&["releases:from-image", "-", "-a", "blog"], &packed).succeeds().says("Live: v2");
    assert!(!engine::image_names().iter().any(|name| name.starts_with("paas-guest/")));
    town.doctor_is_clean();
}

#[test]
fn what_is_no_image_to_run_is_refused_and_leaves_nothing() {
    let registry = Registry::start();
    let town = town_beside(&registry, &[]);
    town.work("hello-docker", "other").push().succeeds();
    let theirs = town.engine.images().pop().expect("an image");
    let their_name = engine::inspect(&theirs)["RepoTags"][0].as_str().expect("its name").to_owned();
    let from_image = |image: &str| town.paas(&["releases:from-image", image, "-a", "blog"]);

    from_image(&their_name).fails_with(1, "a server like this one made it for one of its apps");
    from_image(&theirs).fails_with(2, "is the id of an image");
    from_image(theirs.trim_start_matches("sha256:")).fails_with(2, "is the id of an image");
    send(&town, &engine::saved(&their_name)).fails_with(1, "carries the label paas.installation");
    // The same by way of a registry.
    let copied = registry.name("ci/stolen:1");
    let folder = tempfile::tempdir().expect("make a folder");
    std::fs::write(folder.path().join("Dockerfile"), format!("FROM {their_name}\n")).expect("write Dockerfile");
    engine::build(folder.path(), &copied);
    engine::publish(&copied, "/nonexistent");
    from_image(&copied).fails_with(1, "carries the label paas.installation");

    for (path, dockerfile, words) in [
        ("nothing", "FROM debian:trixie-slim\nCMD []\nENTRYPOINT []\n", "neither CMD nor ENTRYPOINT"),
        ("trigger", "FROM debian:trixie-slim\nONBUILD RUN touch /x\nCMD [\"true\"]\n", "has ONBUILD steps"),
    ] {
        let name = registry.name(&format!("ci/{path}:1"));
        engine::build(sources("x", dockerfile).path(), &name);
        engine::publish(&name, "/nonexistent");
        from_image(&name).fails_with(1, words);
    }
    from_image(&registry.name("ci/nowhere:1")).fails_with(1, "ci/nowhere:1");
    for (name, address) in [("127.0.0.1:1", "127.0.0.1:1"), ("127.1:2", "127.0.0.1:2"), ("[::1]:3", "[::1]:3")] {
        let words = format!("write \"{address}\" into `fetch_allow`");
        from_image(&format!("{name}/x:1")).fails_with(1, "no public address").fails_with(1, &words);
    }
    from_image("localhost:1/x:1").fails_with(1, "the registry localhost:1 leads to");
    from_image("Not An Image").fails_with(2, "is no image of a registry");
    send(&town, b"").fails_with(1, "nothing on standard input");
    send(&town, b"hello").fails_with(1, "this is no image archive");
    town.paas(&["apps:destroy", "other", "--confirm", "other"]).succeeds();
    town.paas(&["releases:from-image", &copied, "-a", "other"]).fails_with(1, "other");
    town.paas(&["releases", "-a", "blog"]).succeeds().says("has no releases yet");
    assert!(!engine::image_names().iter().any(|name| name.starts_with("paas-guest/")));
    town.doctor_is_clean();
}

#[test]
fn a_private_registry_is_asked_with_the_login_that_the_server_was_given() {
    let registry = Registry::start_private();
    let name = registry.name("ci/secret:1");
    built("behind a login", &name);
    engine::publish(&name, &registry.docker_config());
    let stranger = town_beside(&registry, &[]);
    stranger.paas(&["releases:from-image", &name, "-a", "blog"]).fails_with(1, "`registry_auth_file`");
    drop(stranger);
    let town = town_beside(&registry, &[("PAAS_REGISTRY_AUTH_FILE", &registry.login_file())]);
    town.paas(&["releases:from-image", &name, "-a", "blog"]).succeeds();
    town.shows("blog", "behind a login");
    assert!(!town.log().contains("sesame"));
    town.doctor_is_clean();
}

/// The archive with other names in its manifest and in `repositories`.
fn renamed(archive: &[u8], names: &[&str]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(archive).entries().expect("a tar file") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").into_owned();
        let mut header = entry.header().clone();
        if entry.link_name().expect("a link").is_some() {
            let target = entry.link_name().expect("a link").expect("a target").into_owned();
            out.append_link(&mut header, &path, target).expect("write a link");
            continue;
        }
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).expect("read an entry");
        if path.ends_with("manifest.json") {
            let mut manifest: serde_json::Value = serde_json::from_slice(&contents).expect("a manifest");
            manifest[0]["RepoTags"] = names.iter().map(|name| serde_json::Value::from(*name)).collect();
            contents = manifest.to_string().into_bytes();
        }
        if path.ends_with("repositories") {
            contents = br#"{"debian": {"trixie-slim": "0123"}}"#.to_vec();
        }
        header.set_size(contents.len() as u64);
        out.append_data(&mut header, &path, contents.as_slice()).expect("write an entry");
    }
    out.into_inner().expect("end the archive")
}

fn pipe_through(mut command: std::process::Command, input: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().expect("make a file");
    std::fs::write(file.path(), input).expect("write a file");
    command.stdin(std::fs::File::open(file.path()).expect("open it")).output().expect("run a program").stdout
}
