//! Instances: how they are made, seen, judged and ended.
use crate::ground::{Ground, docker, eventually};
use paas::domain::failure::{Exit, Listening};
use paas::domain::{AppId, ContainerId, ImageId};
use paas::engine::{Engine, EngineError, EngineEvent, EventKind, NetworkId, ObservedState};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const APP: AppId = AppId(7);
const GRACE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn an_instance_starts_is_seen_and_stops() {
    let ground = Ground::new().await;
    let spec = ground.spec(APP, "sleep 300").await;
    let began = Instant::now();
    let (id, address) = ground.engine.start(&spec).await.unwrap();
    println!("create + start + address: {} ms", began.elapsed().as_millis());

    let seen = ground.observed(&id).await.unwrap();
    assert_eq!((seen.app, seen.release, seen.epoch), (APP, spec.release, spec.epoch));
    assert_eq!(seen.slot, spec.slot);
    assert!(matches!(seen.state, ObservedState::Running { address: seen, .. } if seen == address));
    let began = Instant::now();
    assert_eq!(ground.engine.instances(Some(APP)).await.unwrap(), [seen]);
    println!("list of one: {} us", began.elapsed().as_micros());
    assert_eq!(ground.engine.instances(Some(AppId(8))).await.unwrap(), []);

    let began = Instant::now();
    ground.engine.stop(&id, GRACE).await.unwrap();
    println!("stop + remove: {} ms", began.elapsed().as_millis());
    assert!(began.elapsed() < GRACE, "SIGTERM alone ends a simple command");
    assert_eq!(ground.engine.instances(None).await.unwrap(), []);
    ground.engine.stop(&id, GRACE).await.unwrap();
    ground.engine.remove(&id).await.unwrap();
}

#[tokio::test]
async fn a_program_at_the_end_of_a_shell_line_gets_sigterm_itself() {
    let ground = Ground::new().await;
    let serve = "perl -e '$| = 1; $SIG{TERM} = sub { sleep 1; print qq($ENV{A} ends in peace\n); exit 0 }; print qq(up\n); sleep 300'";
    for start in ["true && A=1", "A=1", "export A=1;", "A=1; export A; test -f /nothing ||"] {
        let id = ground.start(APP, &format!("{start} {serve}")).await;
        ground.says(&id, "up").await;
        let (to, mut from) = mpsc::channel(10);
        let (followed, stopped) =
            tokio::join!(ground.engine.follow_logs(&id, None, to), ground.engine.stop(&id, GRACE));
        followed.unwrap();
        stopped.unwrap();
        assert_eq!(from.recv().await.unwrap().text, "up");
        assert_eq!(from.recv().await.map(|line| line.text).as_deref(), Some("1 ends in peace"), "{start}");
    }
}

#[tokio::test]
async fn an_instance_that_ignores_sigterm_is_killed_after_its_grace() {
    let ground = Ground::new().await;
    let id = ground.start(APP, "trap '' TERM; echo deaf; while true; do sleep 1; done").await;
    ground.says(&id, "deaf").await;
    let began = Instant::now();
    ground.engine.stop(&id, Duration::from_secs(1)).await.unwrap();
    assert!((1.0..4.0).contains(&began.elapsed().as_secs_f32()), "{:?}", began.elapsed());
    assert!(ground.observed(&id).await.is_none());
}

#[tokio::test]
async fn a_crash_keeps_its_status_and_its_last_lines() {
    let ground = Ground::new().await;
    let id = ground.start(APP, "echo one; echo two; echo last words >&2; exit 3").await;
    let ObservedState::Exited { exit, at } = ground.exited(&id).await else { unreachable!() };
    assert_eq!(exit, Exit::Status(3));
    assert!(at >= ground.observed(&id).await.unwrap().created_at);
    // The engine keeps no order between the two outputs.
    let mut lines: Vec<String> =
        ground.engine.last_lines(&id, 9).await.unwrap().into_iter().map(|line| line.text).collect();
    lines.sort();
    assert_eq!(lines, ["last words", "one", "two"]);
    assert_eq!(ground.engine.last_lines(&id, 2).await.unwrap().len(), 2);
    ground.engine.remove(&id).await.unwrap();
    assert!(matches!(ground.engine.last_lines(&id, 2).await, Err(EngineError::Missing("container"))));
}

#[tokio::test]
async fn too_much_memory_is_told_from_other_deaths() {
    let ground = Ground::new().await;
    let mut spec = ground.spec(APP, "perl -e \"print 1; my \\$x = chr(120) x 200_000_000; sleep 60\"").await;
    spec.memory_bytes = 32 << 20;
    let (id, _) = ground.engine.start(&spec).await.unwrap();
    let state = ground.exited(&id).await;
    assert!(matches!(state, ObservedState::Exited { exit: Exit::OutOfMemory, .. }), "{state:?}");
}

#[tokio::test]
async fn what_cannot_be_started_leaves_nothing_behind() {
    let ground = Ground::new().await;
    let good = ground.spec(APP, "sleep 300").await;
    let mut spec = good.clone();
    spec.image = ImageId::new("sha256:00000000000000000000000000000000000000000000000000000000000000aa");
    assert!(matches!(ground.engine.start(&spec).await, Err(EngineError::Missing("image"))));
    let mut spec = good.clone();
    spec.network = NetworkId("0123456789ab".to_owned());
    let outcome = ground.engine.start(&spec).await;
    assert!(matches!(outcome, Err(EngineError::Missing("network"))), "{outcome:?}");
    let mut spec = good;
    spec.shell_command = None;
    let outcome = ground.engine.start(&spec).await;
    assert!(matches!(&outcome, Err(EngineError::Refused(words)) if words.contains("command")), "{outcome:?}");
    assert_eq!(ground.engine.inventory().await.unwrap().containers, []);
}

#[tokio::test]
async fn an_instance_is_hardened() {
    let ground = Ground::new().await;
    let id = ground.start(APP, "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; sleep 300").await;
    let inspected = docker().inspect_container(id.as_str(), None).await.unwrap();
    let host = inspected.host_config.unwrap();
    assert_eq!((host.memory, host.memory_swap), (Some(64 << 20), Some(64 << 20)));
    assert_eq!((host.pids_limit, host.init, host.privileged), (Some(512), Some(true), Some(false)));
    assert_eq!(host.restart_policy.unwrap().name.unwrap().to_string(), "no");
    assert!(host.port_bindings.unwrap_or_default().is_empty() && host.publish_all_ports != Some(true));
    assert!(host.binds.unwrap_or_default().is_empty() && host.mounts.unwrap_or_default().is_empty());
    assert_eq!(inspected.network_settings.unwrap().networks.unwrap().len(), 1);
    assert!(inspected.name.unwrap().starts_with(&format!("/paas-{}-", &ground.installation.as_str()[..8])));
    // As the kernel sees it: seven capabilities, no new privileges, a filter of system calls.
    ground.says(&id, "CapEff:\t00000000000004eb").await;
    ground.says(&id, "NoNewPrivs:\t1").await;
    ground.says(&id, "Seccomp:\t2").await;
}

#[tokio::test]
async fn a_shell_line_replaces_the_images_entrypoint() {
    let ground = Ground::new().await;
    let (built, _) =
        ground.build(&format!("FROM {}\nENTRYPOINT [\"/bin/false\"]\nEXPOSE 8080\n", crate::ground::BASE)).await;
    let mut spec = ground.spec(APP, "A=1 printenv PORT A && sleep 300").await;
    spec.image = built.unwrap();
    let (id, _) = ground.engine.start(&spec).await.unwrap();
    ground.says(&id, "5000").await;
    ground.engine.stop(&id, GRACE).await.unwrap();
    spec.shell_command = None;
    let (id, _) = ground.engine.start(&spec).await.unwrap();
    assert!(matches!(ground.exited(&id).await, ObservedState::Exited { exit: Exit::Status(1), .. }));
}

#[tokio::test]
async fn the_sockets_tell_why_an_instance_does_not_answer() {
    let ground = Ground::new().await;
    let serve = |address: &str| {
        let socket = format!("IO::Socket::INET->new(Listen => 5, LocalAddr => q({address})) or die; print qq(up\\n)");
        format!("perl -MIO::Socket::INET -e '$| = 1; my $s = {socket}; sleep 300'")
    };
    let cases = [
        (serve("127.0.0.1:5000"), Listening::LoopbackOnly { port: 5000 }),
        (serve("0.0.0.0:8000"), Listening::OtherPort { port: 8000 }),
        (serve("0.0.0.0:5000"), Listening::Silent),
        ("echo up; sleep 300".to_owned(), Listening::Nowhere),
    ];
    for (line, expected) in cases {
        let id = ground.start(APP, &line).await;
        ground.says(&id, "up").await;
        assert_eq!(ground.engine.listening(&id, 5000).await, expected, "{line}");
        ground.engine.remove(&id).await.unwrap();
        assert_eq!(ground.engine.listening(&id, 5000).await, Listening::Unknown);
    }
}

#[tokio::test]
async fn events_tell_of_starts_ends_and_removals() {
    let ground = Ground::new().await;
    let (to, mut from) = mpsc::channel(16);
    let life = async {
        let id = ground.start(APP, "sleep 300").await;
        // The stream may have opened after the start: another instance tells.
        let began = eventually("events come", async || {
            let id = ground.start(APP, "sleep 300").await;
            tokio::time::timeout(Duration::from_secs(2), from.recv()).await.ok().flatten().map(|_| id)
        })
        .await;
        ground.engine.stop(&began, GRACE).await.unwrap();
        let mut kinds = Vec::new();
        while kinds.last() != Some(&EventKind::Removed) {
            let event: EngineEvent = from.recv().await.unwrap();
            assert_eq!(event.app, APP);
            if event.container == began {
                kinds.push(event.kind);
            }
        }
        assert!(kinds.ends_with(&[EventKind::Died, EventKind::Removed]), "{kinds:?}");
        drop(from);
        id
    };
    // The stream ends by itself once nobody listens, though nothing more happens.
    let (streamed, _id): (_, ContainerId) = tokio::join!(ground.engine.events(to), life);
    streamed.unwrap();
}

#[tokio::test]
async fn a_container_restarted_by_hand_is_seen_anew() {
    let ground = Ground::new().await;
    let id = ground.start(APP, "sleep 300").await;
    assert!(matches!(ground.observed(&id).await.unwrap().state, ObservedState::Running { .. }));
    docker().kill_container(id.as_str(), None).await.unwrap();
    let state = ground.exited(&id).await;
    assert!(matches!(state, ObservedState::Exited { exit: Exit::Status(137), .. }), "{state:?}");
    docker().start_container(id.as_str(), None).await.unwrap();
    assert!(matches!(ground.observed(&id).await.unwrap().state, ObservedState::Running { .. }));
}
