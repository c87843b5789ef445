//! What instances write, live and afterwards.
use crate::ground::Ground;
use paas::domain::{AppId, ContainerId, Moment};
use paas::engine::{Engine, LogLine};
use std::time::Duration;
use tokio::sync::mpsc;

const APP: AppId = AppId(7);

async fn follow(ground: &Ground, id: &ContainerId, since: Option<Moment>) -> Vec<LogLine> {
    let (to, mut from) = mpsc::channel(4);
    let collect = async {
        let mut lines = Vec::new();
        while let Some(line) = from.recv().await {
            lines.push(line);
        }
        lines
    };
    let both = async { tokio::join!(ground.engine.follow_logs(id, since, to), collect) };
    let (followed, lines) =
        tokio::time::timeout(Duration::from_secs(30), both).await.expect("it ends with the instance");
    followed.unwrap();
    lines
}

fn texts(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

#[tokio::test]
async fn output_is_followed_to_the_end_and_can_be_taken_up_again() {
    let ground = Ground::new().await;
    let id = ground.start(APP, "echo one; sleep 0.3; echo two; sleep 1; printf 'three\\r\\n'; printf 'f\\377ur'").await;
    let live = follow(&ground, &id, None).await;
    assert_eq!(texts(&live), ["one", "two", "three", "f\u{fffd}ur"]);
    let again = follow(&ground, &id, Some(live[1].at)).await;
    assert_eq!(texts(&again), ["two", "three", "f\u{fffd}ur"], "from a millisecond on, and it included");
    let later = follow(&ground, &id, Some(live[3].at.plus(Duration::from_millis(1)))).await;
    assert_eq!(texts(&later), [] as [&str; 0]);
    assert_eq!(texts(&ground.engine.last_lines(&id, 2).await.unwrap()), ["three", "f\u{fffd}ur"]);
}

#[tokio::test]
async fn long_lines_are_split_and_nothing_is_lost() {
    let ground = Ground::new().await;
    let id = ground.start(APP, "perl -e \"print 'x' x 40000, chr(10), 'end', chr(10)\"").await;
    let lines = follow(&ground, &id, None).await;
    let lengths: Vec<usize> = lines.iter().map(|line| line.text.len()).collect();
    assert_eq!(lengths, [16384, 16384, 40000 - 2 * 16384, 3]);
}

#[tokio::test]
async fn last_words_on_the_way_out_are_heard() {
    let ground = Ground::new().await;
    let id = ground.start(APP, "trap 'echo bye; exit 0' TERM; echo up; while true; do sleep 0.1; done").await;
    ground.says(&id, "up").await;
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        ground.engine.stop(&id, Duration::from_secs(5)).await.unwrap();
    };
    let (lines, ()) = tokio::join!(follow(&ground, &id, None), stop);
    assert_eq!(texts(&lines), ["up", "bye"]);
}

#[tokio::test]
async fn following_a_silent_instance_ends_when_nobody_listens() {
    let ground = Ground::new().await;
    let id = ground.start(APP, "sleep 300").await;
    let (to, from) = mpsc::channel(1);
    let leave = async {
        // Longer than the wait for a first byte may take: silence is no outage.
        tokio::time::sleep(Duration::from_secs(12)).await;
        drop(from);
    };
    let (followed, ()) = tokio::join!(ground.engine.follow_logs(&id, None, to), leave);
    followed.unwrap();
}

#[tokio::test]
async fn a_flood_through_rotating_files_comes_without_repeats() {
    let ground = Ground::new().await;
    let flood =
        "perl -e \"sleep 1; my \\$pad = 'x' x 100; for my \\$n (1..300000) { print qq(\\$n \\$pad\\n) } sleep 1\"";
    let id = ground.start(APP, flood).await;
    let mut last = 0;
    let mut steps_back = 0;
    for line in follow(&ground, &id, None).await {
        let number: u32 = line.text.split(' ').next().unwrap().parse().unwrap();
        steps_back += u32::from(number < last);
        last = last.max(number);
    }
    println!("tail: {:?}", ground.engine.last_lines(&id, 1).await.unwrap()[0].text.get(..10));
    println!("of 300000 lines the last one seen was {last}, {steps_back} came again");
    assert_eq!(last, 300_000);
    // Lines of one millisecond cannot be told apart.
    assert!(steps_back < 50, "{steps_back}");
}
