//! Everybody pushes at once.
use super::is_long;
use crate::harness::{Push, Pushing, Town, Work};

/// Pushes to each app come from several checkouts of one history, one after the other and side by side with the others'.
#[test]
fn of_many_pushes_at_once_every_acknowledged_one_is_live_in_the_end_or_followed_by_a_newer() {
    let (apps, pushes) = if is_long() { (10, 5) } else { (5, 4) };
    let town = Town::start();
    let names: Vec<String> = (1..=apps).map(|no| format!("crowd-{no}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            let town = &town;
            scope.spawn(move || crowd(town, name, pushes));
        }
    });
    town.doctor_is_clean();
}

fn crowd(town: &Town, app: &str, pushes: usize) {
    let work = town.work("hello-docker", app);
    work.push().succeeds();
    // Every commit follows the one before, so each push may go over the others'.
    let copies: Vec<Work> = (1..=pushes)
        .map(|no| {
            work.set_version(&format!("{app} {no}"));
            work.copy_of(town, &[])
        })
        .collect();
    let under_way: Vec<_> = copies.iter().map(Work::begin_push).collect();
    let ends: Vec<_> = under_way.into_iter().map(Pushing::finish).collect();
    let newest = ends.iter().rposition(Push::succeeded).expect("one of the pushes went live");
    for push in &ends {
        let is_told = ["superseded by", "moved", "fetch first", "Everything up-to-date"];
        let was_told = is_told.iter().any(|words| push.stderr.contains(words));
        assert!(push.succeeded() || was_told, "{app}: {}", push.stderr);
    }
    let newest_head = copies[newest].head();
    assert_eq!(work.remote_head("main"), Some(newest_head), "{app}: the newest acknowledged push is the branch");
    town.shows(app, &format!("{app} {}", newest + 1));
}
