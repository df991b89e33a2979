//! The course of a rollout: phase and weight, one commit after the other.

use super::canaries::{blue_green, weighted};
use super::world::{Metrics, World, image};
use crate::api::checked::{Strategy, ValidatedCanary};
use crate::api::status::Phase::{
    self, Failed, Finalising, Initialized, Initializing, Progressing, Promoting, Succeeded,
};

fn course(canary: ValidatedCanary, metrics: Metrics) -> Vec<(Phase, i32)> {
    let mut world = World::initialized(canary, image(1));
    world.conditions.metrics = metrics;
    world.apply(image(2));
    world.settle();
    assert_eq!(world.promises.broken, []);
    world.course
}

#[test]
fn the_first_meeting_moves_traffic_to_the_primary() {
    for canary in [weighted(&[10]), blue_green(1)] {
        let mut world = World::new(canary, image(1));
        world.settle();
        assert_eq!(world.course, [(Initializing, 0), (Initialized, 0)]);
        assert_eq!(world.target.as_ref().map(|target| target.replicas), Some(0));
        assert_eq!(world.promises.broken, []);
    }
}

/// Flagger's `scheduler_svc_test.go`: primary weights 100,80,60,40 and so on.
#[test]
fn weights_follow_the_plan() {
    let plans: [&[i32]; 5] = [&[20, 40, 60], &[50, 100], &[1, 2, 10, 80], &[10, 100], &[10, 20, 30, 40, 50]];
    for steps in plans {
        let got = course(weighted(steps), Metrics::Good);
        let mut expected = vec![(Progressing, 0)];
        expected.extend(steps.iter().map(|weight| (Progressing, *weight)));
        let last = steps.last().copied().unwrap_or_default();
        expected.extend([(Promoting, last), (Finalising, 0), (Succeeded, 0)]);
        assert_eq!(got, expected, "{steps:?}");
    }
}

/// Flagger's `AnalysisPhases` and `BlueGreenAnalysisPhases`.
#[test]
fn phases_follow_each_other_as_in_flagger() {
    const PROMOTED: [(Phase, i32); 4] = [(Progressing, 0), (Promoting, 0), (Finalising, 0), (Succeeded, 0)];
    const BY_STEPS: [(Phase, i32); 6] =
        [(Progressing, 0), (Progressing, 100), (Promoting, 100), (Promoting, 50), (Finalising, 0), (Succeeded, 0)];
    type Case = (ValidatedCanary, Metrics, &'static [(Phase, i32)]);
    let mut by_steps = weighted(&[100]);
    by_steps.analysis.strategy = Strategy::Weighted { steps: vec![100], promotion_step: 50 };
    let mut skipping = weighted(&[10, 50]);
    skipping.skip_analysis = true;
    let cases: [Case; 6] = [
        (by_steps, Metrics::Good, &BY_STEPS),
        (blue_green(1), Metrics::Good, &PROMOTED),
        (blue_green(3), Metrics::Good, &PROMOTED),
        (skipping, Metrics::Bad, &PROMOTED),
        (weighted(&[10, 50]), Metrics::Bad, &[(Progressing, 0), (Progressing, 10), (Failed, 0)]),
        (blue_green(3), Metrics::Bad, &[(Progressing, 0), (Failed, 0)]),
    ];
    for (canary, metrics, expected) in cases {
        let told = format!("{:?} {metrics:?}", canary.analysis.strategy);
        assert_eq!(course(canary, metrics), expected, "{told}");
    }
}

/// Kubernetes calls a pod ready before every proxy knows its address.
#[test]
fn the_first_step_lets_the_data_plane_learn_of_the_pods() {
    let intervals_and_waits = [(1, 1), (10, 5), (60, 5)];
    for (interval, wait) in intervals_and_waits {
        let mut canary = weighted(&[10]);
        canary.analysis.interval_seconds = interval;
        let mut world = World::initialized(canary, image(1));
        world.apply(image(2));
        world.run_until(|world| world.status.canary_weight > 0);
        let pods = world.target.as_ref().and_then(|target| target.pods.as_ref());
        let ready_at = pods.and_then(|pods| pods.ready_at).unwrap();
        assert_eq!((world.now - ready_at).num_seconds(), wait, "interval {interval}");
    }
}
