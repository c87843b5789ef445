//! Random histories of the world: every plan and every state on the way is judged, and in the end the world comes to rest.
use super::invariants::{Judge, judge_rest, judge_world};
use super::world::{Event, World};
use super::*;
use proptest::prelude::*;

/// Rounds of look and act after which the world has come to rest.
const ROUNDS_MAX: usize = 40;

fn a_type() -> impl Strategy<Value = ProcessType> {
    prop::sample::select(vec!["web", "web", "worker", "clock"]).prop_map(process)
}

/// Mostly web and worker, now and then without one of them.
fn processes() -> impl Strategy<Value = BTreeSet<ProcessType>> {
    let sets: Vec<&[&str]> = vec![
        &["web", "worker"],
        &["web", "worker"],
        &["web", "worker"],
        &["web"],
        &["worker"],
        &["web", "worker", "clock"],
    ];
    prop::sample::select(sets).prop_map(|set| set.iter().map(|p| process(p)).collect())
}

fn event() -> impl Strategy<Value = Event> {
    let any = any::<usize>;
    prop_oneof![
        24 => Just(Event::Look),
        40 => Just(Event::Act),
        12 => any().prop_map(Event::ProbePasses),
        6 => prop::sample::select(vec![1, 2, 3, 3, 20, 61, 700]).prop_map(|seconds| Event::Passes { seconds }),
        5 => any().prop_map(Event::StopEnds),
        4 => any().prop_map(Event::RequestBegins),
        4 => any().prop_map(Event::RequestEnds),
        3 => processes().prop_map(|processes| Event::Push { processes }),
        1 => Just(Event::ConfigChange),
        1 => processes().prop_map(|processes| Event::Rollback { processes }),
        2 => (a_type(), 0..4_u16).prop_map(|(process, count)| Event::Scale { process, count }),
        2 => (a_type(), prop::option::of(1..3_u32)).prop_map(|(process, index)| Event::Restart { process, index }),
        1 => Just(Event::StopApp),
        1 => Just(Event::StartApp),
        1 => Just(Event::PaasDies),
        1 => Just(Event::StartFails),
        1 => (any(), prop::sample::select(vec![500, 503])).prop_map(|(n, status)| Event::ProbeMeets(n, status)),
        2 => any().prop_map(Event::Crashes),
        1 => any().prop_map(Event::Vanishes),
    ]
}

/// Looks, judges the plan, and puts it on the agenda.
fn look(world: &mut World) -> usize {
    world.note_crashes();
    let actions = world.plan();
    Judge::new(world, &actions).judge();
    world.intend(&actions);
    actions.len()
}

fn live_through(exclusive: bool, events: Vec<Event>) -> World {
    let mut world = World::new(exclusive);
    for event in events {
        if matches!(event, Event::Look) && world.agenda.is_empty() {
            look(&mut world);
        }
        world.happen(event);
        judge_world(&world);
    }
    world
}

/// Nothing happens to the world any more but what has to: starting instances get ready, stopping ones end, requests end.
fn come_to_rest(world: &mut World) {
    let mut has_waited = false;
    for _ in 0..ROUNDS_MAX {
        while !world.agenda.is_empty() {
            world.act();
            judge_world(world);
        }
        for n in 0..world.instances.len() {
            world.happen(Event::ProbePasses(n));
        }
        world.in_flight.clear();
        while !world.stopping.is_empty() {
            world.happen(Event::StopEnds(0));
        }
        world.happen(Event::Passes { seconds: 3 });
        if look(world) == 0 {
            if has_waited {
                world.act();
                return;
            }
            // Longer than the longest wait after a crash.
            world.happen(Event::Passes { seconds: 600 });
            has_waited = true;
        }
    }
    panic!("the world does not come to rest: {:?}", world.agenda);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_plan_is_safe_and_the_world_comes_to_rest(events in prop::collection::vec(event(), 0..250)) {
        let mut world = live_through(false, events);
        come_to_rest(&mut world);
        judge_rest(&world);
    }

    #[test]
    fn releases_of_an_app_with_a_volume_never_run_side_by_side(events in prop::collection::vec(event(), 0..250)) {
        let mut world = live_through(true, events);
        come_to_rest(&mut world);
        judge_rest(&world);
    }

    #[test]
    fn volumes_may_come_and_go_at_any_moment(
        events in prop::collection::vec(prop_oneof![30 => event(), 1 => Just(Event::VolumeComesOrGoes)], 0..250),
    ) {
        let mut world = live_through(false, events);
        come_to_rest(&mut world);
        judge_rest(&world);
    }
}
