//! Apps with a volume: at no time do two releases have it, and who visits meanwhile waits instead of failing.
use super::{Clock, Failure, Origin, ReleaseNo, Settled, State, Town};
use paas::domain::{Maintenance, Volume};
use paas::engine::{Engine, MountRoot};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

impl Town {
    async fn mount_volume(&self) -> Volume {
        let (store, app) = (&self.store, &self.app);
        let volume = store.add_volume(app.id, &app.key, &"data".parse().unwrap(), self.clock.now()).await.unwrap();
        self.engine.ensure_volume(&volume.key).await.unwrap();
        store.mount_volume(volume.id, Some(&"/data".parse().unwrap())).await.unwrap();
        volume
    }

    /// Visits one after the other until `stop`; what was not 200, and the releases that answered, each once.
    async fn visits(&self, stop: &AtomicBool) -> (Vec<(u16, String)>, Vec<String>) {
        let (mut failed, mut seen) = (Vec::new(), Vec::<String>::new());
        while !stop.load(SeqCst) {
            let (status, body) = self.get("/").await;
            if status != 200 {
                failed.push((status, body));
            } else if seen.last() != Some(&body) {
                seen.push(body);
            }
        }
        (failed, seen)
    }

    /// Visits while `work` goes on, and a little longer.
    async fn visited<T>(&self, work: impl Future<Output = T>) -> (T, Vec<String>) {
        let stop = AtomicBool::new(false);
        let work = async {
            let done = work.await;
            let last = self.get("/").await;
            stop.store(true, SeqCst);
            assert_eq!(last.0, 200, "{}", last.1);
            done
        };
        let ((failed, seen), done) = tokio::join!(self.visits(&stop), work);
        assert_eq!(failed, [], "no request fails");
        (done, seen)
    }

    async fn is_at_rest(&self, no: ReleaseNo) {
        self.until("one instance serves", async || {
            let instances = self.instances().await;
            instances.len() == 1 && instances[0].release == no && super::is_routed(&instances[0])
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_holds_requests_and_at_no_time_have_two_releases_the_volume() {
    let town = Town::new().await;
    let volume = town.mount_volume().await;
    let first = town.goes_live("ok", &["web"]).await;
    let mounts = town.engine.mounts(&town.container("web.1").await);
    assert_eq!((mounts[0].volume.clone(), mounts[0].path.as_str()), (volume.key.clone(), "/data"));
    assert_eq!(mounts[0].root, MountRoot::GivenToUser);
    let ((), seen) = town
        .visited(async {
            for _ in 0..3 {
                let no = town.release("slow:200", &["web"]).await;
                assert_eq!(town.settled(no).await, Settled::Live);
                town.is_at_rest(no).await;
                let report = town.proxy.last_hold(town.app.id).expect("there was a hold");
                assert!(report.requests > 0 && report.lost == 0, "{report:?}");
            }
            town.store.restart(town.app.id, &"web".parse().unwrap(), None).await.unwrap();
            let before = town.container("web.1").await;
            town.scheduler.wake(town.app.id);
            town.until("it was restarted", async || {
                town.instances().await.iter().any(|i| i.id != before && super::is_routed(i))
            })
            .await;
        })
        .await;
    assert_eq!(seen, ["v1/web.1", "v2/web.1", "v3/web.1", "v4/web.1"], "first {first}");
    assert_eq!(town.engine.clashes(), 0);
    assert_eq!(town.engine.mounts(&town.container("web.1").await)[0].root, MountRoot::Kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_fails_gives_the_volume_back_and_requests_waited_for_that() {
    let town = Town::new().await;
    town.mount_volume().await;
    town.scale("worker", 1).await;
    let first = town.goes_live("ok", &["web", "worker"]).await;
    let (settled, seen) = town
        .visited(async {
            let no = town.release("crash", &["web", "worker"]).await;
            let settled = town.settled(no).await;
            town.until("v1 serves again", async || town.instances().await.iter().any(super::is_routed)).await;
            settled
        })
        .await;
    assert!(matches!(settled, Settled::Failed(Failure::Crashed { .. })), "{settled:?}");
    assert_eq!(seen, ["v1/web.1"]);
    let no = town.release("never", &["web"]).await;
    let starts = |i: &super::Instance| i.release == no && matches!(i.state, State::Starting { .. });
    town.until("the candidate runs", async || town.instances().await.iter().any(starts)).await;
    town.pass_time(30);
    let settled = town.settled(no).await;
    assert!(matches!(settled, Settled::Failed(Failure::TimedOut { limit_secs: 30, .. })), "{settled:?}");
    // Who pushed hears of it when the old release is back.
    assert_eq!(town.get("/").await, (200, "v1/web.1".to_owned()));
    town.until("both types of v1 run", async || {
        let instances = town.instances().await;
        instances.len() == 2 && instances.iter().all(|i| i.release == first && i.state == State::Ready)
    })
    .await;
    assert_eq!(town.engine.clashes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_touches_nothing_that_serves() {
    let town = Town::new().await;
    let volume = town.mount_volume().await;
    town.goes_live("ok", &["web"]).await;
    let (serving, hold) = (town.container("web.1").await, town.proxy.last_hold(town.app.id));
    let no = town.release("missing", &["web"]).await;
    assert!(matches!(town.settled(no).await, Settled::Failed(Failure::Platform { .. })));
    // A volume that held data and is gone is not made anew: the app would begin from nothing.
    town.engine.lose_volume(&volume.key);
    let no = town.release("ok#2", &["web"]).await;
    let settled = town.settled(no).await;
    let Settled::Failed(Failure::Platform { reason }) = &settled else { panic!("{settled:?}") };
    assert!(reason.contains("volume `data` is no longer in the engine"), "{reason}");
    assert!(town.engine.volumes().await.unwrap().is_empty());
    assert_eq!(town.container("web.1").await, serving);
    assert_eq!((town.get("/").await.0, town.proxy.last_hold(town.app.id)), (200, hold));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_dies_in_a_hold_is_followed_by_one_that_ends_it() {
    let mut town = Town::new().await;
    town.mount_volume().await;
    town.goes_live("ok", &["web"]).await;
    let no = town.release("slow:600", &["web"]).await;
    let starts = |i: &super::Instance| i.release == no && matches!(i.state, State::Starting { .. });
    town.until("the candidate runs", async || town.instances().await.iter().any(starts)).await;
    town.scheduler_dies().await;
    // A request that comes while nobody schedules waits for the next scheduler.
    let (proxy, app) = (town.proxy.clone(), town.app.id);
    let comes_back = async {
        town.until("it waits", async || proxy.waiting(app) == 1).await;
        town.scheduler_comes_back().await;
    };
    let (answer, ()) = tokio::join!(super::get_at(proxy.local_addr(), "blog.example.test", "/"), comes_back);
    assert_eq!((answer, town.settled(no).await), ((200, "v2/web.1".to_owned()), Settled::Live));
    town.is_at_rest(no).await;
    let next = town.release_by("ok", &["web"], Origin::Retry { of: no }).await;
    assert_eq!(town.settled(next).await, Settled::Live);
    assert_eq!(town.engine.clashes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn overlap_lets_releases_have_the_volume_at_the_same_time() {
    let town = Town::new().await;
    town.mount_volume().await;
    town.store.set_overlaps(town.app.id, true).await.unwrap();
    town.goes_live("ok", &["web"]).await;
    town.goes_live("ok#2", &["web"]).await;
    assert_eq!((town.engine.clashes(), town.proxy.last_hold(town.app.id)), (1, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_outlives_deploys_and_needs_no_engine() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    town.engine.set_reachable(false);
    town.scheduler.set_maintenance(town.app.id, Maintenance::On).await.unwrap();
    let (status, page) = town.get("/").await;
    assert!(status == 503 && page.contains("H80"), "{page}");
    town.engine.set_reachable(true);
    town.goes_live("ok#2", &["web"]).await;
    assert_eq!(town.get("/").await.0, 503);
    // A failed deploy fails in maintenance too.
    let no = town.release("crash", &["web"]).await;
    assert!(matches!(town.settled(no).await, Settled::Failed(Failure::Crashed { .. })));
    town.scheduler.set_maintenance(town.app.id, Maintenance::Pause).await.unwrap();
    let (answer, ()) = tokio::join!(town.get("/"), async {
        town.until("it waits", async || town.proxy.waiting(town.app.id) == 1).await;
        town.scheduler.set_maintenance(town.app.id, Maintenance::Off).await.unwrap();
    });
    assert_eq!(answer, (200, "v2/web.1".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pass_that_began_before_brings_back_what_stood_before_the_app() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    for round in 0..200 {
        let wanted = if round % 2 == 0 { Maintenance::On } else { Maintenance::Off };
        town.scheduler.wake(town.app.id);
        tokio::time::sleep(Duration::from_micros(round * 20)).await;
        town.scheduler.set_maintenance(town.app.id, wanted).await.unwrap();
        for _ in 0..10 {
            let routes = town.scheduler.routes();
            assert_eq!(routes.apps[&town.app.id].maintenance, wanted, "round {round}");
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    }
}
