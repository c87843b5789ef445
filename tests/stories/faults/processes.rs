//! Apps that end after they went live: told truthfully, started again, and their visitors get an honest page.
use super::{SOON, while_asking};
use crate::harness::{Town, eventually};
use std::time::Duration;

/// Serves for some seconds, then ends with status 7.
fn dies_after(town: &Town, seconds: &str) -> crate::harness::Push {
    let work = town.work("hello-docker", "blog");
    let script = format!("#!/bin/sh\n./server.pl & sleep {seconds}\necho giving up\nkill $!\nexit 7\n");
    work.write_script("dies.sh", &script);
    let recipe =
        "FROM debian:trixie-slim\nWORKDIR /srv\nCOPY server.pl VERSION dies.sh ./\nUSER nobody\nCMD [\"./dies.sh\"]\n";
    work.write("Dockerfile", recipe).set_version("blog").push()
}

#[test]
fn an_app_that_ends_a_second_after_it_went_live_is_told_to_its_pusher_and_started_again() {
    let town = Town::start();
    let push = dies_after(&town, "1");
    push.says("it ended again right after going live");
    eventually("it is started again, ever later", SOON, || {
        town.log_of("blog").contains("exited with status 7; crash 2 in a row, next start in 1 s")
    });
    let ((), witness) = while_asking(&town, &["blog"], || {
        eventually("it rests", Duration::from_secs(40), || town.log_of("blog").contains("next start in 30 s"));
    });
    for (_, answer) in &witness.failed {
        assert!(answer.starts_with("blog: 502") || answer.starts_with("blog: 503"), "an honest page: {answer}");
    }
    town.paas(&["ps:stop", "-a", "blog"]).succeeds();
    town.doctor_is_clean();
}

#[test]
fn an_app_that_ends_long_after_it_went_live_is_started_again_at_once() {
    let town = Town::start();
    dies_after(&town, "20").succeeds().does_not_say("it ended again");
    eventually("it has ended", Duration::from_secs(40), || {
        town.log_of("blog").contains("exited with status 7; crash 1 in a row, starting it again")
    });
    eventually("it serves again", SOON, || town.try_get("blog", "/").is_ok_and(|page| page.status == 200));
    assert!(town.log_of("blog").contains("giving up"), "its last words are kept");
    town.doctor_is_clean();
}

#[test]
fn an_app_that_takes_too_much_memory_is_told_so_with_its_limit_and_started_again() {
    let town = Town::start();
    let work = town.work("hello-docker", "blog");
    let script = "#!/bin/sh\n./server.pl & sleep 4\nexec perl -e '$x = \"x\" x (1 << 30); sleep 100'\n";
    work.write_script("dies.sh", script);
    let recipe =
        "FROM debian:trixie-slim\nWORKDIR /srv\nCOPY server.pl VERSION dies.sh ./\nUSER nobody\nCMD [\"./dies.sh\"]\n";
    work.write("Dockerfile", recipe).set_version("blog").push().succeeds();
    eventually("the log names the cause and the limit", SOON, || {
        let log = town.log_of("blog");
        log.contains("web.1 of v1") && log.contains("memory") && log.contains("512 MiB")
    });
    eventually("it serves again", SOON, || town.try_get("blog", "/").is_ok_and(|page| page.status == 200));
    town.paas(&["ps:stop", "-a", "blog"]).succeeds();
    town.doctor_is_clean();
}
