//! Every crash point of every golden run: the controller stops after the n-th write of a pass and begins again.

use super::canaries::{blue_green, weighted};
use super::world::{Build, Metrics, World, image};
use crate::api::checked::{Strategy, ValidatedCanary};
use crate::api::status::{Outcome, Phase};

type Story = fn(&mut World);

/// What must be the same, wherever the crash came.
#[derive(Debug, PartialEq)]
struct End {
    phase: Phase,
    primary: Option<Build>,
    replicas: Option<i32>,
    canary_weight: Option<i32>,
    runs: Vec<(String, Outcome)>,
    reverted: bool,
}

fn end(world: &World) -> End {
    let runs = world.status.history.iter().map(|run| (run.revision.clone(), run.outcome)).collect();
    End {
        phase: world.status.phase,
        primary: world.primary.as_ref().map(|primary| primary.pods.build),
        replicas: world.target.as_ref().map(|target| target.replicas),
        canary_weight: world.route.as_ref().map(|route| route.intent.canary_weight),
        runs,
        reverted: world.reverted,
    }
}

fn promote(world: &mut World) {
    world.apply(image(2));
    world.settle();
}

fn roll_back(world: &mut World) {
    world.conditions.metrics = Metrics::Bad;
    promote(world);
}

fn refuse_then_mend(world: &mut World) {
    roll_back(world);
    world.conditions.metrics = Metrics::Good;
    world.apply(image(3));
    world.settle();
}

fn change_configuration(world: &mut World) {
    world.apply(Build { image: 1, config: 2 });
    world.settle();
}

fn overtake(world: &mut World) {
    world.apply(image(2));
    world.run_seconds(25);
    world.apply(Build { image: 3, config: 2 });
    world.settle();
}

fn withdraw(world: &mut World) {
    world.apply(image(2));
    world.run_seconds(25);
    world.apply(image(1));
    world.settle();
}

fn break_the_promotion(world: &mut World) {
    world.conditions.primary_recreates = true;
    world.conditions.primary_ready_after = None;
    world.apply(image(2));
    world.settle();
    world.conditions.primary_ready_after = Some(2);
    world.apply(image(3));
    world.settle();
}

fn delete(world: &mut World) {
    world.edit(|canary| (canary.revert_on_deletion, canary.has_finalizer) = (true, true));
    world.apply(image(2));
    world.run_seconds(25);
    world.edit(|canary| canary.deleting = true);
    world.settle();
}

/// Stories in which things happen when the one before is over.
const STORIES: [(&str, Story); 4] = [
    ("promotion", promote),
    ("rollback", roll_back),
    ("rollback and mend", refuse_then_mend),
    ("configuration", change_configuration),
];
/// Stories in which they also happen in mid-run, by the clock.
const STORIES_BY_THE_CLOCK: [(&str, Story); 4] =
    [("overtaken", overtake), ("withdrawn", withdraw), ("broken promotion", break_the_promotion), ("deletion", delete)];

#[test]
fn a_crash_after_any_write_changes_nothing_in_the_end() {
    let crashes = crash_all(&STORIES, 0) + crash_all(&STORIES_BY_THE_CLOCK, 0);
    assert!(crashes > 500, "only {crashes} crash points");
}

/// However long it takes until another process begins: what was not asked for meanwhile is not held against the canary.
#[test]
fn nobody_on_watch_after_a_crash_changes_nothing_in_the_end() {
    let crashes = crash_all(&STORIES, 7_200);
    assert!(crashes > 250, "only {crashes} crash points");
}

#[test]
fn a_deletion_that_nobody_saw_to_still_waits_for_the_pods_that_take_over() {
    let mut world = World::initialized(weighted(&[10, 20]), image(1));
    world.edit(|canary| (canary.revert_on_deletion, canary.has_finalizer) = (true, true));
    world.settle();
    world.edit(|canary| canary.deleting = true);
    world.conditions.crash_after = Some(1);
    world.conditions.away_seconds = 7_200;
    world.pass();
    assert_eq!((world.status.phase, world.reverted), (Phase::Terminating, false));
    world.pass();
    assert!(!world.reverted, "no pod is there yet");
    world.settle();
    assert!(world.reverted && world.gone);
    assert_eq!(world.promises.broken, []);
}

fn crash_all(stories: &[(&str, Story)], away_seconds: i64) -> usize {
    let mut by_steps = weighted(&[20, 100]);
    by_steps.analysis.strategy = Strategy::Weighted { steps: vec![20, 100], promotion_step: 30 };
    let mut skipping = weighted(&[50]);
    skipping.skip_analysis = true;
    let mut crashes = 0;
    for canary in [weighted(&[10, 30]), by_steps, blue_green(2), skipping] {
        for (name, story) in stories {
            crashes += crash_everywhere(&canary, name, *story, away_seconds);
        }
    }
    crashes
}

fn crash_everywhere(canary: &ValidatedCanary, name: &str, story: Story, away_seconds: i64) -> usize {
    let mut golden = World::new(canary.clone(), image(1));
    golden.settle();
    story(&mut golden);
    assert_eq!(golden.promises.broken, [], "{name}");
    let mut crashes = 0;
    for (pass, writes) in golden.writes_by_pass.iter().enumerate() {
        for after in 0..=*writes {
            let mut world = World::new(canary.clone(), image(1));
            world.conditions.crash_at = Some((pass, after));
            world.conditions.away_seconds = away_seconds;
            world.settle();
            story(&mut world);
            let point = format!("{name} of {:?}, pass {pass}, after write {after}", canary.analysis.strategy);
            assert_eq!(world.promises.broken, [], "{point}");
            assert_eq!(end(&world), end(&golden), "{point}");
            crashes += 1;
        }
    }
    crashes
}
