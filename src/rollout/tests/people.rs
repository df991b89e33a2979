//! What people see and what they ask for: conditions, events, alerts, suspension, deletion, bad specs.

use chrono::TimeDelta;

use super::canaries::weighted;
use super::world::{Metrics, World, image};
use crate::api::checked::Severity;
use crate::api::status::{CanaryStatus, Phase};
use crate::rollout::{Action, Decision, let_go};

#[test]
fn conditions_tell_the_truth_in_every_phase() {
    let mut world = World::new(weighted(&[10, 20]), image(1));
    let mut seen = Vec::new();
    let mut look = |world: &World| {
        let conditions = ["Ready", "Reconciling", "Stalled", "Promoted"].map(|kind| world.condition(kind).to_owned());
        seen.push((world.status.phase, conditions.join(" ")));
        assert_eq!(world.status.observed_generation, Some(world.canary.generation));
    };
    for phase in [Phase::Initializing, Phase::Initialized] {
        world.run_until(|world| world.status.phase == phase);
        look(&world);
    }
    world.apply(image(2));
    for phase in [Phase::Progressing, Phase::Promoting, Phase::Finalising, Phase::Succeeded] {
        world.run_until(|world| world.status.phase == phase);
        look(&world);
    }
    world.conditions.metrics = Metrics::Bad;
    world.apply(image(3));
    world.run_until(|world| world.status.phase == Phase::Failed);
    look(&world);
    world.settle();
    world.edit(|canary| (canary.deleting, canary.has_finalizer) = (true, true));
    world.run_until(|world| world.status.phase == Phase::Terminating);
    look(&world);
    let on_its_way = "Unknown True False Unknown".to_owned();
    let done = "True False False True".to_owned();
    let expected = [
        (Phase::Initializing, on_its_way.clone()),
        (Phase::Initialized, done.clone()),
        (Phase::Progressing, on_its_way.clone()),
        (Phase::Promoting, on_its_way.clone()),
        (Phase::Finalising, on_its_way.clone()),
        (Phase::Succeeded, done),
        (Phase::Failed, "False False True False".to_owned()),
        (Phase::Terminating, on_its_way),
    ];
    assert_eq!(seen, expected);
}

/// The words change with every pod; each time they are written, everybody who watches the Canary hears of it.
#[test]
fn what_is_waited_for_is_told_every_five_seconds_and_what_is_so_at_once() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.conditions.pods_ready_after = None;
    world.apply(image(2));
    world.run_until(|world| world.status.phase == Phase::Progressing);
    let (begun, mut told) = (world.now, Vec::new());
    for second in 0..=16 {
        world.now = begun + TimeDelta::seconds(second);
        if second == 8 {
            world.edit(|canary| canary.analysis.threshold = 5);
        }
        let mut seen = world.seen();
        if let Some(Ok(target)) = &mut seen.target {
            target.readiness.message = format!("{second} of 20 pods are ready");
        }
        let decision = world.decide(&seen).0;
        if decision.actions.contains(&Action::CommitStatus) {
            world.status = decision.status;
            let words = world.status.conditions.iter().find(|condition| condition.kind == "Ready").unwrap();
            told.push((second, words.message.rsplit(": ").next().unwrap_or_default().to_owned()));
        } else {
            assert_eq!(decision.status, world.status, "{second}");
            let due = begun + TimeDelta::seconds(told.last().map_or(0, |(second, _)| *second) + 5);
            assert!(decision.next.is_some_and(|next| next <= due), "nobody looks again after second {second}");
        }
    }
    let expected = [5, 8, 13].map(|second| (second, format!("{second} of 20 pods are ready")));
    assert_eq!(told, expected);
}

/// Pipelines look for these.
#[test]
fn events_have_flaggers_words() {
    let told = |metrics, skips| {
        let mut world = World::new(weighted(&[10, 20]), image(1));
        world.canary.skip_analysis = skips;
        world.canary.analysis.threshold = 1;
        world.settle();
        world.conditions.metrics = metrics;
        world.apply(image(2));
        world.settle();
        world.events.into_iter().map(|event| format!("{}: {}", event.reason, event.message)).collect::<Vec<_>>()
    };
    let promoted = [
        "Initialized: Initialization done! frontend.default",
        "NewRevision: New revision detected! Scaling up frontend.default",
        "AnalysisStarted: Starting canary analysis for frontend.default",
        "Advanced: Advance frontend.default canary weight 10",
        "Advanced: Advance frontend.default canary weight 20",
        "Promoting: Copying frontend.default template spec to frontend-primary.default",
        "Finalising: Routing all traffic to primary",
        "Promoted: Promotion completed! Scaling down frontend.default",
    ];
    let rolled_back = [
        "Initialized: Initialization done! frontend.default",
        "NewRevision: New revision detected! Scaling up frontend.default",
        "AnalysisStarted: Starting canary analysis for frontend.default",
        "Advanced: Advance frontend.default canary weight 10",
        "Halted: Halt frontend.default advancement request-success-rate 95 < 99",
        "RolledBack: Rolling back frontend.default failed checks threshold reached 1",
        "RolledBack: Rolling back frontend.default: request-success-rate 95 < 99 (1 of 1 failed checks)",
        "Failed: Canary failed! Scaling down frontend.default",
    ];
    let skipped = [
        "Initialized: Initialization done! frontend.default",
        "NewRevision: New revision detected! Scaling up frontend.default",
        "Promoting: Copying frontend.default template spec to frontend-primary.default",
        "Finalising: Routing all traffic to primary",
        "Promoted: Promotion completed! Canary analysis was skipped for frontend.default",
    ];
    assert_eq!(told(Metrics::Good, false), promoted);
    assert_eq!(told(Metrics::Bad, false), rolled_back);
    assert_eq!(told(Metrics::Bad, true), skipped);
}

#[test]
fn a_rollback_alert_carries_the_numbers_and_what_to_do() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.apply(image(2));
    world.run_until(|world| world.status.canary_weight == 20);
    world.conditions.metrics = Metrics::Bad;
    world.settle();
    let alert = world.alerts.last().expect("an alert");
    assert_eq!(alert.severity, Severity::Error);
    let fields: Vec<(&str, &str)> =
        alert.fields.iter().map(|field| (field.title.as_str(), field.value.as_str())).collect();
    let mend = "All traffic is on frontend-primary.default. Look at the canary's logs and at status.checks, then apply a \
                mended revision; the same revision is not tried again by itself.";
    let expected = [
        ("Metric", "request-success-rate"),
        ("Value", "95"),
        ("Bound", "at least 99"),
        ("Requests", "250"),
        ("Target", "Deployment/frontend.default"),
        ("Revision", "v2c1"),
        ("Weight reached", "20 %"),
        ("Traffic routing", "gatewayapi:v1"),
        ("Failed checks threshold", "3"),
        ("Progress deadline", "60s"),
        ("What to do", mend),
    ];
    assert_eq!(fields, expected);
}

#[test]
fn each_run_is_announced_and_ends_in_one_alert_that_names_its_revision() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.apply(image(2));
    world.settle();
    let revision = |alert: &crate::api::status::AlertRecord| {
        alert.fields.iter().find(|field| field.title == "Revision").map(|field| field.value.clone())
    };
    let told: Vec<_> = world.alerts.iter().map(|alert| (alert.message.as_str(), revision(alert))).collect();
    let expected = [
        ("New revision detected, progressing canary analysis.", Some("v2c1".to_owned())),
        ("Canary analysis completed successfully, promotion finished.", Some("v2c1".to_owned())),
    ];
    assert_eq!(told, expected);
    assert_eq!(world.status.history[0].weight, 20);
}

#[test]
fn nobody_is_told_what_nobody_asked_for() {
    let mut canary = weighted(&[10, 20]);
    canary.analysis.alerts[0].severity = Severity::Error;
    let mut world = World::initialized(canary, image(1));
    world.apply(image(2));
    world.settle();
    assert_eq!(world.alerts, []);
}

#[test]
fn suspension_stops_the_clocks_and_the_run_goes_on_afterwards() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.apply(image(2));
    world.run_until(|world| world.status.canary_weight == 10 && world.status.traffic_applied_time.is_some());
    world.edit(|canary| canary.suspended = true);
    world.lose_pods(Some(300));
    let passes = world.passes;
    world.run_seconds(290);
    assert!(world.passes - passes < 5, "nothing is done");
    assert_eq!((world.status.phase, world.status.canary_weight), (Phase::Progressing, 10));
    world.run_seconds(20);
    world.edit(|canary| canary.suspended = false);
    world.settle();
    assert_eq!(world.status.phase, Phase::Succeeded);
    assert_eq!(world.promises.broken, []);
}

#[test]
fn a_suspended_canary_is_not_ready_for_a_revision_that_it_did_not_analyse() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.edit(|canary| canary.suspended = true);
    world.settle();
    assert_eq!(world.condition("Ready"), "True");
    world.apply(image(2));
    world.settle();
    assert_eq!((world.condition("Ready"), world.condition("Stalled")), ("Unknown", "False"));
    world.edit(|canary| canary.suspended = false);
    world.settle();
    assert_eq!((world.status.phase, world.condition("Ready")), (Phase::Succeeded, "True"));
}

#[test]
fn a_skipped_analysis_still_waits_for_ready_pods() {
    let mut canary = weighted(&[10, 20]);
    canary.skip_analysis = true;
    let mut world = World::initialized(canary, image(1));
    world.conditions.pods_ready_after = None;
    world.apply(image(2));
    world.settle();
    assert_eq!(world.status.phase, Phase::Failed);
    assert_eq!(world.promises.broken, []);
}

#[test]
fn an_invalid_spec_says_so_once_and_disturbs_nothing() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.apply(image(2));
    world.run_until(|world| world.status.canary_weight == 10);
    world.forget();
    world.edit(|_| ());
    world.conditions.invalid = Some("spec.service.port: 0 is not a port; use 1 to 65535".to_owned());
    world.run_seconds(120);
    let Decision { actions, next, .. } = world.pass();
    assert_eq!((actions, next), (Vec::new(), None));
    assert_eq!(world.writes, [Action::CommitStatus]);
    assert_eq!((world.condition("Ready"), world.condition("Stalled")), ("False", "True"));
    assert_eq!((world.status.canary_weight, world.status.observed_generation), (10, Some(2)));
    let stalled = world.status.conditions.iter().find(|condition| condition.kind == "Stalled").expect("Stalled");
    assert_eq!(stalled.reason, "InvalidSpec");
    assert_eq!(stalled.message, "spec.service.port: 0 is not a port; use 1 to 65535");
    world.conditions.invalid = None;
    world.settle();
    assert_eq!(world.status.phase, Phase::Succeeded);
}

#[test]
fn an_invalid_canary_can_be_deleted() {
    let decision = let_go(&CanaryStatus::default(), "spec: bad");
    assert_eq!((decision.actions, decision.notices.len()), (vec![Action::Finalizer(false)], 1));
}

#[test]
fn a_deleted_canary_gives_the_traffic_back_before_it_goes() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.edit(|canary| canary.revert_on_deletion = true);
    world.settle();
    assert!(world.canary.has_finalizer);
    world.apply(image(2));
    world.run_until(|world| world.status.canary_weight == 20);
    world.forget();
    world.edit(|canary| canary.deleting = true);
    world.settle();
    assert!(world.gone && world.reverted);
    let last_two = world.writes.iter().rev().take(2).rev().collect::<Vec<_>>();
    assert_eq!(last_two, [&Action::Revert, &Action::Finalizer(false)]);
    assert_eq!(world.course, [(Phase::Terminating, 0)]);
    assert_eq!(world.promises.broken, []);
}

#[test]
fn a_deletion_does_not_wait_for_ever() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.edit(|canary| (canary.revert_on_deletion, canary.has_finalizer) = (true, true));
    world.conditions.pods_ready_after = None;
    world.edit(|canary| canary.deleting = true);
    world.run_seconds(59);
    assert!(!world.gone);
    world.run_seconds(1);
    assert!(world.gone && world.reverted);
}

#[test]
fn a_route_that_somebody_edits_is_put_back_to_what_was_committed() {
    for by_hand in [0, 5, 100] {
        let mut world = World::initialized(weighted(&[10, 20]), image(1));
        world.apply(image(2));
        world.run_until(|world| world.status.canary_weight == 10 && world.status.traffic_applied_time.is_some());
        world.edit_route(by_hand);
        world.run_seconds(0);
        assert_eq!(world.route.as_ref().map(|route| route.intent.canary_weight), Some(10), "{by_hand}");
        world.settle();
        assert_eq!(world.promises.broken, [], "{by_hand}");
    }
}
