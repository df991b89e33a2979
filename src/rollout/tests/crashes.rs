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

#[test]
fn a_crash_after_any_write_changes_nothing_in_the_end() {
    let stories: [(&str, Story); 8] = [
        ("promotion", promote),
        ("rollback", roll_back),
        ("rollback and mend", refuse_then_mend),
        ("configuration", change_configuration),
        ("overtaken", overtake),
        ("withdrawn", withdraw),
        ("broken promotion", break_the_promotion),
        ("deletion", delete),
    ];
    let crashes = crash_all(&stories, 0);
    assert!(crashes > 500, "only {crashes} crash points");
}

/// However long it takes until another process begins: what was not asked for meanwhile is not held against the canary.
#[test]
fn nobody_on_watch_after_a_crash_changes_nothing_in_the_end() {
    let stories: [(&str, Story); 4] = [
        ("promotion", promote),
        ("rollback", roll_back),
        ("rollback and mend", refuse_then_mend),
        ("configuration", change_configuration),
    ];
    let crashes = crash_all(&stories, 7_200);
    assert!(crashes > 250, "only {crashes} crash points");
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
