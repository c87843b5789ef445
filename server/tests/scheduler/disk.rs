//! Instances that fill the disk, images that go, and logs that are caught up.
use super::Town;
use paas::clock::Clock as _;
use paas::domain::build_cache::{CacheGeneration, CacheMark};
use paas::domain::{AppKey, Failure, ImageId};
use paas::engine::CacheUse;

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

#[tokio::test(flavor = "multi_thread")]
async fn the_build_cache_is_pruned_back_to_its_budget_and_never_below() {
    let town = Town::new().await;
    // The reserve of these tests is more than any disk has: whoever asks for room makes some.
    let make_room = async || town.scheduler.make_room().await;
    town.engine.set_build_cache(12 << 30);
    let Err(Failure::NoRoom { needed_bytes: u64::MAX, .. }) = make_room().await else { panic!("there is room") };
    assert_eq!(town.engine.build_cache(), (10 << 30, 1));
    town.engine.set_build_cache(9 << 30);
    assert!(make_room().await.is_err());
    assert_eq!(town.engine.build_cache(), (9 << 30, 1), "the engine was not even asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn purged_caches_of_ours_are_collected_and_nobody_elses() {
    let town = Town::new().await;
    let cache = |id: &str, key: &AppKey, generation| CacheUse {
        id: id.to_owned(),
        mark: CacheMark::new(key, CacheGeneration(generation)),
        bytes: 1,
    };
    let stranger = AppKey::new("f".repeat(32));
    for cache in [cache("old", &town.app.key, 0), cache("now", &town.app.key, 1), cache("theirs", &stranger, 0)] {
        town.engine.add_cache(cache);
    }
    assert!(town.scheduler.make_room().await.is_err());
    assert_eq!(town.engine.caches(), ["old", "now", "theirs"], "nothing was purged yet");
    town.store.begin_cache_generation(town.app.id).await.unwrap();
    assert!(town.scheduler.make_room().await.is_err());
    assert_eq!(town.engine.caches(), ["now", "theirs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_room_for_a_push_is_told_with_its_numbers() {
    let town = Town::new().await;
    let place = std::env::temp_dir();
    let Err(Failure::NoRoom { place: told, needed_bytes, free_bytes, .. }) = town.scheduler.make_room_at(&place).await
    else {
        panic!("there is room");
    };
    assert_eq!((told, needed_bytes), (place.display().to_string(), u64::MAX));
    assert!(free_bytes > 0 && free_bytes < u64::MAX, "{free_bytes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_volume_takes_is_counted_with_its_app() {
    let town = Town::new().await;
    let now = paas::domain::Moment::default();
    let volume = town.store.add_volume(town.app.id, &town.app.key, &"data".parse().unwrap(), now).await.unwrap();
    town.engine.set_volume_bytes(&volume.key, 5 << 20);
    town.engine.set_volume_bytes(&paas::domain::VolumeKey::new("somebody-elses"), 1 << 20);
    let report = super::disk(&std::sync::Arc::new(town.engine.clone()), &town.store).report().await;
    assert_eq!(report.apps[0].volumes_bytes, 5 << 20);
    let all = report.categories.iter().find(|category| category.name == "volumes").unwrap();
    assert_eq!(all.bytes, 6 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_of_a_flood_wait_for_the_log() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    let id = town.container("web.1").await;
    let at = town.clock.now();
    let before = (0..20_000).map(|no| (at, format!("before {no}"))).collect();
    assert!(!town.logs.carry(&town.app.key, "app[web.1]", before).is_empty(), "the log takes no more");
    (0..3000).for_each(|no| town.engine.say(&id, &format!("flood {no}")));
    town.engine.say(&id, "the flood is over");
    town.until("the last line is kept", async || town.log_holds("app[web.1]: the flood is over")).await;
    let kept = town.logs.app(&town.app.key).unwrap().tail(3000, |line| line.contains(": flood ")).unwrap();
    assert!(kept.len() < 3000, "some of those before it are dropped");
}
