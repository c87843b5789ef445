//! Apps that take all they can get: the app beside them goes on. (How fast it goes on is measured in tests/bench.)
use crate::harness::private_engine::in_private;
use crate::harness::{Town, Work, engine, eventually};
use std::path::Path;
use std::time::{Duration, Instant};

/// Of memory that all build steps together have in the story of a greedy one: 256 MiB.
const BUILD_BYTES: &str = "268435456";

/// The victim answers all along.
fn goes_on(town: &Town, time: Duration) {
    let begun = Instant::now();
    let mut answers = 0;
    while begun.elapsed() < time {
        town.shows("victim", "hello-docker v1");
        answers += 1;
    }
    assert!(answers >= 10, "{answers} answers in {} s", time.as_secs());
}

#[test]
fn a_fork_bomb_and_a_memory_bomb_leave_the_app_beside_them_serving() {
    let town = Town::start();
    town.push("hello-docker", "victim").succeeds();
    town.push("fork-bomb", "forks").succeeds();
    town.get("forks", "/bomb");
    let bomb = town.engine.instances(&["paas.app=2"]).remove(0);
    // Nothing can be started in it any more, so the engine is asked from outside.
    let processes = || engine::processes(&bomb);
    eventually("the bomb has gone off", Duration::from_secs(20), || processes() > 400);
    goes_on(&town, Duration::from_secs(4));
    assert!(processes() <= 512, "at most 512 processes");
    town.paas(&["ps:stop", "-a", "forks"]).succeeds();
    eventually("the bomb is gone", Duration::from_secs(30), || town.engine.instances(&["paas.app=2"]).is_empty());

    town.push("memory-bomb", "hoard").succeeds();
    town.get("hoard", "/bomb");
    goes_on(&town, Duration::from_secs(2));
    eventually("the end is told with the limit", Duration::from_secs(30), || {
        let log = town.log_of("hoard");
        log.contains("memory") && log.contains("512")
    });
    // It is started again, and is no worse than before.
    eventually("it answers again", Duration::from_secs(30), || {
        town.try_get("hoard", "/").is_ok_and(|r| r.status == 200)
    });
    town.doctor_is_clean();
}

/// The group that BuildKit runs steps in gets a limit, as the guard gives it one, and the kernel does the rest.
#[test]
fn a_build_step_that_takes_more_memory_than_builds_have_is_killed_and_the_push_says_why() {
    in_private(
        "stories::bombs::a_build_step_that_takes_more_memory_than_builds_have_is_killed_and_the_push_says_why",
        |private| {
            let town = Town::start();
            town.push("hello-docker", "beside").succeeds();
            let root = Path::new("/sys/fs/cgroup");
            let is_second_version = root.join("cgroup.controllers").exists();
            let (controller, file) =
                if is_second_version { ("", "memory.max") } else { ("memory", "memory.limit_in_bytes") };
            let group = root.join(controller).join(format!("{}/buildkit", private.cgroup));
            std::fs::create_dir_all(&group).expect("make the group of builds");
            std::fs::write(group.join(file), BUILD_BYTES).expect("limit the group of builds");

            let work = Work::empty(&town, "greedy");
            let hoard = "perl -e 'my @all; push @all, chr(1) x (16 << 20) while 1'";
            work.write("Dockerfile", &format!("FROM debian:trixie-slim\nRUN {hoard}\n")).commit("too much");
            work.push().fails_with("the build ran out of memory and was killed").says("perl -e");
            town.shows("beside", "hello");
            town.doctor_is_clean();
        },
    );
}
