//! Taking a revision back, and not knowing.

use chrono::TimeDelta;

use super::canaries::{blue_green, weighted};
use super::world::{Build, Metrics, PODS, World, image};
use crate::api::checked::{OnError, OnNoData, ValidatedCanary};
use crate::api::status::{Outcome, Phase, Verdict};
use crate::rollout::{Action, Intent, Scale};

fn running(canary: ValidatedCanary, weight: i32) -> World {
    let mut world = World::initialized(canary, image(1));
    world.apply(image(2));
    world.run_until(|world| world.status.canary_weight == weight && world.status.traffic_applied_time.is_some());
    world
}

/// Outcome and reason of the last run.
fn last_run(world: &World) -> Option<(Outcome, &str, i32)> {
    world.status.history.first().map(|run| (run.outcome, run.reason.as_str(), run.weight))
}

#[test]
fn the_threshold_takes_the_traffic_away_first_in_the_same_pass() {
    let mut canary = weighted(&[10, 20]);
    canary.analysis.threshold = 1;
    let mut world = running(canary, 20);
    let mark = format!("v2c1@{}", world.status.run_start_time.expect("a run").format("%Y-%m-%dT%H:%M:%S.000Z"));
    world.conditions.metrics = Metrics::Bad;
    world.now += TimeDelta::seconds(10);
    let decision = world.pass();
    let away = Action::Route(Intent { canary_weight: 0, withdrawn: Some(mark) });
    assert_eq!(decision.actions, [away, Action::CommitStatus, Action::SendAlerts]);
    assert_eq!((decision.status.phase, decision.status.canary_weight), (Phase::Failed, 0));
    let reason = "request-success-rate 95 < 99 (1 of 1 failed checks)";
    assert_eq!(last_run(&world), Some((Outcome::RolledBack, reason, 20)));
    world.settle();
    assert_eq!(world.writes.last(), Some(&Action::CommitStatus), "the scale-down is noted as done");
    assert!(world.writes.contains(&Action::ScaleTarget(Scale::Zero)));
    assert_eq!(world.promises.broken, []);
}

#[test]
fn failed_checks_add_up_over_the_run_and_a_pass_does_not_forgive_them() {
    let mut world = running(weighted(&[10, 20, 30, 40, 50]), 10);
    for (metrics, weight, failed_checks) in [
        (Metrics::Bad, 10, 1),
        (Metrics::Good, 20, 1),
        (Metrics::Bad, 20, 2),
        (Metrics::Good, 30, 2),
        (Metrics::Bad, 0, 0),
    ] {
        world.conditions.metrics = metrics;
        let before = world.status.checks.first().map(|check| check.time);
        world.run_until(|world| world.status.checks.first().map(|check| check.time) != before);
        assert_eq!((world.status.canary_weight, world.status.failed_checks), (weight, failed_checks), "{metrics:?}");
    }
    assert_eq!(world.status.phase, Phase::Failed);
}

#[test]
fn what_no_answer_means_is_said_in_the_manifest() {
    use Metrics::{Down, Empty};
    let held = |weight| (Phase::Progressing, weight, 0);
    let failed_once = (Phase::Progressing, 10, 1);
    let advanced = (Phase::Progressing, 20, 0);
    for (metrics, on_no_data, on_error, expected) in [
        (Empty, OnNoData::Fail, OnError::Hold, failed_once),
        (Empty, OnNoData::Hold, OnError::Hold, held(10)),
        (Empty, OnNoData::Pass, OnError::Hold, advanced),
        (Down, OnNoData::Fail, OnError::Hold, held(10)),
        (Down, OnNoData::Pass, OnError::Fail, failed_once),
    ] {
        let mut canary = weighted(&[10, 20]);
        canary.analysis.checks[0].on_no_data = on_no_data;
        canary.analysis.checks[0].on_error = on_error;
        let mut world = running(canary, 10);
        world.conditions.metrics = metrics;
        world.run_until(|world| !world.status.checks.is_empty());
        let got = (world.status.phase, world.status.canary_weight, world.status.failed_checks);
        assert_eq!(got, expected, "{metrics:?} {on_no_data:?} {on_error:?}");
    }
}

#[test]
fn an_outage_holds_and_the_run_goes_on_where_it_was() {
    let mut world = running(weighted(&[10, 20, 30]), 20);
    world.conditions.metrics = Metrics::Down;
    world.run_until(|world| world.status.checks.iter().any(|check| check.verdict == Verdict::Inconclusive));
    let says = |world: &World| world.status.conditions[0].message.clone();
    let held = "Hold frontend.default at weight 20: request-success-rate query failed: connection refused";
    for _ in 0..100 {
        world.run_seconds(1);
        world.pass();
        assert_eq!(says(&world), held, "between two checks too");
    }
    assert_eq!((world.status.phase, world.status.canary_weight), (Phase::Progressing, 20));
    world.conditions.metrics = Metrics::Good;
    world.settle();
    assert_eq!(last_run(&world), Some((Outcome::Promoted, "every check passed", 30)));
    assert_eq!(world.promises.broken, []);
}

#[test]
fn a_hold_ends_in_a_rollback_at_its_timeout_and_not_before() {
    // The timeout is no multiple of the interval.
    let mut canary = weighted(&[10, 20, 30]);
    canary.analysis.hold_timeout_seconds = 27;
    let mut world = running(canary, 20);
    world.conditions.metrics = Metrics::Down;
    world.run_until(|world| world.status.hold_since.is_some());
    world.run_seconds(26);
    assert_eq!(world.status.phase, Phase::Progressing);
    world.run_seconds(1);
    assert_eq!(world.status.phase, Phase::Failed);
    let reason = "request-success-rate not known for 27s: query failed: connection refused";
    assert_eq!(last_run(&world), Some((Outcome::RolledBack, reason, 20)));
}

#[test]
fn a_dry_run_is_reported_and_never_decides() {
    let mut canary = weighted(&[10]);
    canary.analysis.checks[0].dry_run = true;
    let mut world = running(canary, 10);
    world.conditions.metrics = Metrics::Bad;
    world.settle();
    assert_eq!(world.status.phase, Phase::Succeeded);
    assert_eq!(world.status.checks[0].reason, "95 < 99");
}

#[test]
fn pods_that_never_become_ready_end_the_run_at_the_progress_deadline() {
    for canary in [weighted(&[10]), blue_green(2)] {
        let mut world = World::initialized(canary, image(1));
        world.conditions.pods_ready_after = None;
        world.apply(image(2));
        world.run_seconds(59);
        assert_eq!(world.status.phase, Phase::Progressing);
        world.run_seconds(1);
        let reason = "frontend.default not ready within 60s: 0 of 2 pods are ready";
        assert_eq!(last_run(&world), Some((Outcome::RolledBack, reason, 0)));
        world.settle();
        assert_eq!(
            world.alerts.last().map(|alert| alert.message.as_str()),
            Some(
                "Canary frontend.default was rolled back: frontend.default not ready within 60s: 0 of 2 pods are ready"
            )
        );
        assert_eq!(world.promises.broken, []);
    }
}

#[test]
fn lost_pods_lose_their_traffic_at_once_and_earn_it_anew() {
    let mut world = running(weighted(&[10, 20, 30]), 20);
    world.forget();
    world.lose_pods(Some(5));
    world.run_seconds(0);
    assert_eq!((world.status.canary_weight, world.status.failed_checks), (0, 1));
    assert_eq!(world.route.as_ref().map(|route| route.intent.canary_weight), Some(0));
    world.settle();
    let weights: Vec<i32> = world.course.iter().map(|(_, weight)| *weight).collect();
    assert_eq!(weights, [0, 10, 20, 30, 30, 0, 0]);
    assert_eq!(world.status.phase, Phase::Succeeded);
    assert_eq!(world.promises.broken, []);
}

/// Pods with the old configuration can't be replaced while nobody else can serve their users.
#[test]
fn pods_whose_configuration_changed_stay_until_the_primary_can_take_their_traffic() {
    for (back_after, expected) in [(Some(30), Outcome::Promoted), (None, Outcome::RolledBack)] {
        let mut world = running(weighted(&[10, 20, 30]), 20);
        world.break_primary(back_after);
        world.apply(Build { image: 2, config: 2 });
        world.run_seconds(1);
        let replicas = world.target.as_ref().map_or(0, |target| target.replicas);
        assert!(world.status.canary_weight == 20 && replicas > 0, "{expected:?}: {:?}", world.status);
        world.settle();
        let (outcome, reason, _) = last_run(&world).unwrap();
        assert_eq!(outcome, expected, "{reason}");
        assert_eq!(reason.contains("have traffic that"), expected == Outcome::RolledBack, "{reason}");
        assert_eq!(world.promises.broken, [], "{expected:?}");
    }
}

#[test]
fn a_scale_up_that_lands_after_the_rollback_is_undone_and_one_by_hand_is_not() {
    for (by_us, expected) in [(true, 0), (false, PODS)] {
        let mut world = World::initialized(weighted(&[10]), image(1));
        world.conditions.metrics = Metrics::Bad;
        world.apply(image(2));
        world.settle();
        assert_eq!(world.status.phase, Phase::Failed);
        world.scale_up();
        if let Some(target) = &mut world.target {
            target.scaled_by_us = by_us;
        }
        world.settle();
        assert_eq!(world.target.as_ref().map(|target| target.replicas), Some(expected), "by us: {by_us}");
    }
}

/// However often the status is written in between.
#[test]
fn a_data_plane_that_does_not_take_the_route_ends_the_run_at_the_hold_timeout() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.conditions.route_applied_after = None;
    world.apply(image(2));
    world.run_until(|world| world.status.canary_weight == 10);
    for _ in 0..11 {
        world.run_seconds(10);
        world.edit(|canary| canary.analysis.threshold += 1);
        assert_eq!(world.status.phase, Phase::Progressing);
    }
    world.run_seconds(10);
    let reason = "the data plane did not take the route: not accepted yet";
    assert_eq!(last_run(&world), Some((Outcome::RolledBack, reason, 10)));
    world.settle();
    assert_eq!(world.target.as_ref().map(|target| target.replicas), Some(0), "a scale-down waits only so long");
    assert_eq!(world.promises.broken, []);
}

#[test]
fn a_deleted_route_is_not_a_route_in_place() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.conditions.route_applied_after = None;
    world.apply(image(2));
    world.run_until(|world| world.status.canary_weight == 10);
    world.route = None;
    world.pass();
    assert_eq!(world.status.traffic_applied_time, None);
    assert_eq!(world.route.as_ref().map(|route| route.intent.canary_weight), Some(10), "it is made again");
}

#[test]
fn a_plan_that_is_edited_in_mid_run_is_followed_from_the_present_weight() {
    let cases: [(&[i32], &[i32]); 4] = [
        (&[10, 20, 25, 70], &[20, 25, 70, 70, 0, 0]),
        // Flagger jumps to 100 when the present weight is not in the list.
        (&[5, 60], &[20, 60, 60, 0, 0]),
        (&[5, 15], &[20, 20, 0, 0]),
        (&[100], &[20, 100, 100, 0, 0]),
    ];
    for (plan, expected) in cases {
        let mut world = running(weighted(&[10, 20, 30, 40]), 20);
        let present = world.status.clone();
        world.forget();
        world.course.push((present.phase, present.canary_weight));
        let steps = plan.to_vec();
        world.edit(|canary| canary.analysis.strategy = weighted(&steps).analysis.strategy);
        world.settle();
        let weights: Vec<i32> = world.course.iter().map(|(_, weight)| *weight).collect();
        assert_eq!(weights, expected, "{plan:?}");
        assert_eq!(world.promises.broken, []);
    }
}

#[test]
fn an_empty_plan_promotes_only_after_a_check() {
    let mut world = World::initialized(weighted(&[]), image(1));
    world.conditions.metrics = Metrics::Bad;
    world.apply(image(2));
    world.settle();
    assert_eq!(world.status.phase, Phase::Failed);
    assert_eq!(world.promises.broken, []);
}

#[test]
fn the_history_keeps_ten_runs_newest_first() {
    let mut world = World::initialized(weighted(&[10]), image(1));
    for build in 2..14 {
        world.apply(image(build));
        world.settle();
    }
    let revisions: Vec<&str> = world.status.history.iter().map(|run| run.revision.as_str()).collect();
    assert_eq!(revisions, ["v13c1", "v12c1", "v11c1", "v10c1", "v9c1", "v8c1", "v7c1", "v6c1", "v5c1", "v4c1"]);
}
