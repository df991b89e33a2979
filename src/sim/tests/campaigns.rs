//! The same plan makes the same world, and many of them are run and made smaller.

use std::fs;
use std::path::Path;

use crate::cluster::mistakes::{self, Mistake};
use crate::sim::campaign::{self, Report};
use crate::sim::crash_points;
use crate::sim::promises::Promise;
use crate::sim::world::{self, Plan, Runner};

/// Seeds of worlds that are run twice.
const SEEDS: std::ops::Range<u64> = 0..12;

#[test]
fn the_same_seed_makes_the_same_world() {
    let plans: Vec<Plan> = SEEDS.map(Plan::generate).collect();
    let elected = |plan: &Plan| plan.shape.elects_leader;
    let two = (0..).map(Plan::generate).filter(elected).take(2);
    for plan in plans.into_iter().chain(two) {
        let (first, second) = (world::run_traced(&plan), world::run_traced(&plan));
        let differs = first.trace.iter().zip(&second.trace).position(|(one, other)| one != other);
        let shown = differs.map(|line| (line, &first.trace[line], &second.trace[line]));
        assert_eq!(shown, None, "seed {}", plan.seed);
        assert_eq!(first.trace.len(), second.trace.len(), "seed {}", plan.seed);
        assert!(first.trace.len() > 30, "seed {} tells nothing", plan.seed);
    }
}

fn nothing_is_broken(report: &Report) {
    let failures: Vec<String> =
        report.failures.iter().map(|failure| format!("{}: {:?}", failure.replay(), failure.broken)).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn some_worlds_keep_every_promise() {
    let report = campaign::run((0..24).map(Plan::generate), 4);
    nothing_is_broken(&report);
    assert_eq!(report.worlds, 24);
}

/// Worlds that long campaigns found: for a defect of the controller, or of a check that did not know enough.
#[test]
fn worlds_that_once_broke_a_promise_keep_it() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim/tests/worlds");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 25, "{files:?}");
    for file in files {
        let plan = Plan::from_yaml(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(world::run(&plan).broken, [], "serin sim --world {}", file.display());
    }
}

#[test]
fn a_world_that_is_kept_is_the_same_world() {
    for plan in (0..500).map(Plan::generate) {
        assert_eq!(Plan::from_yaml(&plan.to_yaml().unwrap()).unwrap(), plan);
    }
}

#[test]
fn worlds_that_share_a_beginning_leave_it_alone() {
    let mut runner = Runner::default();
    for plan in (1..6).map(Plan::generate) {
        assert_eq!(runner.run_traced(&plan).trace, world::run_traced(&plan).trace, "seed {}", plan.seed);
    }
}

#[test]
fn every_crash_of_one_story_keeps_every_promise() {
    let (_, story) = crash_points::stories().into_iter().find(|(name, _)| *name == "weights, rolled back").unwrap();
    let report = campaign::run(crash_points::around(story), 4);
    nothing_is_broken(&report);
    assert!(report.worlds > 60, "{} worlds", report.worlds);
    assert_eq!(report.deaths, report.worlds - 1, "each but the undisturbed one has its crash");
}

/// A mistake that breaks a promise in every world: what happens in it is not needed, and the command says so.
#[test]
fn a_world_that_breaks_a_promise_is_made_smaller() {
    let seed = (0..100).find(|seed| Plan::generate(*seed).happenings.len() > 4).unwrap();
    let plan = Plan::generate(seed);
    let happenings = plan.happenings.len();
    // The plan is taken on the thread that runs it.
    let plans = std::iter::once(plan).inspect(|_| mistakes::make(Some(Mistake::SayNothing)));
    let report = campaign::run(plans, 1);
    let [failure] = report.failures.as_slice() else { panic!("{} failures", report.failures.len()) };
    assert!(failure.broken.iter().any(|broken| broken.promise == Promise::EveryDecisionExplainsItself));
    assert_eq!(failure.needless, (0..happenings).collect::<Vec<_>>());
    let list: Vec<String> = (0..happenings).map(|place| place.to_string()).collect();
    assert_eq!(failure.replay(), format!("serin sim --seed {seed} --without {}", list.join(",")));
}
