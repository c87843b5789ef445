//! Apps that take all they can get: the app beside them goes on. (How fast it goes on is measured in tests/bench.)
use crate::harness::{Town, engine, eventually};
use std::time::{Duration, Instant};

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
