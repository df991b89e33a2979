//! Every crash point of every strategy: a world is run once, its writes are counted, and then it is run again with a
//! crash before, during and after each of them.

use std::time::Duration;

use super::world;
use super::world::plan::{Checks, Crash, Edit, Happening, Plan, Quality, Shape, Side, Strategy, What};
use crate::api::checked::{OnError, OnNoData};

/// When the release comes: the Canary is initialized by then.
pub const RELEASE_AT: Duration = Duration::from_secs(20);

/// A world without chance, by its name.
pub fn stories() -> Vec<(&'static str, Plan)> {
    let plan = |(name, shape, happenings)| (name, Plan::story(shape, happenings));
    strategies().into_iter().chain(disturbances()).map(plan).collect()
}

type Story = (&'static str, Shape, Vec<Happening>);

fn weights() -> Shape {
    shape(Strategy::Weights(vec![20, 60], 0))
}

fn release(quality: Quality) -> Happening {
    happening(0, What::Release(2, quality))
}

/// One release each, of every strategy and with everything that may be part of it.
fn strategies() -> Vec<Story> {
    vec![
        ("weights, promoted", weights(), vec![release(Quality::Good)]),
        ("weights, rolled back", weights(), vec![release(Quality::Failing)]),
        ("weights, too slow", weights(), vec![release(Quality::Slow)]),
        ("weights, never ready", weights(), vec![release(Quality::NeverReady)]),
        ("weights, returned in steps", shape(Strategy::Weights(vec![50, 100], 40)), vec![release(Quality::Good)]),
        ("iterations behind a route", shape(Strategy::RoutedIterations(2)), vec![release(Quality::Good)]),
        ("iterations, promoted", shape(Strategy::Iterations(2)), vec![release(Quality::Good)]),
        ("iterations, rolled back", shape(Strategy::Iterations(2)), vec![release(Quality::Failing)]),
        ("analysis skipped", Shape { skips_analysis: true, ..weights() }, vec![release(Quality::Good)]),
        ("configuration changes", Shape { has_config: true, ..weights() }, vec![happening(0, What::Configure(2))]),
        ("an autoscaler", Shape { has_autoscaler: true, ..weights() }, vec![release(Quality::Good)]),
        ("applied over and over", Shape { has_gitops: true, ..weights() }, vec![release(Quality::Good)]),
    ]
}

/// A release, and what comes in between.
fn disturbances() -> Vec<Story> {
    let crash = |side| happening(14, What::CrashPods(side, Some(Duration::from_secs(5))));
    vec![
        (
            "image and configuration change in mid-run",
            Shape { has_config: true, ..weights() },
            vec![
                release(Quality::Good),
                happening(12, What::Configure(2)),
                happening(20, What::Release(3, Quality::Good)),
            ],
        ),
        (
            "back at the promoted revision in mid-run",
            weights(),
            vec![release(Quality::Good), happening(14, What::Release(1, Quality::Good))],
        ),
        (
            "a good revision after a bad one",
            weights(),
            vec![release(Quality::Failing), happening(40, What::Release(3, Quality::Good))],
        ),
        ("the canary's pods crash in mid-run", weights(), vec![release(Quality::Good), crash(Side::Canary)]),
        ("the primary's pods crash in mid-run", weights(), vec![release(Quality::Good), crash(Side::Primary)]),
        (
            "a repair is refused in mid-run",
            weights(),
            vec![
                release(Quality::Failing),
                happening(1, What::ServicesRefused(Duration::from_secs(30))),
                happening(2, What::EditService),
            ],
        ),
        (
            "suspended and resumed",
            weights(),
            vec![
                release(Quality::Good),
                happening(12, What::Edit(Edit::Suspend(true))),
                happening(30, What::Edit(Edit::Suspend(false))),
            ],
        ),
        (
            "deleted in mid-run, traffic given back",
            Shape { reverts_on_deletion: true, ..weights() },
            vec![release(Quality::Good), happening(14, What::DeleteCanary(Duration::from_secs(20)))],
        ),
    ]
}

/// Each story, and each with every crash in it.
pub fn plans() -> impl Iterator<Item = Plan> + Send {
    stories().into_iter().flat_map(|(_, story)| around(story))
}

/// A story, and the same with every crash in it.
pub fn around(story: Plan) -> impl Iterator<Item = Plan> + Send {
    let writes = u32::try_from(world::run(&story).controller_writes).unwrap_or(u32::MAX);
    let crashes = move |write| [Crash::Before, Crash::Unanswered, Crash::After].map(|crash| (write, crash));
    let points = (1..=writes).flat_map(crashes);
    let spoilt = story.clone();
    std::iter::once(story).chain(points.map(move |(write, crash)| {
        let mut plan = spoilt.clone();
        plan.happenings.insert(0, Happening { at: Duration::ZERO, what: What::CrashAtWrite(write, crash) });
        plan
    }))
}

/// Something that happens so many seconds after the release of a story.
pub fn happening(seconds_after_release: u64, what: What) -> Happening {
    Happening { at: RELEASE_AT + Duration::from_secs(seconds_after_release), what }
}

/// What stories have in common, with this strategy.
pub fn shape(strategy: Strategy) -> Shape {
    Shape {
        strategy,
        interval_seconds: 5,
        threshold: 2,
        deadline_seconds: 30,
        hold_timeout_seconds: 30,
        checks: Checks { on_no_data: OnNoData::Fail, on_error: OnError::Hold, has_template: false },
        has_config: false,
        has_autoscaler: false,
        reverts_on_deletion: false,
        skips_analysis: false,
        has_gitops: false,
        elects_leader: false,
        has_broken_neighbour: false,
        pods_ready_after: Duration::from_secs(1),
        route_accepted_after: Duration::from_millis(200),
    }
}
