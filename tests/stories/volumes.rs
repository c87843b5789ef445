//! Volumes: what an app wrote outlives its instances and releases, and nobody who visits meanwhile sees an error.
use crate::harness::{Town, Work, engine, eventually};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// An app with a volume at `path`, pushed once.
fn app_with_volume(town: &Town, sample: &str, app: &str, path: &str) -> Work {
    town.paas(&["apps:create", app]).succeeds();
    town.paas(&["volumes:create", "data", "-a", app]).succeeds();
    town.paas(&["volumes:mount", "data", path, "-a", app]).succeeds().says("mounted data at");
    town.work(sample, app)
}

/// Pins numbered notes until `stop`; those that were acknowledged, and what went wrong.
fn pin_notes(town: &Town, who: &str, stop: &AtomicBool) -> (Vec<String>, Vec<String>) {
    let (mut pinned, mut failed) = (Vec::new(), Vec::new());
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let note = format!("{who}-{number}");
        match town.connect("board").and_then(|mut connection| connection.post("/", note.as_bytes())) {
            Ok(response) if response.status == 201 => pinned.push(note),
            Ok(response) => failed.push(format!("{note}: {} {}", response.status, response.text())),
            Err(error) => failed.push(format!("{note}: {error}")),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    (pinned, failed)
}

#[test]
fn rows_in_sqlite_outlive_deploys_and_visitors_see_no_error() {
    let deploys = if std::env::var_os("PAAS_LONG").is_some() { 20 } else { 3 };
    let town = Town::start();
    let work = app_with_volume(&town, "django-sqlite", "board", "/data");
    work.push().succeeds().says("Python app detected").does_not_say("held");
    let (stop, held) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (pinned, failed) = std::thread::scope(|scope| {
        let visitors = ["ada", "bob"].map(|who| scope.spawn(|| pin_notes(&town, who, &stop)));
        let swaps = scope.spawn(|| {
            for no in 2..deploys + 2 {
                let push = work.set_version(&format!("django-sqlite v{no}")).push();
                push.succeeds().says(&format!("Live: v{no} serves; held ")).does_not_say("in vain");
                let count = push.stderr.split("held ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
                held.fetch_add(count.unwrap_or(0), Ordering::SeqCst);
            }
            town.paas(&["rollback", "-a", "board"]).succeeds().says("; held ");
            town.paas(&["ps:restart", "-a", "board"]).succeeds();
            let is_restarted = || {
                let instances = town.paas(&["ps", "-a", "board", "--json"]).json();
                instances.as_array().is_some_and(|all| all.len() == 1 && all[0]["detail"] == "serves")
            };
            std::thread::sleep(Duration::from_secs(1));
            eventually("it was restarted", SOON, is_restarted);
        });
        let swapped = swaps.join();
        stop.store(true, Ordering::SeqCst);
        let mut all = (Vec::new(), Vec::new());
        for visitor in visitors {
            let (pinned, failed) = visitor.join().expect("a visitor does not panic");
            all.0.extend(pinned);
            all.1.extend(failed);
        }
        swapped.expect("every deploy succeeds");
        all
    });
    let held = held.load(Ordering::SeqCst);
    println!("{deploys} deploys: {} notes, {held} requests held", pinned.len());
    assert_eq!(failed, Vec::<String>::new(), "of {} notes", pinned.len());
    assert!(held > 0, "no request was held");
    let page = town.get("board", "/").text();
    for note in &pinned {
        let times = page.lines().filter(|line| line.split(' ').next() == Some(note)).count();
        assert_eq!(times, 1, "{note} is on the board {times} times");
    }
    town.doctor_is_clean();
    a_pause_and_maintenance_touch_nothing(&town, pinned.len());
    a_used_volume_is_not_lost_by_mistake(&town);
    town.paas(&["apps:rename", "board", "pins"]).succeeds();
    eventually("it answers to its new name", SOON, || town.get("pins", "/").text() == page);
    town.doctor_is_clean();
}

fn a_pause_and_maintenance_touch_nothing(town: &Town, notes: usize) {
    let instance = town.engine.instances(&[]);
    town.paas(&["maintenance:on", "-a", "board"]).succeeds();
    let answer = town.get("board", "/");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("60")));
    assert!(answer.text().contains("Under maintenance"), "{}", answer.text());
    town.paas(&["maintenance", "-a", "board"]).succeeds().says("on");
    town.paas(&["apps:info", "-a", "board"]).succeeds().says("maintenance");
    town.paas(&["maintenance:pause", "-a", "board"]).succeeds();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| town.get("board", "/"));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waits.is_finished(), "a request to a paused app waits");
        town.paas(&["maintenance:off", "-a", "board"]).succeeds().says("1 came, 0 in vain");
        let answer = waits.join().expect("no panic");
        assert_eq!((answer.status, answer.text().lines().count()), (200, notes + 1));
    });
    assert_eq!(town.engine.instances(&[]), instance, "nothing was restarted");
}

fn a_used_volume_is_not_lost_by_mistake(town: &Town) {
    town.paas(&["volumes", "-a", "board"]).succeeds().says("/data");
    let destroy = |confirm| town.paas(&["volumes:destroy", "data", "-a", "board", "--confirm", confirm]);
    destroy("date").fails_with(1, "nothing was deleted");
    destroy("data").fails_with(1, "mounted at /data");
    town.paas(&["volumes:mount", "data", "/etc/x", "-a", "board"]).fails_with(2, "would hide what");
    town.paas(&["volumes:create", "data", "-a", "board"]).fails_with(1, "is taken");
    assert_eq!(town.engine.volumes().len(), 1);
}

#[test]
fn the_images_user_may_write_and_what_it_wrote_keeps_its_owner() {
    let town = Town::start();
    let work = app_with_volume(&town, "hello-docker", "blog", "/data/deep");
    let dockerfile = |user: &str| {
        let start = r#"CMD ["sh", "-c", "echo $PAAS_RELEASE >> /data/deep/log && exec ./server.pl"]"#;
        format!("FROM debian:trixie-slim\nWORKDIR /srv\nCOPY server.pl VERSION ./\n{user}{start}\n")
    };
    work.write("Dockerfile", &dockerfile("USER 1000\n")).commit("as 1000").push().succeeds();
    let look = |words: &[&str]| {
        let id = town.engine.instances(&[]).remove(0);
        engine::exec(&id, words).succeeds().stdout.trim().to_owned()
    };
    assert_eq!(look(&["stat", "-c", "%u:%g", "/data/deep"]), "1000:0");
    // Root writes too; whose the folder is was settled by the first instance.
    work.write("Dockerfile", &dockerfile("")).commit("as root").push().succeeds().says("; held ");
    assert_eq!(look(&["cat", "/data/deep/log"]), "v1\nv2");
    assert_eq!(look(&["stat", "-c", "%u", "/data/deep", "/data/deep/log"]), "1000\n1000");
    // A release that fails after its start gives the volume back.
    work.write("Dockerfile", &dockerfile("").replace("./server.pl\"]", "false\"]")).commit("broken");
    work.push().is_rejected_with("v2 still serves");
    town.shows("blog", "hello-docker v1");
    assert_eq!(look(&["cat", "/data/deep/log"]), "v1\nv2\nv3\nv2");
    a_destroyed_app_leaves_its_volume_to_another(&town, &work);
    town.doctor_is_clean();
}

fn a_destroyed_app_leaves_its_volume_to_another(town: &Town, work: &Work) {
    town.paas(&["volumes:create", "spare", "-a", "blog"]).succeeds();
    let destroy = |volumes| town.paas(&["apps:destroy", "blog", "--confirm", "blog", "--volumes", volumes]);
    destroy("spare,nonsense").fails_with(1, "no such volume: nonsense");
    destroy("spare").succeeds().says("destroyed volume spare").says("volume data is left");
    let left = town.paas(&["volumes", "--all", "--json"]).json();
    assert_eq!((left.as_array().map(Vec::len), left[0]["left_by"].as_str()), (Some(1), Some("blog")));
    town.doctor_is_clean();
    let id = left[0]["id"].to_string();
    town.paas(&["apps:create", "heir"]).succeeds();
    town.paas(&["volumes:adopt", &id, "-a", "heir"]).succeeds();
    town.paas(&["volumes:mount", "data", "/data/deep", "-a", "heir"]).succeeds();
    work.git(&["remote", "set-url", "paas", &town.remote("heir")]).succeeds();
    work.git(&["reset", "--hard", "--quiet", "HEAD~1"]).succeeds();
    work.push().succeeds();
    let instance = town.engine.instances(&[]).remove(0);
    engine::exec(&instance, &["cat", "/data/deep/log"]).succeeds().says("v1\nv2\nv3\nv2\nv1");
    town.paas(&["volumes:unmount", "data", "-a", "heir"]).succeeds().says("its files stay");
    town.doctor_is_clean();
    town.paas(&["ps:stop", "-a", "heir"]).succeeds();
    eventually("it is gone", SOON, || town.engine.instances(&[]).is_empty());
    let destroy = |name, confirm| town.paas(&["volumes:destroy", name, "-a", "heir", "--confirm", confirm]);
    destroy("data", "data").succeeds();
    assert!(town.engine.volumes().is_empty());
}

/// Dies at `place` while a new version waits for the volume; the old one serves afterwards, alone.
fn dies_in_a_hold(town: &mut Town, work: &Work, place: &str) {
    let old = town.get("blog", "/").text();
    town.start_again(&[("PAAS_CRASH_POINT", place)]);
    let push = work.set_version(&format!("echo, killed at {place}")).begin_push();
    town.wait_for_crash(Duration::from_mins(2));
    push.finish_within(SOON).fails_with("");
    town.start_again(&[]);
    // A request that comes now waits instead of failing.
    town.shows("blog", old.trim());
    eventually("one instance is left", SOON, || town.engine.instances(&[]).len() == 1);
    town.doctor_is_clean();
    work.set_version(&format!("echo, after {place}")).push().succeeds().says("; held ");
    town.shows("blog", &format!("echo, after {place}"));
}

#[test]
fn killed_at_any_point_of_a_hold_the_old_release_serves_again() {
    let rounds = if std::env::var_os("PAAS_LONG").is_some() { 5 } else { 1 };
    let mut town = Town::start();
    let work = app_with_volume(&town, "echo", "blog", "/data");
    work.push().succeeds();
    for _ in 0..rounds {
        for place in ["hold-begun", "hold-old-stopped", "hold-new-started"] {
            dies_in_a_hold(&mut town, &work, place);
        }
    }
    town.doctor_is_clean();
}
