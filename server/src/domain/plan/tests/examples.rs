//! Each rule of the planner by one example: this is what is seen, exactly this is done.
use super::*;
use crate::domain::instance::State::{Ready, Stopping};
use crate::domain::instance::Traffic::{Draining, Quiet, Routed};

pub(super) const T0: Moment = Moment::from_unix_ms(1_000_000);

/// Web and worker once each, v1 live, unless an example says otherwise.
pub(super) struct Scene {
    wanted: Wanted,
    seen: Vec<Seen>,
    crashes: CrashLedger,
    now: Moment,
}

impl Scene {
    /// Nothing was ever deployed.
    pub(super) fn empty() -> Self {
        let formation = Formation::from([(process("web"), 1), (process("worker"), 1)]);
        let wanted = Wanted { formation, ..Wanted::default() };
        Self { wanted, seen: Vec::new(), crashes: CrashLedger::new(), now: T0 }
    }

    pub(super) fn live(no: u32, processes: &[&str]) -> Self {
        let mut scene = Self::empty();
        scene.wanted.live = Some(spec(no, processes));
        scene
    }

    pub(super) fn starting(mut self, no: u32, processes: &[&str]) -> Self {
        self.wanted.starting = Some(Candidate { spec: spec(no, processes), since: T0 });
        self
    }

    pub(super) fn scaled(mut self, process_type: &str, count: u16) -> Self {
        self.wanted.formation.insert(process(process_type), count);
        self
    }

    pub(super) fn stopped(mut self) -> Self {
        self.wanted.stopped = true;
        self
    }

    /// It has a volume.
    pub(super) fn exclusive(mut self) -> Self {
        self.wanted.exclusive = true;
        self
    }

    pub(super) fn held_since(mut self, since: Moment) -> Self {
        self.wanted.held_since = Some(since);
        self
    }

    pub(super) fn restarted(mut self, of: &str) -> Self {
        *self.wanted.epochs.entry(slot(of)).or_default() += 1;
        self
    }

    /// `("a", 1, "web.1")`: the instance a of v1 in its slot, of epoch 0.
    pub(super) fn with(self, of: (&str, u32, &str), state: State, traffic: Traffic) -> Self {
        self.with_epoch(of, 0, state, traffic)
    }

    pub(super) fn with_epoch(mut self, of: (&str, u32, &str), epoch: u64, state: State, traffic: Traffic) -> Self {
        let (id, release, in_slot) = of;
        let (id, slot, release) = (ContainerId::new(id), slot(in_slot), ReleaseNo(release));
        self.seen.push(Seen { id, slot, release, epoch, state, traffic });
        self
    }

    pub(super) fn crashed(mut self, release: u32, of: &str, count: u32) -> Self {
        self.crashes.insert((ReleaseNo(release), slot(of)), Crashes { count, last: T0 });
        self
    }

    pub(super) fn after(mut self, seconds: u64) -> Self {
        self.now = T0.plus(Duration::from_secs(seconds));
        self
    }

    pub(super) fn plan(&self) -> Vec<Action> {
        plan(&self.wanted, &self.seen, &self.crashes, self.now)
    }
}

pub(super) fn boots() -> State {
    State::Starting { since: T0, probe: Probe::NoAnswer }
}

pub(super) fn ended() -> State {
    State::Exited { at: T0, exit: Exit::Status(1) }
}

pub(super) fn fail(release: u32, failure: Failure) -> Action {
    Action::Fail { release: ReleaseNo(release), failure }
}

pub(super) fn crash(of: &str) -> Failure {
    Failure::Crashed { process: of.to_owned(), exit: Exit::Status(1) }
}

pub(super) fn promote(release: u32) -> Action {
    Action::Promote { release: ReleaseNo(release) }
}

pub(super) fn start(release: u32, of: &str, epoch: u64) -> Action {
    Action::Start { release: ReleaseNo(release), slot: slot(of), epoch }
}

pub(super) fn make(release: u32, of: &str, epoch: u64) -> Action {
    Action::Make { release: ReleaseNo(release), slot: slot(of), epoch }
}

pub(super) fn route(to: &[&str]) -> Action {
    Action::Route { to: to.iter().map(|id| ContainerId::new(*id)).collect() }
}

pub(super) fn stop(id: &str) -> Action {
    Action::Stop { id: ContainerId::new(id) }
}

pub(super) fn reap(id: &str) -> Action {
    Action::Reap { id: ContainerId::new(id) }
}

// A first deploy.

#[test]
fn a_first_deploy_starts_web_then_the_rest_then_is_promoted_and_routed() {
    let types = &["web", "worker"];
    assert_eq!(Scene::empty().plan(), []);
    assert_eq!(Scene::empty().starting(1, types).plan(), [start(1, "web.1", 0)]);
    let boots_web = Scene::empty().starting(1, types).with(("a", 1, "web.1"), boots(), Quiet);
    assert_eq!(boots_web.plan(), []);
    let web_ready = Scene::empty().starting(1, types).with(("a", 1, "web.1"), Ready, Quiet);
    assert_eq!(web_ready.plan(), [start(1, "worker.1", 0)]);
    let settles = web_ready.with(("b", 1, "worker.1"), boots(), Quiet);
    assert_eq!(settles.plan(), []);
    let ready = Scene::empty().starting(1, types).with(("a", 1, "web.1"), Ready, Quiet).with(
        ("b", 1, "worker.1"),
        Ready,
        Quiet,
    );
    assert_eq!(ready.plan(), [promote(1), route(&["a"])]);
}

#[test]
fn an_image_whose_web_is_scaled_to_none_is_promoted_without_a_route() {
    let scene = Scene::empty().scaled("web", 0).starting(1, &["web", "worker"]);
    assert_eq!(scene.plan(), [start(1, "worker.1", 0)]);
    assert_eq!(scene.with(("a", 1, "worker.1"), Ready, Quiet).plan(), [promote(1)]);
}

// A swap.

#[test]
fn a_swap_promotes_then_routes_then_stops_what_is_quiet() {
    let scene = || Scene::live(1, &["web"]).starting(2, &["web"]);
    assert_eq!(scene().with(("a", 1, "web.1"), Ready, Routed).plan(), [start(2, "web.1", 0)]);
    let ready = scene().with(("a", 1, "web.1"), Ready, Routed).with(("b", 2, "web.1"), Ready, Quiet);
    assert_eq!(ready.plan(), [promote(2), route(&["b"])]);
    let swapped =
        |old| Scene::live(2, &["web"]).with(("a", 1, "web.1"), Ready, old).with(("b", 2, "web.1"), Ready, Routed);
    assert_eq!(swapped(Draining).plan(), []);
    assert_eq!(swapped(Quiet).plan(), [stop("a")]);
}

#[test]
fn the_old_worker_ends_once_the_new_web_is_ready_and_before_the_new_worker_begins() {
    let types = &["web", "worker"];
    let scene = |web, old_worker| {
        Scene::live(1, types)
            .starting(2, types)
            .with(("a", 1, "web.1"), Ready, Routed)
            .with(("b", 1, "worker.1"), old_worker, Quiet)
            .with(("c", 2, "web.1"), web, Quiet)
    };
    assert_eq!(scene(boots(), Ready).plan(), []);
    assert_eq!(scene(Ready, Ready).plan(), [stop("b")]);
    assert_eq!(scene(Ready, Stopping).plan(), []);
    assert_eq!(scene(Ready, ended()).plan(), [start(2, "worker.1", 0), reap("b")]);
}

// A candidate that fails.

#[test]
fn a_crash_before_it_is_ready_fails_the_release_and_removes_it() {
    let scene = Scene::live(1, &["web"])
        .scaled("web", 2)
        .starting(2, &["web"])
        .with(("a", 1, "web.1"), Ready, Routed)
        .with(("b", 1, "web.2"), Ready, Routed)
        .with(("c", 2, "web.1"), Ready, Quiet)
        .with(("d", 2, "web.2"), ended(), Quiet);
    assert_eq!(scene.plan(), [fail(2, crash("web.2")), stop("c"), reap("d")]);
}

#[test]
fn a_release_that_is_not_ready_in_time_fails_by_what_its_last_probe_met() {
    let scene = |probe| {
        let state = State::Starting { since: T0, probe };
        Scene::live(1, &["web"]).starting(2, &["web"]).with(("a", 1, "web.1"), Ready, Routed).with(
            ("b", 2, "web.1"),
            state,
            Quiet,
        )
    };
    let process = "web.1".to_owned();
    assert_eq!(scene(Probe::NoAnswer).after(59).plan(), []);
    let timed_out =
        Failure::TimedOut { process: process.clone(), port: 5000, limit_secs: 60, listening: Listening::Unknown };
    assert_eq!(scene(Probe::NoAnswer).after(60).plan(), [fail(2, timed_out), stop("b")]);
    let unhealthy = Failure::Unhealthy { process, path: "/".to_owned(), status: 503 };
    assert_eq!(scene(Probe::Status(503)).after(60).plan(), [fail(2, unhealthy), stop("b")]);
}

#[test]
fn a_release_that_is_ready_when_looked_at_late_is_promoted() {
    let scene = Scene::empty().starting(1, &["web"]).with(("a", 1, "web.1"), Ready, Quiet);
    assert_eq!(scene.after(90).plan(), [promote(1), route(&["a"])]);
}

#[test]
fn a_crash_in_a_slot_that_nobody_wants_any_more_fails_no_release() {
    let scene = Scene::empty().starting(1, &["web"]).with(("a", 1, "web.1"), boots(), Quiet).with(
        ("b", 1, "web.2"),
        ended(),
        Quiet,
    );
    assert_eq!(scene.plan(), [reap("b")]);
}

#[test]
fn what_was_never_started_in_time_is_not_called_silent() {
    let scene =
        Scene::live(1, &["worker"]).starting(2, &["worker"]).with(("a", 1, "worker.1"), Stopping, Quiet).after(100);
    let failure = Failure::Platform { reason: "worker.1 could not be started within 100 s".to_owned() };
    assert_eq!(scene.plan(), [fail(2, failure)]);
}

#[test]
fn a_worker_that_dies_while_it_settles_fails_the_release_and_the_old_one_starts_again() {
    let types = &["web", "worker"];
    let scene = Scene::live(1, types)
        .starting(2, types)
        .with(("a", 1, "web.1"), Ready, Routed)
        .with(("b", 2, "web.1"), Ready, Quiet)
        .with(("c", 2, "worker.1"), ended(), Quiet);
    assert_eq!(scene.plan(), [fail(2, crash("worker.1")), start(1, "worker.1", 0), stop("b"), reap("c")]);
}

#[test]
fn old_workers_start_again_only_after_all_workers_of_the_failed_release_ended() {
    let scene = |state| {
        Scene::live(1, &["worker"])
            .scaled("worker", 2)
            .starting(2, &["worker"])
            .with(("a", 2, "worker.1"), ended(), Quiet)
            .with(("b", 2, "worker.2"), state, Quiet)
    };
    assert_eq!(scene(boots()).plan(), [fail(2, crash("worker.1")), stop("b"), reap("a")]);
    let mut failed = scene(Stopping);
    failed.wanted.starting = None;
    assert_eq!(failed.plan(), [reap("a")]);
    failed.seen.clear();
    assert_eq!(failed.plan(), [start(1, "worker.1", 0), start(1, "worker.2", 0)]);
}

#[test]
fn a_candidate_whose_slots_shrink_loses_them_and_needs_them_no_more() {
    let scene = Scene::empty().starting(1, &["web"]).with(("a", 1, "web.1"), Ready, Quiet).with(
        ("b", 1, "web.2"),
        boots(),
        Quiet,
    );
    assert_eq!(scene.plan(), [promote(1), route(&["a"]), stop("b")]);
}

// What serves.

#[test]
fn crashes_in_a_row_wait_longer_and_longer() {
    for (count, wait) in [(1, 0), (2, 1), (3, 5), (4, 30), (5, 120), (6, 600), (7, 600), (70, 600)] {
        let scene = Scene::live(1, &["web"]).crashed(1, "web.1", count);
        if wait > 0 {
            assert_eq!(scene.after(wait - 1).plan(), [], "crash {count}");
        }
        let scene = Scene::live(1, &["web"]).crashed(1, "web.1", count);
        assert_eq!(scene.after(wait).plan(), [start(1, "web.1", 0)], "crash {count}");
    }
}

#[test]
fn a_crashed_instance_leaves_the_route_before_it_is_removed() {
    let scene = |traffic| {
        Scene::live(1, &["web"]).scaled("web", 2).with(("a", 1, "web.1"), Ready, Routed).with(
            ("b", 1, "web.2"),
            ended(),
            traffic,
        )
    };
    assert_eq!(scene(Routed).plan(), [start(1, "web.2", 0), route(&["a"])]);
    assert_eq!(scene(Draining).plan(), [start(1, "web.2", 0), reap("b")]);
    assert_eq!(scene(Quiet).plan(), [start(1, "web.2", 0), reap("b")]);
}

#[test]
fn a_vanished_instance_is_started_again() {
    let scene = Scene::live(1, &["web", "worker"]).with(("a", 1, "web.1"), Ready, Routed);
    assert_eq!(scene.plan(), [start(1, "worker.1", 0)]);
    assert_eq!(Scene::live(1, &["web"]).plan(), [start(1, "web.1", 0)]);
}

#[test]
fn scaling_down_drains_before_it_stops() {
    let scene =
        |second| Scene::live(1, &["web"]).with(("a", 1, "web.1"), Ready, Routed).with(("b", 1, "web.2"), Ready, second);
    assert_eq!(scene(Routed).plan(), [route(&["a"])]);
    assert_eq!(scene(Draining).plan(), []);
    assert_eq!(scene(Quiet).plan(), [stop("b")]);
    assert_eq!(scene(Draining).scaled("web", 2).plan(), [route(&["a", "b"])]);
}

#[test]
fn scaling_down_to_one_that_is_not_ready_leaves_the_other_serving() {
    let scene =
        |first| Scene::live(1, &["web"]).with(("a", 1, "web.1"), first, Quiet).with(("b", 1, "web.2"), Ready, Routed);
    assert_eq!(scene(boots()).plan(), []);
    assert_eq!(scene(Ready).plan(), [route(&["a"])]);
}

#[test]
fn a_server_that_died_before_it_routed_what_it_promoted_leaves_the_old_release_serving() {
    let scene =
        |new| Scene::live(2, &["web"]).with(("a", 1, "web.1"), Ready, Routed).with(("b", 2, "web.1"), new, Quiet);
    assert_eq!(scene(boots()).plan(), []);
    assert_eq!(scene(Ready).plan(), [route(&["b"])]);
}

#[test]
fn of_two_instances_in_one_slot_the_routed_one_stays() {
    let scene = |first, second| {
        Scene::live(1, &["web"]).with(("a", 1, "web.1"), Ready, first).with(("b", 1, "web.1"), Ready, second)
    };
    assert_eq!(scene(Routed, Quiet).plan(), [stop("b")]);
    assert_eq!(scene(Quiet, Quiet).plan(), [route(&["b"]), stop("a")]);
}

#[test]
fn a_restarted_web_instance_serves_until_the_new_one_is_ready() {
    let scene = |old, new| {
        Scene::live(1, &["web"]).restarted("web.1").with(("a", 1, "web.1"), Ready, old).with_epoch(
            ("b", 1, "web.1"),
            1,
            new,
            if old == Routed { Quiet } else { Routed },
        )
    };
    let asked = Scene::live(1, &["web"]).restarted("web.1").with(("a", 1, "web.1"), Ready, Routed);
    assert_eq!(asked.plan(), [start(1, "web.1", 1)]);
    assert_eq!(scene(Routed, boots()).plan(), []);
    assert_eq!(scene(Routed, Ready).plan(), [route(&["b"])]);
    assert_eq!(scene(Quiet, Ready).plan(), [stop("a")]);
}

#[test]
fn a_restarted_worker_ends_before_the_new_one_begins() {
    let scene = |state| Scene::live(1, &["worker"]).restarted("worker.1").with(("a", 1, "worker.1"), state, Quiet);
    assert_eq!(scene(Ready).plan(), [stop("a")]);
    assert_eq!(scene(Stopping).plan(), []);
    assert_eq!(scene(ended()).plan(), [start(1, "worker.1", 1), reap("a")]);
}

#[test]
fn a_stopped_app_is_routed_to_nobody_then_drained_then_stopped() {
    let scene = |traffic| {
        Scene::live(1, &["web", "worker"]).stopped().with(("a", 1, "web.1"), Ready, traffic).with(
            ("b", 1, "worker.1"),
            Ready,
            Quiet,
        )
    };
    assert_eq!(scene(Routed).plan(), [route(&[]), stop("b")]);
    assert_eq!(scene(Draining).plan(), [stop("b")]);
    assert_eq!(scene(Quiet).plan(), [stop("a"), stop("b")]);
}

#[test]
fn a_config_change_of_a_stopped_app_is_promoted_without_instances() {
    assert_eq!(Scene::live(1, &["web", "worker"]).stopped().starting(2, &["web", "worker"]).plan(), [promote(2)]);
}

#[test]
fn types_that_a_release_no_longer_has_end_with_its_promotion() {
    let scene = |no| {
        Scene::live(no, &["web"]).with(("a", 1, "worker.1"), Ready, Quiet).with(
            ("b", 2, "web.1"),
            Ready,
            if no == 1 { Quiet } else { Routed },
        )
    };
    let mut starting = scene(1).starting(2, &["web"]).with(("c", 1, "web.1"), Ready, Routed);
    starting.wanted.live = Some(spec(1, &["web", "worker"]));
    assert_eq!(starting.plan(), [promote(2), route(&["b"]), stop("a")]);
    assert_eq!(scene(2).plan(), [stop("a")]);
}
