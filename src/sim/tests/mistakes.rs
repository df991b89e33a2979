//! Each check is shown to bite: a mistake of the real controller is made on purpose, and the promise that it breaks must be
//! named.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::cluster::mistakes::{self, Mistake};
use crate::sim::crash_points::{RELEASE_AT, shape};
use crate::sim::promises::Promise;
use crate::sim::world::plan::{Crash, Edit, Happening, Outage, Plan, Quality, Shape, Strategy, What};
use crate::sim::world::{self, Outcome};

/// A world without chance.
type Story = fn() -> Plan;

const GOOD: What = What::Release(2, Quality::Good);
const BAD: What = What::Release(2, Quality::Failing);

fn weights() -> Shape {
    shape(Strategy::Weights(vec![20, 60], 0))
}

/// Happenings by the seconds after the release.
fn story(shape: Shape, happenings: Vec<(f64, What)>) -> Plan {
    let at = |(seconds, what): (f64, What)| Happening {
        at: RELEASE_AT.mul_f64(1.0 + seconds / RELEASE_AT.as_secs_f64()),
        what,
    };
    Plan::story(shape, happenings.into_iter().map(at).collect())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn promoted() -> Plan {
    story(weights(), vec![(0.0, GOOD)])
}

/// Even a check that comes early has something to measure.
fn promoted_slowly() -> Plan {
    story(Shape { interval_seconds: 10, ..weights() }, vec![(0.0, GOOD)])
}

fn rolled_back() -> Plan {
    story(weights(), vec![(0.0, BAD)])
}

fn never_ready() -> Plan {
    story(weights(), vec![(0.0, What::Release(2, Quality::NeverReady))])
}

fn beside_a_broken_neighbour() -> Plan {
    story(Shape { has_broken_neighbour: true, ..weights() }, vec![(0.0, GOOD)])
}

/// The Canary is edited right before a step, and the watches tell of it too late.
fn edited_unseen() -> Plan {
    let lag = What::WatchesLag(seconds(3), seconds(3));
    let edit = What::Edit(Edit::Threshold(3));
    story(weights(), vec![(0.0, GOOD), (FIRST_STEP - 2.0, lag), (FIRST_STEP - 1.0, edit)])
}

/// Somebody edits the route over and over, and the watches tell of it too late.
fn route_edited_unseen() -> Plan {
    let mut happenings = vec![(0.0, BAD), (1.0, What::WatchesLag(seconds(3), seconds(24)))];
    happenings.extend((4..12).map(|turn| (2.0 * f64::from(turn), What::EditRoute(10))));
    story(weights(), happenings)
}

fn watches_lag() -> Plan {
    story(weights(), vec![(-1.0, What::WatchesLag(seconds(3), seconds(40))), (0.0, GOOD)])
}

fn prometheus_is_down() -> Plan {
    story(weights(), vec![(0.0, GOOD), (8.0, What::Prometheus(Outage::Refused, seconds(14)))])
}

/// The process dies right after a step.
fn killed_after_a_step() -> Plan {
    story(shape(Strategy::Weights(vec![20, 40, 60], 0)), vec![(0.0, GOOD), (SECOND_STEP + 0.7, What::Kill)])
}

/// The process dies between the route and the status of the rollback, and then nobody knows how the canary does.
fn killed_in_the_rollback() -> Plan {
    let crash = What::CrashAtWrite(1, Crash::After);
    let outage = What::Prometheus(Outage::Refused, seconds(10));
    story(weights(), vec![(0.0, BAD), (ROLLBACK - 0.3, crash), (ROLLBACK + 0.5, outage)])
}

/// The process dies when it takes what was sent out of the status.
fn killed_while_telling() -> Plan {
    let crash = What::CrashAtWrite(4, Crash::Before);
    story(weights(), vec![(-0.1, crash), (0.0, GOOD), (30.0, What::Edit(Edit::Threshold(3)))])
}

/// The route of the first step is on its way for long, and meanwhile the target goes back.
fn a_late_step() -> Plan {
    let late = What::LateWrite(2, seconds(25));
    story(weights(), vec![(0.0, GOOD), (FIRST_STEP - 0.3, late), (14.0, What::Release(1, Quality::Good))])
}

/// The scale-down after a rollback is on its way for long, and meanwhile the next run has traffic.
fn a_late_scale_down() -> Plan {
    let late = What::LateWrite(1, seconds(27));
    story(weights(), vec![(0.0, BAD), (SCALE_DOWN - 0.3, late), (SCALE_DOWN + 12.0, What::Release(3, Quality::Good))])
}

/// A newer image lands right before the promotion, and the watches tell of it too late.
fn overtaken() -> Plan {
    let lag = What::WatchesLag(seconds(3), seconds(6));
    let newer = What::Release(3, Quality::Good);
    story(weights(), vec![(0.0, GOOD), (PROMOTION - 2.0, lag), (PROMOTION - 1.0, newer)])
}

/// The canary's Service is changed, and nobody may repair it for longer than the run takes.
fn repair_refused() -> Plan {
    let refused = What::ServicesRefused(seconds(40));
    story(weights(), vec![(0.0, GOOD), (1.0, refused), (2.0, What::EditService)])
}

/// The process dies when it has written the primary, and the autoscaler of the new image is still to come.
fn killed_before_the_autoscaler() -> Plan {
    let crash = What::CrashAtWrite(2, Crash::After);
    story(Shape { has_autoscaler: true, ..weights() }, vec![(0.0, GOOD), (PROMOTION - 0.3, crash)])
}

/// The process dies when the traffic is back at the primary, and that is still to be committed.
fn killed_on_the_way_back() -> Plan {
    let crash = What::CrashAtWrite(5, Crash::After);
    story(weights(), vec![(0.0, GOOD), (PROMOTION - 0.3, crash)])
}

fn two_processes() -> Plan {
    story(Shape { elects_leader: true, ..weights() }, vec![(0.0, GOOD)])
}

/// When things happen in these stories, in seconds after the release.
const FIRST_STEP: f64 = 6.2;
const SECOND_STEP: f64 = 11.5;
const PROMOTION: f64 = 16.8;
const ROLLBACK: f64 = 16.5;
const SCALE_DOWN: f64 = 21.6;

/// What is done wrong, in which world, and the promise that is broken.
fn rows() -> Vec<(Mistake, Story, Promise)> {
    use Mistake as M;
    use Promise as P;
    vec![
        (M::CommitBeforeRollback, rolled_back, P::UsersFirst),
        (M::TellFirst, rolled_back, P::UsersFirst),
        (M::PrimaryKeepsAll, promoted, P::WeightsAddUp),
        (M::ForgetTheServices, promoted, P::WeightsAddUp),
        (M::IgnorePods, never_ready, P::NoTrafficWithoutPods),
        (M::PromoteWithoutLook, overtaken, P::OnlyWhatWasAnalysedIsPromoted),
        (M::PromoteEarly, promoted, P::OnlyWhatWasAnalysedIsPromoted),
        (M::SkipTheCommit, promoted, P::ExposureIsCommittedBeforeItIsRouted),
        (M::RouteBeforeCommit, promoted, P::ExposureIsCommittedBeforeItIsRouted),
        (M::IgnoreConflicts, edited_unseen, P::ExposureIsCommittedBeforeItIsRouted),
        (M::UnguardedRoute, a_late_step, P::ExposureIsCommittedBeforeItIsRouted),
        (M::ForgetTheMark, a_late_step, P::ExposureIsCommittedBeforeItIsRouted),
        (M::AdvanceUnchecked, promoted, P::ExposureGrowsOnlyByAPassingVerdict),
        (M::SkipAStep, promoted, P::ExposureGrowsOnlyByAPassingVerdict),
        (M::SendBackAndForth, killed_on_the_way_back, P::ExposureGrowsOnlyByAPassingVerdict),
        (M::DownIsGood, prometheus_is_down, P::ExposureGrowsOnlyByAPassingVerdict),
        (M::HurryUp, promoted_slowly, P::OneStepPerInterval),
        (M::HurryAtStart, killed_after_a_step, P::OneStepPerInterval),
        (M::LoseTheRecord, rolled_back, P::NoRevisionIsLost),
        (M::LoseTheRevision, promoted, P::NoRevisionIsLost),
        (M::TrustTheCache, watches_lag, P::NoRevisionIsLost),
        (M::DownIsBad, prometheus_is_down, P::NotKnowingIsNotFailing),
        (M::ForgetTheMark, killed_in_the_rollback, P::RefusedNeverRisesAgain),
        (M::RetryTheRefused, rolled_back, P::RefusedNeverRisesAgain),
        (M::ScaleDownFirst, rolled_back, P::PodsStayWhileThereIsTraffic),
        (M::UnguardedScale, a_late_scale_down, P::PodsStayWhileThereIsTraffic),
        (M::ForgetTheAutoscaler, killed_before_the_autoscaler, P::NoRevisionIsLost),
        (M::ForgetTheRefusal, repair_refused, P::EveryDecisionExplainsItself),
        (M::TellTwice, promoted, P::EveryDecisionExplainsItself),
        (M::TellNobody, rolled_back, P::EveryDecisionExplainsItself),
        (M::SendBeforeTaking, killed_while_telling, P::EveryDecisionExplainsItself),
        (M::SayNothing, promoted, P::EveryDecisionExplainsItself),
        (M::SayReady, promoted, P::ReadyTellsTheTruth),
        (M::Poll, promoted, P::IdleIsFree),
        (M::HideTheBroken, beside_a_broken_neighbour, P::OneBrokenCanaryHurtsOnlyItself),
        (M::MarkTheTarget, promoted, P::GitStaysInCharge),
        (M::ReadTheRoute, route_edited_unseen, P::LeastPrivilege),
        (M::LoseTheWakeUp, promoted, P::SettledMeansSettled),
        (M::ForgetTheScaleDown, promoted, P::SettledMeansSettled),
        (M::IgnoreTheLease, two_processes, P::OnlyTheLeaderWrites),
    ]
}

/// Calls this with every number below `count`, on several threads.
fn on_threads(count: usize, act: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < count) {
                    act(index);
                }
            });
        }
    });
}

fn run_with(mistake: Option<Mistake>, plan: &Plan) -> Outcome {
    mistakes::make(mistake);
    let outcome = world::run(plan);
    mistakes::make(None);
    outcome
}

#[test]
fn every_deliberate_mistake_is_noticed_by_name() {
    let rows = rows();
    let unnoticed = Mutex::new(Vec::new());
    on_threads(rows.len(), |index| {
        let (mistake, story, promise) = rows[index];
        let outcome = run_with(Some(mistake), &story());
        let noticed: BTreeSet<Promise> = outcome.broken.iter().map(|broken| broken.promise).collect();
        if !noticed.contains(&promise) {
            unnoticed.lock().unwrap().push(format!("{mistake:?} does not break {promise:?} but {noticed:?}"));
        }
    });
    let unnoticed = unnoticed.into_inner().unwrap();
    assert!(unnoticed.is_empty(), "\n{}", unnoticed.join("\n"));
}

#[test]
fn without_a_mistake_the_same_stories_break_nothing() {
    let mut stories: Vec<Plan> = Vec::new();
    for (_, story, _) in rows() {
        let plan = story();
        if !stories.contains(&plan) {
            stories.push(plan);
        }
    }
    let broken = Mutex::new(Vec::new());
    on_threads(stories.len(), |index| {
        let outcome = run_with(None, &stories[index]);
        let told = |what| format!("{:?}: {what}", stories[index].happenings);
        broken.lock().unwrap().extend(outcome.broken.iter().map(told));
    });
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_promise_is_broken_by_a_mistake() {
    let broken: BTreeSet<Promise> = rows().into_iter().map(|(_, _, promise)| promise).collect();
    let unbroken: Vec<Promise> = Promise::ALL.into_iter().filter(|promise| !broken.contains(promise)).collect();
    assert_eq!(unbroken, [], "no row breaks them");
}
