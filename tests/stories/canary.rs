//! A hundred secret values are given to an app that shows them wherever it can; afterwards they are looked for everywhere.
//! They may stand in three places only: an instance's environment as the engine shows it, what a build itself wrote into
//! its files, and the engine's cache.
use crate::harness::{Town, engine};
use std::io::Read;
use std::path::{Path, PathBuf};

/// How every value begins; no other text does.
const CANARY: &str = "canary-b1f7";
const COUNT: usize = 100;

fn values() -> Vec<String> {
    (0..COUNT).map(|n| format!("{CANARY}-{n:03}-{:08x}", n * 2_654_435_761 % 4_294_967_291)).collect()
}

/// Whether the canary is in a stream, read in pieces.
fn is_in(mut stream: impl Read) -> bool {
    let (mut window, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        let read = stream.read(&mut buffer).expect("read a stream");
        if read == 0 {
            return false;
        }
        window.extend_from_slice(&buffer[..read]);
        if window.windows(CANARY.len()).any(|bytes| bytes == CANARY.as_bytes()) {
            return true;
        }
        window.drain(..window.len().saturating_sub(CANARY.len()));
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let below = |path: PathBuf| match std::fs::symlink_metadata(&path) {
        Ok(facts) if facts.is_dir() => files_below(&path),
        Ok(facts) if facts.is_file() => vec![path],
        Ok(_) | Err(_) => Vec::new(),
    };
    paths.flat_map(below).collect()
}

#[test]
fn a_hundred_secret_values_stand_only_where_they_must() {
    let town = Town::start();
    let values = values();
    let work = town.work("node-deps", "blog");
    let package = std::fs::read_to_string(work.path("package.json")).expect("read package.json");
    // The build and the app both say a value aloud, and the installer's step could see none.
    let leaky = package.replace(
        "\"start\": \"node server.js\"",
        "\"build\": \"echo build knows $SECRET_007\", \"start\": \"echo app knows $SECRET_042 && node server.js\"",
    );
    work.write("package.json", &leaky).commit("leak");
    town.paas(&["apps:create", "blog"]).succeeds();
    let lines: Vec<String> = values.iter().enumerate().map(|(n, value)| format!("SECRET_{n:03}={value}")).collect();
    let imported = town.paas_with_input(&["config:import", "-a", "blog"], lines.join("\n").as_bytes());
    imported.succeeds();
    let push = work.push();
    push.succeeds().says("build knows").does_not_say(CANARY);
    let build = town.paas(&["builds:info", "-a", "blog", "--json"]).json();
    assert_eq!(build["reads"].as_array().map(Vec::len), Some(COUNT), "its build is given all, by name: {build}");
    // Other languages are given them too, by steps with caches.
    for sample in ["hello-flask", "hello-rust"] {
        town.paas(&["apps:create", sample]).succeeds();
        town.paas_with_input(&["config:import", "-a", sample], lines.join("\n").as_bytes()).succeeds();
        town.push(sample, sample).succeeds().does_not_say(CANARY);
    }
    let set = town.paas(&["config:set", &format!("SECRET_000={CANARY}-changed"), "-a", "blog"]);
    set.succeeds().says("the build is given SECRET_000 too; `paas builds:run -a blog` builds with the new value");
    town.paas(&["backups:create"]).succeeds();

    for words in [
        vec!["logs", "-n", "10000", "-a", "blog"],
        vec!["builds:info", "-a", "blog"],
        vec!["releases", "-a", "blog", "--json"],
        vec!["releases:info", "v1", "-a", "blog", "--json"],
        vec!["apps:info", "-a", "blog", "--json"],
        vec!["ps", "-a", "blog", "--json"],
        vec!["server:status", "--json"],
        vec!["server:doctor", "--json"],
    ] {
        let said = town.paas(&words);
        assert!(!format!("{said:?}").contains(CANARY), "{said:?}");
    }
    assert!(town.log_of("blog").contains("app knows"), "the app has said it");
    assert!(!town.log().contains(CANARY), "the server's own log");
    let files = files_below(town.home());
    assert!(files.len() > 20, "{} files", files.len());
    for file in &files {
        // What vanished meanwhile holds nothing.
        let Ok(stream) = std::fs::File::open(file) else { continue };
        assert!(!is_in(stream), "{} holds a value", file.display());
    }
    let backups = files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "gz"));
    assert_eq!(backups.clone().count(), 1);
    for backup in backups {
        let plain = std::process::Command::new("gzip").arg("-dc").arg(backup).output().expect("run gzip");
        assert!(plain.status.success() && !is_in(plain.stdout.as_slice()), "the backup holds a value");
    }
    let images = town.engine.images();
    assert!(images.len() >= 3, "{images:?}");
    assert!(!engine::build_cache().contains(CANARY), "the engine describes its cache by a value");
    for image in images {
        assert!(!engine::inspect(&image).to_string().contains(CANARY), "the image's settings");
        assert!(!engine::history(&image).contains(CANARY), "the image's history");
        let mut saving = engine::save(&image);
        assert!(!is_in(saving.stdout.take().expect("standard output is piped")), "a layer of the image");
        assert!(saving.wait().expect("wait for docker save").success());
    }
    let instance = town.engine.instances(&[]).pop().expect("an instance");
    assert!(engine::inspect(&instance)["Config"]["Env"].to_string().contains(&values[99]), "where it has to be");
    town.doctor_is_clean();
}
