//! Deliberate mistakes: each must be noticed, by the name of the promise that it breaks.

use chrono::TimeDelta;

use super::canaries::weighted;
use super::promises::Promise;
use super::world::{Metrics, World, image};
use crate::analysis::{Answer, Measurement};
use crate::api::status::Phase;
use crate::rollout::{Action, Decision, Intent, Scale, Snapshot};

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// A step up is not committed.
    SkipTheCommit,
    /// A step up is routed before it is committed.
    RouteBeforeCommit,
    /// A rollback is committed before it is routed.
    CommitBeforeRollback,
    /// A step up without a check.
    AdvanceUnchecked,
    /// A check that is not due counts as due.
    HurryUp,
    /// The route does not remember a rollback.
    ForgetTheMark,
    /// The primary is written without its precondition: with whatever the target is at.
    PromoteTheNewest,
    /// A run ends without a record.
    LoseTheRecord,
    /// Nobody looks again.
    LoseTheWakeUp,
    /// A failed query counts as a bad value.
    DownIsBad,
    /// The canary is not scaled down.
    ForgetTheScaleDown,
    /// Traffic goes to a canary without pods.
    IgnorePods,
    /// Every pass writes the status.
    CommitAlways,
}

impl Mutant {
    pub(super) fn forge(self, measurements: &mut [Measurement]) {
        for measurement in measurements {
            if self == Self::DownIsBad && matches!(measurement.answer, Answer::Error(_)) {
                measurement.answer = Answer::Value(0.0);
            }
        }
    }

    pub(super) fn spoil(self, snapshot: &Snapshot<'_>, decision: &mut Decision) {
        let (old, new) = (snapshot.status, &mut decision.status);
        let up = new.canary_weight > old.canary_weight;
        let rolls_back = new.phase == Phase::Failed && old.phase != Phase::Failed;
        let is_commit = |action: &Action| *action == Action::CommitStatus;
        match self {
            Self::SkipTheCommit if up => decision.actions.retain(|action| !is_commit(action)),
            Self::RouteBeforeCommit if up => decision.actions.sort_by_key(is_commit),
            Self::CommitBeforeRollback if rolls_back => decision.actions.sort_by_key(|action| !is_commit(action)),
            Self::AdvanceUnchecked if old.phase == Phase::Progressing && old.canary_weight == 10 && !up => {
                new.canary_weight = 20;
                decision.actions = vec![Action::CommitStatus];
            }
            Self::HurryUp if new.next_check_time != old.next_check_time => {
                new.next_check_time = new.next_check_time.map(|due| due - TimeDelta::seconds(5));
                decision.next = new.next_check_time;
            }
            Self::ForgetTheMark => {
                for action in &mut decision.actions {
                    if let Action::Route(Intent { withdrawn, .. }) = action {
                        *withdrawn = None;
                    }
                }
            }
            Self::PromoteTheNewest if old.phase == Phase::Promoting => {
                if let Some(Ok(target)) = &snapshot.seen.target {
                    decision.actions = vec![Action::PromotePrimary(target.revision.clone())];
                }
            }
            Self::LoseTheRecord => new.history.clear(),
            Self::LoseTheWakeUp => decision.next = None,
            Self::ForgetTheScaleDown => {
                decision
                    .actions
                    .retain(|action| *action != Action::ScaleTarget(Scale::Zero) || old.phase != Phase::Failed);
            }
            Self::IgnorePods
                if new.step == 0 && old.phase == Phase::Progressing && old.step == 0 && old.canary_weight == 0 =>
            {
                new.canary_weight = 10;
                new.step = 1;
                let intent = Intent { canary_weight: 10, withdrawn: None };
                decision.actions = vec![Action::CommitStatus, Action::Route(intent)];
            }
            Self::CommitAlways => decision.actions.push(Action::CommitStatus),
            _ => {}
        }
    }
}

/// A crash after the first write of the rollback, and then good answers.
fn crash_in_rollback(world: &mut World) {
    world.conditions.metrics = Metrics::Bad;
    world.edit(|canary| canary.analysis.threshold = 1);
    world.apply(image(2));
    world.run_until(|world| world.status.traffic_applied_time.is_some());
    world.now += TimeDelta::seconds(10);
    world.conditions.crash_after = Some(1);
    world.pass();
    world.conditions.metrics = Metrics::Good;
    world.settle();
}

fn promote(world: &mut World) {
    world.apply(image(2));
    world.settle();
}

fn roll_back(world: &mut World) {
    world.conditions.metrics = Metrics::Bad;
    promote(world);
}

fn outage(world: &mut World) {
    world.apply(image(2));
    world.run_until(|world| world.status.canary_weight == 20);
    world.conditions.metrics = Metrics::Down;
    world.run_seconds(100);
    world.conditions.metrics = Metrics::Good;
    world.settle();
}

/// A newer image lands between the last check and the promotion, whose first try fails.
fn overtaken(world: &mut World) {
    world.apply(image(2));
    world.run_until(|world| world.status.canary_weight == 50 && world.status.traffic_applied_time.is_some());
    world.now += TimeDelta::seconds(10);
    world.conditions.crash_after = Some(1);
    world.pass();
    world.apply(image(3));
    world.settle();
}

#[test]
fn every_deliberate_mistake_is_noticed_by_name() {
    use Mutant as M;
    use Promise as P;
    type Story = fn(&mut World);
    let cases: [(Mutant, Story, Promise); 13] = [
        (M::SkipTheCommit, promote, P::ExposureIsCommittedBeforeItIsRouted),
        (M::RouteBeforeCommit, promote, P::ExposureIsCommittedBeforeItIsRouted),
        (M::CommitBeforeRollback, roll_back, P::TrafficLeavesFirst),
        (M::AdvanceUnchecked, promote, P::ExposureGrowsOnlyByAPassingVerdict),
        (M::HurryUp, promote, P::OneStepPerInterval),
        (M::ForgetTheMark, crash_in_rollback, P::RefusedNeverRisesAgain),
        (M::PromoteTheNewest, overtaken, P::OnlyWhatWasAnalysedIsPromoted),
        (M::LoseTheRecord, roll_back, P::NoRevisionIsLost),
        (M::LoseTheWakeUp, promote, P::SettledMeansSettled),
        (M::DownIsBad, outage, P::NotKnowingIsNotFailing),
        (M::ForgetTheScaleDown, roll_back, P::SettledMeansSettled),
        (M::IgnorePods, promote, P::NoTrafficWithoutPods),
        (M::CommitAlways, promote, P::SettledMeansSettled),
    ];
    for (mutant, story, promise) in cases {
        let mut sound = World::initialized(weighted(&[10, 20, 30, 40, 50]), image(1));
        sound.edit(|canary| canary.analysis.threshold = 2);
        let mut spoilt = sound.clone();
        spoilt.mutant = Some(mutant);
        story(&mut sound);
        story(&mut spoilt);
        assert_eq!(sound.promises.broken, [], "{mutant:?}: the core itself");
        let noticed: Vec<Promise> = spoilt.promises.broken.iter().map(|(promise, _)| *promise).collect();
        assert!(noticed.contains(&promise), "{mutant:?} is noticed only as {noticed:?}");
    }
}
