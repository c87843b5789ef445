//! The database is locked by somebody, cannot be written, or is damaged: apps serve on, and everybody is told what it is.
use super::{ends_within, is_long, push_named, while_asking};
use crate::harness::{Town, eventually};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn while_another_process_locks_the_database_apps_serve_and_changes_wait() {
    let town = Town::start();
    let work = push_named(&town, "blog");
    let lock_secs = if is_long() { 30 } else { 8 };
    let program = format!(
        "import sqlite3, sys, time\nc = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)\n\
         c.execute('BEGIN EXCLUSIVE')\nprint('locked', flush=True)\ntime.sleep({lock_secs})\nc.execute('ROLLBACK')\n"
    );
    let mut python = Command::new("python3");
    python.args(["-c", &program]).arg(town.data_dir().join("paas.db")).stdout(Stdio::piped());
    let mut locker = python.spawn().expect("start python3");
    let mut said = String::new();
    BufReader::new(locker.stdout.take().expect("it is piped")).read_line(&mut said).expect("read what it says");
    assert_eq!(said.trim(), "locked");
    let begun = Instant::now();
    let ((), witness) = while_asking(&town, &["blog"], || {
        ends_within(&town, Duration::from_secs(5), &["apps"]).succeeds().says("blog");
        let set = ends_within(&town, Duration::from_secs(45), &["apps:create", "new"]);
        assert!(begun.elapsed() > Duration::from_secs(lock_secs - 2), "it was not locked");
        if set.code != Some(0) {
            set.fails_with(1, "the database is locked by another process");
        }
        locker.wait().expect("wait for python3");
    });
    assert!(witness.failed.is_empty(), "{} of {}: {:?}", witness.failed.len(), witness.asked, witness.failed);
    work.commit("again").push().succeeds();
    town.doctor_is_clean();
}

#[test]
fn a_damaged_database_is_told_with_the_way_out_and_apps_serve_on() {
    let mut town = Town::start();
    push_named(&town, "blog");
    // Everything is in the file itself, not in its journal.
    town.start_again(&[]);
    let file = town.data_dir().join("paas.db");
    let sound = std::fs::read(&file).expect("read the database");
    damage(&file, sound.len());
    let ((), witness) = while_asking(&town, &["blog"], || {
        eventually("the doctor finds it", Duration::from_secs(20), || {
            let doctor = town.paas(&["server:doctor"]);
            doctor.code == Some(1) && doctor.stdout.contains("stop the server and restore paas.db from a backup")
        });
    });
    assert!(witness.failed.is_empty(), "{} of {}: {:?}", witness.failed.len(), witness.asked, witness.failed);
    town.kill9();
    let mut server = Command::new(town.paas_command(&[]).get_program());
    server.args([
        "server",
        "--http-listen",
        "127.0.0.1:0",
        "--https-listen",
        "off",
        "--ssh-listen",
        "127.0.0.1:0",
        "--data-dir",
    ]);
    let output = server.arg(town.data_dir()).output().expect("start paas");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is damaged") && said.contains("restore paas.db from a backup"), "{said}");
    // The way out: the whole file, without the journal of the damaged one.
    for journal in ["paas.db-wal", "paas.db-shm"] {
        let _ = std::fs::remove_file(town.data_dir().join(journal));
    }
    std::fs::write(&file, sound).expect("restore the database");
    town.start_again(&[]);
    town.shows("blog", "blog");
    town.doctor_is_clean();
}

/// Writes nonsense over every page but the first, which says that this is a database.
fn damage(file: &Path, length: usize) {
    let mut file = std::fs::OpenOptions::new().write(true).open(file).expect("open the database");
    file.seek(SeekFrom::Start(4096)).expect("go to the second page");
    file.write_all(&vec![0xa5; length - 4096]).expect("damage the database");
}

#[test]
fn a_database_that_cannot_be_written_is_named_when_the_server_starts() {
    let mut town = Town::start();
    push_named(&town, "blog");
    town.kill9();
    let read_only = |is_on: &str| {
        let done = Command::new("chattr").arg(format!("{is_on}i")).arg(town.data_dir().join("paas.db")).status();
        assert!(done.expect("start chattr").success());
    };
    read_only("+");
    let mut server = Command::new(town.paas_command(&[]).get_program());
    server.args([
        "server",
        "--http-listen",
        "127.0.0.1:0",
        "--https-listen",
        "off",
        "--ssh-listen",
        "127.0.0.1:0",
        "--data-dir",
    ]);
    let output = server.arg(town.data_dir()).output().expect("start paas");
    read_only("-");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("paas.db") && said.contains("cannot be written"), "{said}");
    town.start_again(&[]);
    town.shows("blog", "blog");
    town.doctor_is_clean();
}

#[test]
fn a_database_whose_disk_takes_no_writes_is_told_and_healed_without_a_restart() {
    let town = Town::start();
    let work = push_named(&town, "blog");
    // What is open already is refused too, as on a disk that the kernel has made read-only after an error.
    let set_immutable = |is_on: &str| {
        for file in ["paas.db", "paas.db-wal"] {
            let done = Command::new("chattr").arg(format!("{is_on}i")).arg(town.data_dir().join(file)).status();
            assert!(done.expect("start chattr").success());
        }
    };
    set_immutable("+");
    let ((), witness) = while_asking(&town, &["blog"], || {
        let set = ends_within(&town, Duration::from_secs(20), &["config:set", "A=1", "-a", "blog"]);
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // Which of the two depends on whether its connection was open before.
            let is_told = |said: &str| {
                said.contains("the disk of the database takes no writes")
                    || said.contains("the database cannot be written")
            };
            assert!(set.code == Some(1) && is_told(&set.stderr), "{set:?}");
            ends_within(&town, Duration::from_secs(5), &["apps"]).succeeds().says("blog");
            let push = work.commit("in vain").push();
            assert!(!push.succeeded() && is_told(&push.stderr), "{push:?}");
        }));
        set_immutable("-");
        refused.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(witness.failed.is_empty(), "{} of {}: {:?}", witness.failed.len(), witness.asked, witness.failed);
    // By connections of now and of then.
    for n in 2..6 {
        town.paas(&["config:set", &format!("A={n}"), "-a", "blog"]).succeeds();
    }
    work.push().succeeds();
    town.shows("blog", "blog");
    town.doctor_is_clean();
}

#[test]
fn one_damaged_page_of_the_database_is_found_and_told_and_apps_serve_on() {
    let mut town = Town::start();
    push_named(&town, "blog");
    // Everything is in the file itself, not in its journal.
    town.start_again(&[]);
    let file = town.data_dir().join("paas.db");
    let root = page_of(&file, "audit_log");
    town.kill9();
    for journal in ["paas.db-wal", "paas.db-shm"] {
        let _ = std::fs::remove_file(town.data_dir().join(journal));
    }
    let sound = std::fs::read(&file).expect("read the database");
    let mut pages = std::fs::OpenOptions::new().write(true).open(&file).expect("open the database");
    pages.seek(SeekFrom::Start((root - 1) * 4096)).expect("go to the page");
    pages.write_all(&[0xa5; 4096]).expect("damage the page");
    drop(pages);
    town.start_again(&[]);
    let way_out = "the database is damaged; stop the server and restore paas.db from a backup";
    eventually("the start tells it", Duration::from_secs(10), || town.log().contains(way_out));
    let ((), witness) = while_asking(&town, &["blog"], || {
        eventually("the doctor tells it", Duration::from_secs(10), || {
            let doctor = town.paas(&["server:doctor"]);
            doctor.code == Some(1) && doctor.stdout.contains(way_out)
        });
        town.paas(&["apps"]).succeeds().says("blog");
    });
    assert!(witness.failed.is_empty(), "{} of {}: {:?}", witness.failed.len(), witness.asked, witness.failed);
    town.kill9();
    for journal in ["paas.db-wal", "paas.db-shm"] {
        let _ = std::fs::remove_file(town.data_dir().join(journal));
    }
    std::fs::write(&file, sound).expect("restore the database");
    town.start_again(&[]);
    town.shows("blog", "blog");
    town.doctor_is_clean();
}

/// The first page of a table.
fn page_of(file: &Path, table: &str) -> u64 {
    let program = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nassert c.execute('PRAGMA page_size').fetchone()[0] == 4096\n\
                   print(c.execute('SELECT rootpage FROM sqlite_schema WHERE name = ?', [sys.argv[2]]).fetchone()[0])";
    let output = Command::new("python3").args(["-c", program]).arg(file).arg(table).output().expect("start python3");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a page's number")
}
