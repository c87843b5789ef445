//! Backups of the platform: made, read back, and restored on a machine that has nothing.
use crate::harness::{Outcome, Town, Work, eventually, host_command, run};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PASSPHRASE: &str = "correct horse battery staple";
const SECRET: &str = "canary-5f1c9a";

/// A file for the owner alone.
fn private_file(path: &Path, text: &str) -> String {
    std::fs::write(path, text).expect("write a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("make it private");
    path.display().to_string()
}

fn offline(data_dir: &Path, words: &[&str]) -> Outcome {
    run(host_command(data_dir, words), &words.join(" "), b"")
}

/// The newest backup's file.
fn newest(town: &Town) -> PathBuf {
    let list = town.paas(&["backups", "--json"]).json();
    assert_eq!(list[0]["state"], "good", "{list}");
    town.data_dir().join("backups").join(list[0]["name"].as_str().expect("a name"))
}

#[test]
fn a_backup_is_restored_on_an_empty_machine_and_serves_what_was_live() {
    let shelf = Town::make_home();
    let passphrase = private_file(&shelf.path().join("passphrase"), PASSPHRASE);
    let town = Town::start_with(&[("PAAS_BACKUP_PASSPHRASE_FILE", passphrase.as_str())]);
    let work = town.work("echo", "blog");
    work.push().succeeds();
    town.paas(&["config:set", "-a", "blog", &format!("GREETING={SECRET}")]).succeeds();
    work.set_version("echo v2").push().succeeds();
    let head = work.head();
    town.paas(&["volumes:create", "data", "-a", "blog"]).succeeds();
    town.paas(&["volumes:mount", "data", "/data", "-a", "blog"]).succeeds();
    town.paas(&["run", "-a", "blog", "echo in the volume > /data/note && chmod 640 /data/note"]).succeeds();
    town.paas(&["backups:create"])
        .succeeds()
        .says("encrypted with passphrase")
        .says("and read it back")
        .says("blog stood still for ")
        .says(" s while its volumes were copied");
    let backup = newest(&town);
    let mode = std::fs::metadata(&backup).expect("the backup is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let name = backup.file_name().expect("a file").to_string_lossy().into_owned();
    eventually("the app, which was held still for it, answers", Duration::from_secs(10), || {
        town.try_get("blog", "/").is_ok_and(|answer| answer.status == 200)
    });
    town.paas(&["backups:verify", &name]).succeeds().says("1 apps, 1 repositories, with the sealing key");
    town.doctor_is_clean();

    let kept = shelf.path().join("kept.tar.gz.age");
    std::fs::copy(&backup, &kept).expect("take the backup away");
    let kept = kept.display().to_string();
    let home = Town::make_home();
    for file in ["key", "key.pub"] {
        std::fs::copy(town.home().join(file), home.path().join(file)).expect("take the key along");
    }
    // The old machine is gone, with its containers and images.
    drop(town);
    let data_dir = home.path().join("data");
    offline(&data_dir, &["backups:restore", &kept]).fails_with(1, "it is encrypted; give `--passphrase-file FILE`");
    let wrong = private_file(&shelf.path().join("wrong"), "another passphrase");
    let restore_with = |file: &str| offline(&data_dir, &["backups:restore", &kept, "--passphrase-file", file]);
    restore_with(&wrong).fails_with(1, "another key or passphrase");
    restore_with(&passphrase).succeeds().says("restored 1 apps").says("start the server");
    restore_with(&passphrase).fails_with(1, "add `--replace`");
    let town = Town::in_folder(home, &[]);
    restore_with_server_running(&town, &kept, &passphrase);
    eventually("what was live is built and serves again", Duration::from_mins(2), || {
        town.try_get("blog", "/").is_ok_and(|answer| answer.text().contains("echo v2"))
    });
    town.paas(&["config:get", "GREETING", "-a", "blog"]).succeeds().says(SECRET);
    let note = town.paas(&["run", "-a", "blog", "stat -c %U:%a /data/note && cat /data/note"]);
    note.succeeds().says("app:640\nin the volume");
    let clone = Work::bare_folder(&town, "key");
    clone.git(&["clone", "--quiet", "--origin", "paas", &town.remote("blog"), "."]).succeeds();
    assert_eq!(clone.head(), head);
    town.doctor_is_clean();
    clone.set_version("echo v3").push().succeeds();
    town.shows("blog", "echo v3");
    town.doctor_is_clean();
}

fn restore_with_server_running(town: &Town, backup: &str, passphrase: &str) {
    let words = ["backups:restore", backup, "--passphrase-file", passphrase, "--replace"];
    offline(&town.data_dir(), &words).fails_with(1, "another server runs on");
}

#[test]
fn backups_go_to_standard_output_and_lack_the_sealing_key_when_nothing_encrypts_them() {
    let town = Town::start();
    town.push("hello-shell", "blog").succeeds();
    town.paas(&["config:set", "-a", "blog", &format!("GREETING={SECRET}")]).succeeds();
    town.paas(&["backups:create"]).succeeds().says("it lacks the sealing key");
    let out = town.ssh_command("key", &[], "backups:create --stdout").output().expect("run ssh");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let file = town.home().join("streamed.tar.gz");
    std::fs::write(&file, &out.stdout).expect("keep the backup");
    let path = file.display().to_string();
    town.paas(&["backups:verify", &path]).succeeds().says("is whole").says("without the sealing key");
    // Neither holds a config var's value in the clear, whatever the compression.
    let plain = std::process::Command::new("gzip").args(["-dc", &path]).output().expect("run gzip").stdout;
    assert!(plain.len() > 10_000 && !plain.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
    std::fs::write(&file, &out.stdout[..out.stdout.len() / 2]).expect("cut the backup");
    town.paas(&["backups:verify", &path]).fails_with(1, "cut off");
    let elsewhere = Town::make_home();
    let data_dir = elsewhere.path().join("data");
    std::fs::write(&file, &out.stdout).expect("keep the backup");
    offline(&data_dir, &["backups:restore", &path]).fails_with(1, "lacks the sealing key");
    let other_key = private_file(&elsewhere.path().join("other.key"), &"x".repeat(32));
    offline(&data_dir, &["backups:restore", &path, "--seal-key", &other_key]).fails_with(1, "is the key file the one");
    let key = town.data_dir().join("keys/seal.key").display().to_string();
    offline(&data_dir, &["backups:restore", &path, "--seal-key", &key]).succeeds().says("restored 1 apps");
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(1001));
        town.paas(&["backups:create"]).succeeds();
    }
    assert_eq!(std::fs::read_dir(town.data_dir().join("backups")).expect("the folder").count(), 7);
    town.paas(&["backups:restore", &path]).fails_with(1, "another server runs on");
    town.ssh("backups:restore x").fails_with(1, "a server cannot replace its own state");
    town.doctor_is_clean();
}

#[test]
fn the_nightly_backup_is_made_and_read_back_when_its_time_has_come() {
    let library = crate::harness::faketime();
    // A quarter of a minute before it is due; from then on time goes as it goes.
    let town = Town::start_with(&[
        ("LD_PRELOAD", &library.to_string_lossy()),
        ("FAKETIME", "@2026-01-10 03:09:45"),
        ("TZ", "UTC"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ]);
    assert_eq!(town.paas(&["backups", "--json"]).json().as_array().map(Vec::len), Some(0), "it is not due yet");
    town.push("hello-docker", "blog").succeeds();
    eventually("the server made it by itself", Duration::from_secs(150), || {
        let list = town.paas(&["backups", "--json"]).json();
        list[0]["state"] == "good" && list[0]["made_by"] == "nightly"
    });
    let list = town.paas(&["backups", "--json"]).json();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    let (made, read) = (list[0]["made_at"].as_str(), list[0]["verified_at"].as_str());
    assert!(made.is_some_and(|at| at.starts_with("2026-01-10T03:1")) && read.is_some(), "{list}");
    let name = list[0]["name"].as_str().expect("a name").to_owned();
    town.paas(&["backups:verify", &name]).succeeds().says("1 apps, 1 repositories");
    town.doctor_is_clean();
}
