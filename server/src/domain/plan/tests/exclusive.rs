//! What has to hold for every plan of an app whose releases may not run side by side; and its rules by one example each.
use super::examples::{Scene, T0, boots, crash, ended, fail, make, promote, reap, route, start, stop};
use super::invariants::Judge;
use super::world::{Life, World};
use super::*;
use crate::domain::instance::State::{Made, Ready, Stopping};
use crate::domain::instance::Traffic::{Draining, Quiet, Routed};

impl Judge<'_> {
    pub(super) fn judge_exclusive(&self) {
        self.the_order_is_the_order_of_execution();
        self.only_the_ready_are_routed();
        self.the_candidate_is_judged_by_what_is_wanted();
        self.nobody_leaves_the_route_before_a_successor_is_made();
        for action in self.actions {
            match action {
                Action::Make { release, slot, epoch } => self.a_make_is_for_later(*release, slot, *epoch),
                Action::Start { release, slot, epoch } => self.a_start_is_alone(*release, slot, *epoch),
                Action::Stop { id } => self.nobody_is_cut_short(id),
                Action::Reap { id } => {
                    let s = self.find(id);
                    let has_ended = matches!(s.state, State::Exited { .. }) && s.traffic != Traffic::Routed;
                    assert!(has_ended || s.state == Made, "reaps {s:?}");
                }
                Action::Fail { .. } | Action::Promote { .. } | Action::Route { .. } => {}
            }
        }
        self.it_is_the_same_again();
    }

    /// Requests wait as short as can be: what is to come is there when they begin to.
    fn nobody_leaves_the_route_before_a_successor_is_made(&self) {
        let is_made = |slot: &Slot, of: ReleaseNo| {
            let waits = |s: &&Seen| s.release == of && s.slot == *slot && !matches!(s.state, State::Exited { .. });
            let epoch = self.world.wanted.epochs.get(slot).copied().unwrap_or(0);
            self.seen.iter().filter(waits).any(|s| s.state != Made || s.epoch == epoch)
        };
        let candidate = self.world.wanted.starting.as_ref().filter(|_| !self.has_verdict());
        let is_prepared = candidate.is_some_and(|c| {
            self.slots(Some(&c.spec)).iter().all(|slot| is_made(slot, c.spec.no))
                || self.seen.iter().any(|s| s.release == c.spec.no && matches!(s.state, State::Starting { .. } | Ready))
        });
        for id in self.ready_web_of_serving() {
            let s = self.find(&id);
            let leaves = s.traffic == Traffic::Routed && !self.routed.contains(&id);
            let made = |m: &Seen| m.state == Made && m.release == s.release && m.slot == s.slot && m.epoch > s.epoch;
            let is_doubled = self.routed.iter().any(|other| self.find(other).slot == s.slot);
            let has_successor = is_prepared || is_doubled || self.seen.iter().any(made);
            assert!(!leaves || has_successor, "{s:?} leaves the route for nobody");
        }
    }

    fn a_make_is_for_later(&self, release: ReleaseNo, slot: &Slot, epoch: u64) {
        assert!(self.wants(release, slot), "makes {slot} of {release}, which nobody wants");
        assert_eq!(epoch, self.world.wanted.epochs.get(slot).copied().unwrap_or(0));
        let is_there = |s: &&Seen| (s.release, &s.slot, s.epoch) == (release, slot, epoch);
        let is_usable = |s: &Seen| matches!(s.state, Made | State::Starting { .. } | Ready);
        assert!(!self.seen.iter().filter(is_there).any(is_usable), "makes {slot} of {release} twice");
    }

    fn a_start_is_alone(&self, release: ReleaseNo, slot: &Slot, epoch: u64) {
        assert!(self.wants(release, slot), "starts {slot} of {release}, which nobody wants");
        assert_eq!(epoch, self.world.wanted.epochs.get(slot).copied().unwrap_or(0));
        let runs = |s: &&Seen| !matches!(s.state, Made | State::Exited { .. });
        for s in self.seen.iter().filter(runs) {
            assert!(s.release == release && s.slot != *slot, "starts {slot} of {release} beside {s:?}");
        }
        let starts_of_others =
            self.actions.iter().filter(|a| matches!(a, Action::Start { release: other, .. } if *other != release));
        assert_eq!(starts_of_others.count(), 0, "starts two releases");
        self.a_crash_is_waited_for(release, slot);
    }

    fn wants(&self, release: ReleaseNo, slot: &Slot) -> bool {
        let candidate = self.world.wanted.starting.as_ref().map(|c| &c.spec);
        let spec = [self.serving.as_ref(), candidate].into_iter().flatten().find(|spec| spec.no == release);
        self.slots(spec).contains(slot)
    }
}

/// At no time do two releases run.
pub(super) fn judge_exclusive_world(world: &World) {
    let runs = world.instances.values().filter(|i| matches!(i.life, Life::Runs { .. }));
    let releases: BTreeSet<ReleaseNo> = runs.map(|i| i.release).collect();
    assert!(releases.len() <= 1, "{releases:?} run at the same time");
}

const WEB: &[&str] = &["web"];

/// One web instance of v1 serves, and the app has a volume.
fn scene() -> Scene {
    Scene::live(1, WEB).exclusive()
}

#[test]
fn a_candidate_is_made_then_the_old_one_leaves_ends_and_only_then_it_starts() {
    let scene = |state, traffic| scene().starting(2, WEB).with(("a", 1, "web.1"), state, traffic);
    assert_eq!(scene(Ready, Routed).plan(), [make(2, "web.1", 0)]);
    let made = |state, traffic| scene(state, traffic).with(("b", 2, "web.1"), Made, Quiet);
    assert_eq!(made(Ready, Routed).plan(), [route(&[])]);
    assert_eq!(made(Ready, Draining).plan(), []);
    assert_eq!(made(Ready, Quiet).plan(), [stop("a")]);
    assert_eq!(made(Stopping, Quiet).plan(), []);
    assert_eq!(made(ended(), Quiet).plan(), [start(2, "web.1", 0), reap("a")]);
    let next = self::scene().starting(2, WEB);
    assert_eq!(next.with(("b", 2, "web.1"), boots(), Quiet).plan(), []);
    let next = self::scene().starting(2, WEB).with(("b", 2, "web.1"), Ready, Quiet);
    assert_eq!(next.plan(), [promote(2), route(&["b"])]);
}

#[test]
fn all_processes_have_the_volume_so_all_end_before_any_starts() {
    let types = &["web", "worker"];
    let scene = || Scene::live(1, types).exclusive().starting(2, types);
    let both = || scene().with(("a", 1, "web.1"), Ready, Quiet).with(("w", 1, "worker.1"), Ready, Quiet);
    assert_eq!(both().plan(), [make(2, "web.1", 0), make(2, "worker.1", 0), route(&["a"])]);
    let made = |scene: Scene| scene.with(("b", 2, "web.1"), Made, Quiet).with(("x", 2, "worker.1"), Made, Quiet);
    assert_eq!(made(both()).plan(), [stop("a"), stop("w")]);
    assert_eq!(made(scene().with(("w", 1, "worker.1"), Stopping, Quiet)).plan(), []);
    assert_eq!(made(scene()).plan(), [start(2, "web.1", 0), start(2, "worker.1", 0)]);
}

#[test]
fn a_candidate_that_fails_ends_before_the_old_release_starts_again() {
    let crashed = scene().starting(2, WEB).with(("b", 2, "web.1"), ended(), Quiet);
    assert_eq!(crashed.plan(), [fail(2, crash("web.1")), start(1, "web.1", 0), reap("b")]);
    let late = scene().starting(2, WEB).with(("b", 2, "web.1"), boots(), Quiet).held_since(T0).after(30);
    let timeout =
        Failure::TimedOut { process: "web.1".to_owned(), port: 5000, limit_secs: 30, listening: Listening::Unknown };
    assert_eq!(late.plan(), [fail(2, timeout), stop("b")]);
    let ends = scene().with(("b", 2, "web.1"), Stopping, Quiet);
    assert_eq!(ends.plan(), []);
    assert_eq!(scene().plan(), [start(1, "web.1", 0)]);
}

#[test]
fn a_candidate_that_fails_before_the_old_one_ended_gives_the_route_back() {
    let scene = scene().with(("a", 1, "web.1"), Ready, Draining).with(("b", 2, "web.1"), Made, Quiet);
    assert_eq!(scene.plan(), [route(&["a"]), reap("b")]);
}

#[test]
fn a_first_release_waits_for_nobody() {
    let first = Scene::empty().exclusive().starting(1, WEB);
    assert_eq!(first.plan(), [start(1, "web.1", 0)]);
    let boots = Scene::empty().exclusive().starting(1, WEB).with(("a", 1, "web.1"), boots(), Quiet).held_since(T0);
    assert_eq!(boots.after(59).plan(), []);
}

#[test]
fn a_restart_holds_in_the_same_way() {
    let scene = || scene().restarted("web.1");
    let serves = |state, traffic| scene().with(("a", 1, "web.1"), state, traffic);
    assert_eq!(serves(Ready, Routed).plan(), [make(1, "web.1", 1)]);
    let made = |state, traffic| serves(state, traffic).with_epoch(("b", 1, "web.1"), 1, Made, Quiet);
    assert_eq!(made(Ready, Routed).plan(), [route(&[])]);
    assert_eq!(made(Ready, Quiet).plan(), [stop("a")]);
    assert_eq!(made(Stopping, Quiet).plan(), []);
    assert_eq!(scene().with_epoch(("b", 1, "web.1"), 1, Made, Quiet).plan(), [start(1, "web.1", 1)]);
}

#[test]
fn of_two_web_instances_of_one_release_the_other_serves_during_a_restart() {
    let scene = scene().scaled("web", 2).restarted("web.1");
    let two = scene.with(("a", 1, "web.1"), Ready, Routed).with(("c", 1, "web.2"), Ready, Routed);
    assert_eq!(two.with_epoch(("b", 1, "web.1"), 1, Made, Quiet).plan(), [route(&["c"])]);
}

#[test]
fn what_was_made_for_nothing_is_removed() {
    let with = |scene: Scene| scene.with(("b", 2, "web.1"), Made, Quiet).with(("a", 1, "web.1"), Ready, Routed).plan();
    assert_eq!(with(scene()), [reap("b")]);
    assert_eq!(with(Scene::live(1, WEB)), [reap("b")]);
    let doubled = scene().starting(2, WEB).with(("b", 2, "web.1"), Made, Quiet).with(("c", 2, "web.1"), Made, Quiet);
    assert_eq!(doubled.plan(), [start(2, "web.1", 0), reap("c")]);
}
