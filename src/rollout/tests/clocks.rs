//! A clock that is set back in mid-run.

use super::canaries::weighted;
use super::world::{Build, Metrics, World, image};
use crate::api::status::Outcome;

/// How long a wait lasts before the clock is set.
const BEFORE_SECONDS: i64 = 10;

/// Makes a world in which a run waits for something that never comes.
type Wait = fn() -> World;

fn run() -> World {
    let mut world = World::initialized(weighted(&[10, 20, 30]), image(1));
    world.apply(image(2));
    world.run_until(|world| world.status.canary_weight == 20);
    world
}

fn pods_never_ready() -> World {
    let mut world = World::initialized(weighted(&[10]), image(1));
    world.conditions.pods_ready_after = None;
    world.apply(image(2));
    world.run_until(|world| world.status.not_ready_since.is_some());
    world
}

fn pods_never_ready_and_nobody_can_use_the_spec() -> World {
    let mut world = pods_never_ready();
    world.conditions.invalid = Some("spec.analysis.interval: 1 is no duration".to_owned());
    world
}

fn pods_held_for_a_primary_that_is_gone() -> World {
    let mut world = run();
    world.break_primary(None);
    world.apply(Build { image: 2, config: 2 });
    world.run_until(|world| world.status.not_ready_since.is_some());
    world
}

fn no_answer_to_a_check() -> World {
    let mut world = run();
    world.conditions.metrics = Metrics::Down;
    world.run_until(|world| world.status.hold_since.is_some());
    world
}

fn a_data_plane_that_does_not_take_the_route() -> World {
    let mut world = run();
    world.conditions.route_applied_after = None;
    world.run_until(|world| world.status.canary_weight == 30);
    world
}

/// Seconds from the beginning of the wait to the rollback, by a clock that is never set.
fn lasts(mut world: World, jump_seconds: i64) -> i64 {
    let start = world.now;
    world.run_seconds(BEFORE_SECONDS);
    world.set_clock(jump_seconds);
    world.pass();
    world.run_seconds(1);
    world.conditions.invalid = None;
    world.run_until(|world| world.status.history.first().is_some_and(|run| run.outcome == Outcome::RolledBack));
    (world.now - start).num_seconds() - jump_seconds
}

#[test]
fn a_clock_that_is_set_back_lengthens_a_wait_at_most_by_what_of_it_was_not_written_down() {
    let waits: [(&str, Wait); 5] = [
        ("pods never ready", pods_never_ready),
        ("a spec that can't be used", pods_never_ready_and_nobody_can_use_the_spec),
        ("held pods", pods_held_for_a_primary_that_is_gone),
        ("no answer", no_answer_to_a_check),
        ("a route that is not taken", a_data_plane_that_does_not_take_the_route),
    ];
    for (name, waiting) in waits {
        let calm = lasts(waiting(), 0);
        let set_back = lasts(waiting(), -3600);
        assert!((calm..=calm + BEFORE_SECONDS).contains(&set_back), "{name}: {set_back} s instead of {calm} s");
    }
}
