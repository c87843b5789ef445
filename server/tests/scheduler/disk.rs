//! Instances that fill the disk, images that go, and logs that are caught up.
use super::Town;
use paas::domain::ImageId;

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_over_its_disk_limit_is_stopped_and_started_again() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    let first = town.container("web.1").await;
    town.engine.set_written(&first, 3 << 30);
    town.until("the log says why", async || {
        town.log_holds("web.1 of v1 was stopped: it wrote more than 1.0 GiB to its own disk; crash 1 in a row")
    })
    .await;
    town.until_answered("v1/web.1").await;
    let second = town.container("web.1").await;
    assert_ne!(first, second);
    // Below the limit, but the disk of all is nearly full and nobody else writes.
    town.engine.set_written(&second, 100 << 20);
    town.until("the log says why", async || town.log_holds("the server's disk is nearly full, and it wrote the most"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_says_while_the_server_is_away_is_caught_up_once() {
    let mut town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    let id = town.container("web.1").await;
    let count = |town: &Town| town.logs.app(&town.app.key).unwrap().tail(99, |l| l.ends_with("tick")).unwrap().len();
    (0..3).for_each(|_| town.engine.say(&id, "tick"));
    town.until("three lines are kept", async || count(&town) == 3).await;
    town.scheduler_dies().await;
    (0..2).for_each(|_| town.engine.say(&id, "tick"));
    town.scheduler_comes_back().await;
    town.until("all five lines are kept", async || count(&town) >= 5).await;
    town.engine.say(&id, "the end");
    town.until("the last line is kept", async || town.log_holds("the end")).await;
    assert_eq!(count(&town), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_the_newest_releases_stay_and_older_ones_go() {
    let town = Town::new().await;
    let image = |n: u32| ImageId::new(format!("ok#{n}"));
    for n in 1..=7 {
        town.engine.add_app_image(town.app.id, &image(n));
        town.goes_live(image(n).as_str(), &["web"]).await;
    }
    let kept: Vec<ImageId> = (3..=7).map(image).collect();
    town.until("two are gone", async || town.engine.images_of(town.app.id) == kept).await;
}
