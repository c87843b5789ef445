//! What a person sets beside the code: limits, health checks, names and domains, and the app's end.
use super::*;
use paas::domain::Hostname;
use paas::domain::health::Health;
use paas::domain::limits::Limits;

#[tokio::test(flavor = "multi_thread")]
async fn changed_limits_reach_new_instances_of_that_type_and_fail_no_request() {
    let town = Town::new().await;
    town.scale("worker", 1).await;
    town.goes_live("slow:100", &["web", "worker"]).await;
    let (web, worker) = (town.container("web.1").await, town.container("worker.1").await);
    assert_eq!(town.engine.limits(&web), Some((512 << 20, None)));
    let limits = Limits { memory: Some("64M".parse().unwrap()), cpu: Some("0.25".parse().unwrap()) };
    town.store.set_limits(town.app.id, &"web".parse().unwrap(), limits).await.unwrap();
    town.scheduler.wake(town.app.id);
    town.until("another one serves alone", async || {
        assert_eq!(town.get("/").await.0, 200);
        let instances = town.instances().await;
        instances.iter().filter(|i| i.slot.process.is_web()).all(|i| i.id != web && is_routed(i))
    })
    .await;
    assert_eq!(town.engine.limits(&town.container("web.1").await), Some((64 << 20, Some(250))));
    assert_eq!(town.container("worker.1").await, worker, "the other type is not touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_needs_more_than_its_limit_fails_by_the_limit_that_it_had() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    let limits = Limits { memory: Some("64M".parse().unwrap()), cpu: None };
    town.store.set_limits(town.app.id, &"web".parse().unwrap(), limits).await.unwrap();
    let next = town.release("oom", &["web"]).await;
    let failure = Failure::OutOfMemory { process: "web.1".to_owned(), limit_bytes: 64 << 20 };
    assert_eq!(town.settled(next).await, Settled::Failed(failure));
    town.until_answered("v1/web.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_path_decides_and_its_time_is_the_apps_own() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    let declared = |path: &str, timeout: &str| Health {
        path: Some(path.parse().unwrap()),
        timeout: Some(timeout.parse().unwrap()),
    };
    town.store.set_health(town.app.id, &declared("/status/404", "20s")).await.unwrap();
    let next = town.release("ok", &["web"]).await;
    town.until("it is asked and answers", async || {
        let probe = paas::domain::instance::Probe::Status(404);
        let is_asked = |i: &Instance| matches!(i.state, State::Starting { probe: met, .. } if met == probe);
        town.instances().await.iter().any(is_asked)
    })
    .await;
    town.pass_time(19);
    assert!(matches!(town.store.release(town.app.id, next).await.unwrap().rollout, Rollout::Starting { .. }));
    town.pass_time(2);
    let failure = Failure::Unhealthy { process: "web.1".to_owned(), path: "/status/404".to_owned(), status: 404 };
    assert_eq!(town.settled(next).await, Settled::Failed(failure));
    town.until_answered("v1/web.1").await;
    town.store.set_health(town.app.id, &declared("/status/204", "20s")).await.unwrap();
    let next = town.release("ok", &["web"]).await;
    assert_eq!(town.settled(next).await, Settled::Live);
    town.until_answered("v3/web.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_and_domains_lead_at_once_without_the_engine_and_touch_no_instance() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    town.engine.set_reachable(false);
    let domain: Hostname = "www.example.com".parse().unwrap();
    town.store.rename_app(town.app.id, &"news".parse().unwrap()).await.unwrap();
    town.store.add_domain(town.app.id, &domain, town.clock.now()).await.unwrap();
    town.scheduler.rehost(town.app.id).await.unwrap();
    let served = (200, "v1/web.1".to_owned());
    assert_eq!(town.get_of("news.example.test", "/").await, served);
    assert_eq!(town.get_of("www.example.com", "/").await, served);
    assert_eq!(town.get("/a?b").await.0, 301, "the old name redirects");
    assert!(town.store.remove_domain(town.app.id, &domain).await.unwrap());
    assert!(town.store.free_name(town.app.id, &"blog".parse().unwrap()).await.unwrap());
    town.scheduler.rehost(town.app.id).await.unwrap();
    assert_eq!((town.get_of("www.example.com", "/").await.0, town.get("/").await.0), (404, 404));
    town.engine.set_reachable(true);
    town.scheduler.wake(town.app.id);
    assert_eq!(town.get_of("news.example.test", "/").await, served);
    assert_eq!((town.engine.starts(), town.engine.stops()), (1, 0));
    let saved = town.store.saved_routes(BOOT).await.unwrap().unwrap();
    assert_eq!(saved.hosts.keys().map(Hostname::as_str).collect::<Vec<_>>(), ["news.example.test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_app_is_drained_before_it_is_stopped_and_leaves_no_route() {
    let mut town = Town::new().await;
    town.scale("worker", 1).await;
    town.goes_live("ok", &["web", "worker"]).await;
    let under_way = town.get("/sleep/1000");
    let destroying = async {
        // Not before the request is there.
        tokio::time::sleep(Duration::from_millis(200)).await;
        town.store.begin_destroying(town.app.id).await.unwrap();
        town.scheduler.clear(town.app.id).await
    };
    let (finished, cleared) = tokio::join!(under_way, destroying);
    cleared.unwrap();
    assert_eq!(finished, (200, "v1/web.1".to_owned()));
    assert!(town.instances().await.is_empty());
    assert_eq!((town.get("/").await.0, town.engine.stops()), (404, 2));
    let inventory = paas::engine::Engine::inventory(&town.engine).await.unwrap();
    assert!(inventory.networks.is_empty(), "{inventory:?}");
    assert!(town.store.saved_routes(BOOT).await.unwrap().unwrap().apps.is_empty());
    town.scheduler_dies().await;
    town.scheduler_comes_back().await;
    town.scheduler.clear(town.app.id).await.expect("doing it twice does no harm");
    assert_eq!(town.get("/").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destruction_without_the_engine_says_so_and_can_be_carried_on() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    town.engine.set_reachable(false);
    town.store.begin_destroying(town.app.id).await.unwrap();
    let stuck = town.scheduler.clear(town.app.id).await.unwrap_err().to_string();
    assert!(stuck.contains("the container engine does not answer"), "{stuck}");
    town.engine.set_reachable(true);
    town.scheduler.clear(town.app.id).await.unwrap();
    assert!(town.instances().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destruction_that_had_barely_begun_is_carried_on_by_the_next_server() {
    let mut town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    town.scheduler_dies().await;
    // The mark is all that the server came to: the routes that it saved still lead to the app.
    town.store.begin_destroying(town.app.id).await.unwrap();
    town.scheduler_comes_back().await;
    let clearing = tokio::time::timeout(PATIENCE, town.scheduler.clear(town.app.id)).await;
    clearing.expect("it comes to its end").unwrap();
    assert!(town.instances().await.is_empty());
    assert_eq!(town.get("/").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_start_or_a_restart_does_not_wait_for_earlier_crashes() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    let crash_until_it_waits = async || {
        for wait in [0, 1, 5, 30] {
            town.until("it is up", async || town.instances().await.iter().any(|i| i.state == State::Ready)).await;
            let killed = town.container("web.1").await;
            town.engine.kill(&killed);
            town.until("what is left is removed", async || town.instances().await.iter().all(|i| i.id != killed)).await;
            if wait < 30 {
                town.pass_time(wait);
            }
        }
        assert!(town.log_holds("crash 4 in a row, next start in 30 s"));
        assert!(town.instances().await.is_empty());
    };
    let serves = async || {
        town.until_answered("v1/web.1").await;
        town.until("it is up", async || town.instances().await.iter().any(|i| i.state == State::Ready)).await;
    };
    crash_until_it_waits().await;
    // The scheduler may look in between or not.
    town.set_stopped(true).await;
    town.store.set_stopped(town.app.id, false).await.unwrap();
    town.scheduler.forgive(town.app.id);
    town.scheduler.wake(town.app.id);
    serves().await;
    crash_until_it_waits().await;
    town.store.restart(town.app.id, &"web".parse().unwrap(), None).await.unwrap();
    town.scheduler.wake(town.app.id);
    serves().await;
}
