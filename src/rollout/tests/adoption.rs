//! Taking over from Flagger, whose status has no revisions of ours.

use chrono::TimeDelta;

use super::canaries::weighted;
use super::world::{PODS, World, image};
use crate::api::status::{Outcome, Phase, Run};

#[test]
fn a_change_of_controllers_starts_no_run_and_loses_none() {
    use Phase::{Failed, Finalising, Initialized, New, Progressing, Promoting, Succeeded, Waiting, WaitingPromotion};
    let (same, other) = (image(1), image(2));
    // phase, canary weight and the target's build as they were left; primary at v1; then: phase, what the primary runs,
    // number of runs
    let cases = [
        (New, 0, same, Initialized, 1, 0),
        (New, 0, other, Succeeded, 2, 1),
        (Initialized, 0, same, Initialized, 1, 0),
        (Succeeded, 0, same, Succeeded, 1, 0),
        (Succeeded, 0, other, Succeeded, 2, 1),
        (Failed, 0, other, Failed, 1, 0),
        (Waiting, 0, other, Succeeded, 2, 1),
        (Progressing, 20, other, Succeeded, 2, 1),
        (WaitingPromotion, 20, other, Succeeded, 2, 1),
        (Promoting, 20, same, Succeeded, 1, 0),
        (Promoting, 20, other, Succeeded, 2, 1),
        (Finalising, 0, same, Succeeded, 1, 0),
        // Flagger leaves the traffic on the canary when a promotion fails.
        (Failed, 100, same, Failed, 1, 0),
    ];
    for (phase, weight, target, expected, primary, runs) in cases {
        let mut world = World::adopted(weighted(&[10, 20]), phase, weight, target, image(1));
        world.settle();
        let told = format!("{phase:?} at {weight} with {target:?}");
        let runs_now = world.primary.as_ref().map(|primary| primary.pods.build);
        assert_eq!((world.status.phase, runs_now), (expected, Some(image(primary))), "{told}");
        assert_eq!(world.status.history.len(), runs, "{told}");
        assert_eq!(world.promises.broken, [], "{told}");
    }
}

#[test]
fn a_run_that_was_under_way_begins_again_from_zero() {
    let mut world = World::adopted(weighted(&[10, 20]), Phase::Progressing, 20, image(2), image(1));
    world.run_until(|world| world.status.phase == Phase::Succeeded);
    let weights: Vec<i32> = world.course.iter().map(|(_, weight)| *weight).collect();
    assert_eq!(weights, [0, 10, 20, 20, 0, 0]);
}

#[test]
fn a_failed_promotion_keeps_the_canary_until_the_primary_can_serve() {
    // Whoever scaled it up: users have nobody else.
    for scaled_by_us in [true, false] {
        let mut world = World::adopted(weighted(&[10, 20]), Phase::Failed, 100, image(1), image(1));
        world.status.history = vec![Run {
            revision: image(1).revision().id,
            outcome: Outcome::RolledBack,
            reason: "long ago".to_owned(),
            weight: 100,
            start_time: None,
            end_time: world.now - TimeDelta::hours(1),
        }];
        world.scale_up();
        if let Some(target) = &mut world.target {
            target.scaled_by_us = scaled_by_us;
        }
        world.break_primary(Some(600));
        let traffic_and_pods = |world: &World| {
            let weight = world.route.as_ref().map(|route| route.intent.canary_weight);
            (weight, world.target.as_ref().map(|target| target.replicas))
        };
        world.run_seconds(599);
        assert_eq!(traffic_and_pods(&world), (Some(100), Some(PODS)), "scaled by us: {scaled_by_us}");
        world.settle();
        assert_eq!(traffic_and_pods(&world), (Some(0), Some(0)), "scaled by us: {scaled_by_us}");
        assert_eq!(world.promises.broken, [], "scaled by us: {scaled_by_us}");
    }
}
