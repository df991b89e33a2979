//! Newer revisions, older revisions, and revisions that come at the wrong moment.

use chrono::TimeDelta;

use super::canaries::{blue_green, weighted};
use super::world::{Build, Metrics, World, image};
use crate::api::status::{Outcome, Phase};
use crate::rollout::{Action, Scale};

fn started() -> World {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.apply(image(2));
    world
}

fn at(phase: Phase, weight: i32) -> impl Fn(&World) -> bool {
    move |world| world.status.phase == phase && world.status.canary_weight == weight
}

/// Revisions and outcomes, oldest first.
fn runs(world: &World) -> Vec<(&str, Outcome)> {
    world.status.history.iter().rev().map(|run| (run.revision.as_str(), run.outcome)).collect()
}

/// The weight that is committed, and that of the route.
fn weights(world: &World) -> (i32, Option<i32>) {
    (world.status.canary_weight, world.route.as_ref().map(|route| route.intent.canary_weight))
}

fn primary(world: &World) -> Option<Build> {
    world.primary.as_ref().map(|primary| primary.pods.build)
}

#[test]
fn a_newer_revision_is_analysed_from_the_start_whenever_it_comes() {
    use Outcome::{Promoted, Superseded};
    type Moment = fn(&mut World);
    let in_mid_run: Moment = |world| world.run_until(at(Phase::Progressing, 20));
    let between_last_check_and_promotion: Moment = |world| {
        world.run_until(|world| world.status.canary_weight == 20 && world.status.traffic_applied_time.is_some());
        world.now += TimeDelta::seconds(10);
        world.conditions.crash_after = Some(1);
        world.pass();
        assert_eq!(world.status.phase, Phase::Promoting);
        assert_eq!(primary(world), Some(image(1)));
    };
    let after_the_primary_was_written: Moment = |world| world.run_until(at(Phase::Promoting, 20));
    let while_finalising: Moment = |world| world.run_until(at(Phase::Finalising, 0));
    let overtaken: &[(&str, Outcome)] = &[("v2c1", Superseded), ("v3c1", Promoted)];
    let one_by_one: &[(&str, Outcome)] = &[("v2c1", Promoted), ("v3c1", Promoted)];
    for (name, moment, expected) in [
        ("in mid-run", in_mid_run, overtaken),
        ("between last check and promotion", between_last_check_and_promotion, overtaken),
        ("after the primary was written", after_the_primary_was_written, one_by_one),
        ("while finalising", while_finalising, one_by_one),
    ] {
        let mut world = started();
        moment(&mut world);
        world.apply(image(3));
        world.run_seconds(0);
        assert_eq!(world.status.canary_weight, 0, "{name}: nobody looked at the newer revision yet");
        world.settle();
        assert_eq!(runs(&world), expected, "{name}");
        assert_eq!(primary(&world), Some(image(3)), "{name}");
        assert_eq!(world.promises.broken, [], "{name}");
    }
}

/// Where the primary can't serve, a newer revision keeps the traffic of the one before, and without pods gets none that
/// that one never had.
#[test]
fn a_step_that_was_committed_and_not_routed_is_not_kept_for_a_newer_revision() {
    let mut world = started();
    world.run_until(|world| world.status.analysis_start_time.is_some());
    world.now += TimeDelta::seconds(10);
    world.conditions.crash_after = Some(1);
    world.pass();
    assert_eq!(weights(&world), (10, Some(0)));
    world.break_primary(Some(30));
    world.lose_pods(None);
    world.apply(image(3));
    world.pass();
    assert_eq!(weights(&world), (0, Some(0)));
    world.settle();
    assert_eq!(primary(&world), Some(image(3)));
    assert_eq!(world.promises.broken, []);
}

#[test]
fn going_back_to_the_promoted_revision_ends_the_run_without_a_promotion() {
    for canary in [weighted(&[10, 20]), blue_green(3)] {
        let mut world = World::initialized(canary, image(1));
        world.apply(image(2));
        world.run_seconds(8);
        world.apply(image(1));
        world.settle();
        assert_eq!(runs(&world), [("v2c1", Outcome::Withdrawn)]);
        assert_eq!(world.condition("Ready"), "True");
        assert!(!world.writes.iter().any(|write| matches!(write, Action::PromotePrimary(_))));
        assert_eq!(world.promises.broken, []);
    }
}

#[test]
fn a_refused_revision_is_tried_again_only_when_it_is_applied_again() {
    let mut world = started();
    world.conditions.metrics = Metrics::Bad;
    world.settle();
    world.conditions.metrics = Metrics::Good;
    world.settle();
    assert_eq!(runs(&world), [("v2c1", Outcome::RolledBack)]);
    assert_eq!((world.condition("Ready"), world.condition("Stalled")), ("False", "True"));
    // Git goes back, which is what the primary runs: all is well again.
    world.apply(image(1));
    world.settle();
    assert_eq!((world.status.phase, world.condition("Ready")), (Phase::Succeeded, "True"));
    // The same revision once more. The route may still remember its first refusal; that one was of another run.
    world.apply(image(2));
    world.settle();
    assert_eq!(runs(&world), [("v2c1", Outcome::RolledBack), ("v2c1", Outcome::Promoted)]);
    assert_eq!(world.promises.broken, []);
}

#[test]
fn a_revision_that_comes_while_a_part_is_missing_waits_and_is_not_lost() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.conditions.obstacle = Some("ConfigMap app is gone; create it".to_owned());
    world.apply(image(2));
    world.settle();
    assert_eq!((world.status.phase, world.condition("Stalled")), (Phase::Initialized, "True"));
    world.conditions.obstacle = None;
    world.settle();
    assert_eq!(runs(&world), [("v2c1", Outcome::Promoted)]);
    assert_eq!(world.promises.broken, []);
}

#[test]
fn a_part_that_goes_missing_in_mid_run_holds_the_exposure_and_not_the_rollback() {
    for (metrics, expected) in [(Metrics::Good, (Phase::Progressing, 10)), (Metrics::Bad, (Phase::Failed, 0))] {
        let mut world = started();
        world.run_until(at(Phase::Progressing, 10));
        world.conditions.obstacle = Some("ConfigMap app is gone; create it".to_owned());
        world.conditions.metrics = metrics;
        world.run_seconds(60);
        assert_eq!((world.status.phase, world.status.canary_weight), expected, "{metrics:?}");
        assert_eq!(world.promises.broken, []);
    }
}

#[test]
fn changed_configuration_is_analysed_by_pods_that_read_it() {
    let changed = Build { image: 2, config: 2 };
    for slow in [0, 7] {
        let mut world = started();
        world.conditions.pods_gone_after = slow;
        world.run_until(at(Phase::Progressing, 10));
        world.forget();
        world.apply(changed);
        world.run_seconds(0);
        assert_eq!(world.status.canary_weight, 0);
        world.run_until(|world| world.status.canary_weight == 10);
        let pods = world.target.as_ref().and_then(|target| target.pods.as_ref());
        assert_eq!(pods.map(|pods| pods.build), Some(changed), "the pods of before are gone");
        assert!(world.writes.contains(&Action::ScaleTarget(Scale::Zero)));
        world.settle();
        assert_eq!(runs(&world), [("v2c1", Outcome::Superseded), ("v2c2", Outcome::Promoted)]);
        assert_eq!(world.promises.broken, []);
    }
}

#[test]
fn a_fix_gets_through_over_a_broken_primary() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.break_primary(None);
    world.run_seconds(600);
    assert_eq!(world.condition("Ready"), "Unknown");
    world.apply(image(2));
    world.settle();
    assert_eq!(runs(&world), [("v2c1", Outcome::Promoted)]);
    assert_eq!(world.condition("Ready"), "True");
    assert_eq!(world.promises.broken, []);
}

#[test]
fn a_route_that_is_made_again_gives_nothing_to_a_canary_without_pods() {
    let mut world = started();
    world.run_until(at(Phase::Progressing, 20));
    world.break_primary(Some(60));
    world.apply(image(3));
    world.pass();
    assert_eq!(weights(&world), (20, Some(20)));
    world.lose_pods(Some(30));
    world.route = None;
    world.pass();
    assert_eq!(weights(&world), (0, Some(0)));
    world.settle();
    assert_eq!(runs(&world), [("v2c1", Outcome::Superseded), ("v3c1", Outcome::Promoted)]);
    assert_eq!(world.promises.broken, []);
}

/// A pass that gave the traffic back died before it committed that, and then both sides lost their pods.
#[test]
fn a_canary_without_pods_is_not_given_back_what_it_gave_up() {
    let mut world = started();
    world.run_until(at(Phase::Promoting, 20));
    world.break_primary(Some(120));
    world.run_until(at(Phase::Promoting, 100));
    world.lose_pods(Some(60));
    world.edit_route(0);
    world.pass();
    assert_eq!(weights(&world), (0, Some(0)));
    world.run_seconds(65);
    assert_eq!(weights(&world), (100, Some(100)));
    world.settle();
    assert_eq!(runs(&world), [("v2c1", Outcome::Promoted)]);
    assert_eq!(world.promises.broken, []);
}

#[test]
fn a_promotion_whose_primary_does_not_start_keeps_users_on_the_canary_until_a_fix_comes() {
    let mut world = started();
    world.conditions.primary_recreates = true;
    world.conditions.primary_ready_after = None;
    world.run_until(at(Phase::Promoting, 100));
    world.settle();
    assert_eq!((world.condition("Ready"), world.condition("Stalled")), ("False", "True"));
    let alert = "Promotion failed, primary not ready: frontend-primary.default 0 of 2 pods are ready";
    assert_eq!(world.alerts.iter().filter(|sent| sent.message == alert).count(), 1);
    // The fix takes over with the traffic that nobody else can take, and is promoted only after its own checks.
    world.conditions.primary_ready_after = Some(2);
    world.conditions.pods_ready_after = Some(4);
    world.forget();
    world.apply(image(3));
    world.settle();
    let expected = [(Phase::Progressing, 100), (Phase::Promoting, 100), (Phase::Finalising, 0), (Phase::Succeeded, 0)];
    assert_eq!(world.course, expected);
    assert_eq!(runs(&world), [("v2c1", Outcome::Superseded), ("v3c1", Outcome::Promoted)]);
    assert_eq!(world.promises.broken, []);
}

/// The old revision is not what the primary runs any more, so it is no withdrawal.
#[test]
fn going_back_from_a_broken_promotion_promotes_the_old_revision_again() {
    let mut world = started();
    world.conditions.primary_ready_after = None;
    world.run_until(|world| world.status.phase == Phase::Promoting);
    world.settle();
    world.conditions.primary_ready_after = Some(2);
    world.apply(image(1));
    world.settle();
    assert_eq!(primary(&world), Some(image(1)));
    assert_eq!(runs(&world), [("v2c1", Outcome::Superseded), ("v1c1", Outcome::Promoted)]);
    assert_eq!(world.promises.broken, []);
}

#[test]
fn a_primary_that_is_deleted_comes_back_only_as_what_was_analysed() {
    // While idle, at the promoted revision: it is made again.
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.primary = None;
    world.run_seconds(0);
    assert_eq!(world.condition("Ready"), "Unknown");
    world.settle();
    assert_eq!((primary(&world), world.condition("Ready")), (Some(image(1)), "True"));

    // While idle, at a refused one: a person has to say what is to be served.
    let mut world = started();
    world.conditions.metrics = Metrics::Bad;
    world.settle();
    world.primary = None;
    world.settle();
    assert_eq!((primary(&world), world.condition("Stalled")), (None, "True"));
    world.apply(image(1));
    world.settle();
    assert_eq!((primary(&world), world.condition("Ready")), (Some(image(1)), "True"));

    // In mid-run: the run goes on, and its end makes the primary.
    let mut world = started();
    world.run_until(at(Phase::Progressing, 10));
    world.primary = None;
    world.settle();
    assert_eq!(primary(&world), Some(image(2)));
    assert_eq!(world.promises.broken, []);
}

#[test]
fn a_promotion_that_lands_after_its_run_is_taken_back() {
    let mut world = World::initialized(weighted(&[10]), image(1));
    let late = world.primary.as_mut().unwrap();
    (late.revision, late.pods.build) = (Some(image(2).revision().id), image(2));
    world.settle();
    assert_eq!(primary(&world), Some(image(1)));
    assert_eq!(world.promises.broken, []);
}

#[test]
fn a_target_that_is_gone_takes_no_traffic_and_goes_on_when_it_is_back() {
    let mut world = started();
    world.run_until(at(Phase::Progressing, 20));
    world.target = None;
    world.run_seconds(0);
    assert_eq!((world.status.canary_weight, world.condition("Stalled")), (0, "True"));
    world.settle();
    world.apply(image(2));
    world.settle();
    assert_eq!(runs(&world), [("v2c1", Outcome::Promoted)]);
    assert_eq!(world.promises.broken, []);
}

/// The route still shows no traffic, so only a mark on it changes it, and has the write of the step refused.
#[test]
fn a_step_that_may_still_be_on_its_way_is_fenced_off_before_something_else_begins() {
    type Story = fn(&mut World);
    let stories: [(&str, Story); 4] = [
        ("a newer revision", |world| world.apply(image(3))),
        ("back to the promoted one", |world| world.apply(image(1))),
        ("no pods", |world| world.lose_pods(Some(5))),
        ("no target", |world| world.target = None),
    ];
    for (name, story) in stories {
        let mut world = started();
        world.run_until(at(Phase::Progressing, 10));
        // As it was before the step.
        world.edit_route(0);
        let before = world.route.clone();
        story(&mut world);
        world.pass();
        assert_eq!(weights(&world), (0, Some(0)), "{name}");
        assert_ne!(world.route, before, "{name}");
        world.settle();
        assert_eq!(world.promises.broken, [], "{name}");
        assert!(
            world.status.history.iter().all(|run| run.outcome != Outcome::RolledBack),
            "{name}: it took a run back"
        );
    }
}

/// A crash came between route and status, and then somebody deleted the target for a while.
#[test]
fn a_refusal_that_only_the_route_remembers_outlives_the_target() {
    let mut world = started();
    world.run_until(at(Phase::Progressing, 20));
    world.conditions.metrics = Metrics::Bad;
    world.run_until(|world| world.status.failed_checks == 2);
    world.now = world.status.next_check_time.unwrap();
    world.conditions.crash_after = Some(1);
    world.pass();
    assert_eq!(weights(&world), (20, Some(0)));
    let target = world.target.take();
    world.run_seconds(0);
    world.target = target;
    world.conditions.metrics = Metrics::Good;
    world.settle();
    assert_eq!(runs(&world), [("v2c1", Outcome::RolledBack)]);
    assert_eq!(world.promises.broken, []);
}

#[test]
fn a_first_image_that_is_broken_can_be_mended() {
    let mut world = World::new(weighted(&[10]), image(1));
    world.conditions.primary_ready_after = None;
    world.settle();
    assert_eq!((world.status.phase, world.condition("Stalled")), (Phase::Initializing, "True"));
    world.conditions.primary_ready_after = Some(30);
    world.apply(image(2));
    world.run_seconds(20);
    assert_eq!(world.condition("Stalled"), "False", "the mend has a deadline of its own");
    world.settle();
    assert_eq!((primary(&world), world.condition("Ready")), (Some(image(2)), "True"));
    assert_eq!(world.promises.broken, []);
}
