//! The promises, checked on every decision, on every write, and at the end. What it keeps in its books it takes from the
//! world, not from the core.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::world::{MANY_PASSES, Metrics, World};
use crate::api::checked::{OnError, OnNoData, Strategy, ValidatedCanary};
use crate::api::status::{CanaryStatus, Outcome, Phase, Verdict};
use crate::rollout::ledger::run_mark;
use crate::rollout::{Action, Decision, Intent, Revision, Seen};

/// A promise, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    WeightsStayInRange,
    ExposureIsCommittedBeforeItIsRouted,
    ExposureGrowsOnlyByAPassingVerdict,
    OneStepPerInterval,
    TrafficLeavesFirst,
    RefusedNeverRisesAgain,
    OnlyWhatWasAnalysedIsPromoted,
    NotKnowingIsNotFailing,
    NoRevisionIsLost,
    NoTrafficWithoutPods,
    SettledMeansSettled,
    ReadyTellsTheTruth,
}

/// What one pass knew, as the world knows it.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) canary: ValidatedCanary,
    pub(super) seen: Seen,
    pub(super) now: DateTime<Utc>,
    /// What the checks say, where they were asked.
    pub(super) verdict: Option<Verdict>,
    /// The spec can't be used.
    invalid: bool,
    /// The canary's share as it was committed before.
    weight_before: i32,
    /// The decision takes the pinned revision back.
    pub(super) rolls_back: bool,
    /// What the target's pods really run, where the cache is up to date.
    pub(super) pods_run: Option<String>,
}

impl Pass {
    pub(super) fn new(world: &World, seen: &Seen, decision: &Decision, measured: bool) -> Self {
        let pods = world.target.as_ref().and_then(|target| target.pods.as_ref());
        Self {
            canary: world.canary.clone(),
            seen: seen.clone(),
            now: world.now,
            verdict: measured.then(|| verdict(&world.canary, world.conditions.metrics)),
            invalid: world.conditions.invalid.is_some(),
            weight_before: world.status.canary_weight,
            rolls_back: decision.status.phase == Phase::Failed && world.status.phase != Phase::Failed,
            pods_run: pods.filter(|_| world.stale_target.is_none()).map(|pods| pods.build.revision().id),
        }
    }

    fn canary_pods(&self) -> i32 {
        match &self.seen.target {
            Some(Ok(target)) => target.readiness.available_pods,
            _ => 0,
        }
    }

    fn primary_pods(&self) -> i32 {
        self.seen.primary.as_ref().map_or(0, |primary| primary.available_pods)
    }
}

/// What follows from an answer by the words of the manifest; every check of a world has the bound `min: 99`.
fn verdict(canary: &ValidatedCanary, metrics: Metrics) -> Verdict {
    let one = |no_data: OnNoData, error: OnError| match (metrics, no_data, error) {
        (Metrics::Good, ..) | (Metrics::Empty, OnNoData::Pass, _) => Verdict::Pass,
        (Metrics::Bad, ..) | (Metrics::Empty, OnNoData::Fail, _) | (Metrics::Down, _, OnError::Fail) => Verdict::Fail,
        (Metrics::Empty, OnNoData::Hold, _) | (Metrics::Down, _, OnError::Hold) => Verdict::Inconclusive,
    };
    let decisive = canary.analysis.checks.iter().filter(|check| !check.dry_run);
    let verdicts: Vec<Verdict> = decisive.map(|check| one(check.on_no_data, check.on_error)).collect();
    [Verdict::Fail, Verdict::Inconclusive].into_iter().find(|v| verdicts.contains(v)).unwrap_or(Verdict::Pass)
}

/// The books.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises {
    pub(super) broken: Vec<(Promise, String)>,
    /// Last step up of each run, and the interval at that time: an edited one counts from the next step on.
    last_step: BTreeMap<String, (DateTime<Utc>, TimeDelta)>,
    /// Runs whose rollback was decided and routed.
    refused_runs: BTreeSet<String>,
    /// Revisions that were taken back, unless somebody applied them again.
    refused_revisions: BTreeSet<String>,
    /// Revisions that passed their analysis, or whose analysis was skipped.
    analysed: BTreeSet<String>,
    /// Since when checks have been inconclusive, and of which run.
    not_known_since: Option<(String, DateTime<Utc>)>,
    asked: BTreeSet<String>,
}

impl Promises {
    fn keep(&mut self, promise: Promise, kept: bool, why: impl FnOnce() -> String) {
        if !kept {
            self.broken.push((promise, why()));
        }
    }

    pub(super) fn asked_for(&mut self, revision: &str) {
        self.refused_revisions.remove(revision);
        self.asked.insert(revision.to_owned());
    }

    /// Checks the order of what was decided.
    pub(super) fn decided(&mut self, pass: &Pass, decision: &Decision) {
        let first = decision.actions.iter().find(|action| matches!(action, Action::Route(_) | Action::CommitStatus));
        let routes_first = matches!(first, Some(Action::Route(Intent { canary_weight: 0, .. })));
        self.keep(Promise::TrafficLeavesFirst, !pass.rolls_back || routes_first, || format!("{:?}", decision.actions));
        let idles =
            decision.next.is_none_or(|next| next > pass.now) || decision.actions.contains(&Action::CommitStatus);
        self.keep(Promise::SettledMeansSettled, idles, || format!("a busy loop: {:?}", decision.status));
        // A check may be due by any interval that the user wrote since the step.
        if let Some((_, shortest)) = self.last_step.get_mut(&run_mark(&decision.status)) {
            *shortest = interval(pass).min(*shortest);
        }
        if !pass.invalid && !pass.canary.deleting {
            self.told_the_truth(pass, &decision.status);
        }
    }

    /// `Ready` says that the primary serves what was asked for; never together with another answer.
    fn told_the_truth(&mut self, pass: &Pass, status: &CanaryStatus) {
        let says =
            |kind: &str| status.conditions.iter().any(|condition| condition.kind == kind && condition.status == "True");
        let asked = matches!(&pass.seen.target, Some(Ok(target)) if target.revision.id == status.revisions.promoted);
        let serves = asked && pass.primary_pods() > 0 && status.revisions.pinned.is_empty();
        let answers = ["Ready", "Reconciling", "Stalled"].into_iter().filter(|kind| says(kind)).count();
        let generation = status.observed_generation == Some(pass.canary.generation);
        let kept = (!says("Ready") || serves) && answers == 1 && generation;
        self.keep(Promise::ReadyTellsTheTruth, kept, || format!("{status:?} of {:?}", pass.seen));
    }

    pub(super) fn committed(&mut self, pass: &Pass, old: &CanaryStatus, new: &CanaryStatus) {
        self.keep(Promise::WeightsStayInRange, (0..=100).contains(&new.canary_weight), || format!("{new:?}"));
        let same_run = run_mark(old) == run_mark(new);
        if same_run && new.canary_weight > old.canary_weight {
            self.rose(pass, old, new);
        }
        if !same_run {
            self.run_changed(pass, old, new);
        }
        if old.phase != Phase::Promoting && new.phase == Phase::Promoting {
            self.promotes(pass, old, new);
        }
        self.knew(pass, old, new);
    }

    fn rose(&mut self, pass: &Pass, old: &CanaryStatus, new: &CanaryStatus) {
        let rescue = old.phase == Phase::Promoting && pass.primary_pods() == 0;
        let run = run_mark(new);
        let told = || format!("{} -> {} of {run} by {:?}", old.canary_weight, new.canary_weight, pass.verdict);
        let next = match &pass.canary.analysis.strategy {
            Strategy::Weighted { steps, .. } => steps.iter().copied().find(|weight| *weight > old.canary_weight),
            Strategy::BlueGreen { .. } => None,
        };
        let ran = pass.pods_run.as_ref().is_none_or(|build| *build == new.revisions.pinned);
        let first = old.step == 0 && old.canary_weight == 0;
        let earned = Some(new.canary_weight) == next && ran && (first || pass.verdict == Some(Verdict::Pass));
        self.keep(Promise::ExposureGrowsOnlyByAPassingVerdict, rescue || earned, told);
        let refused = self.refused_runs.contains(&run) || self.refused_revisions.contains(&new.revisions.pinned);
        self.keep(Promise::RefusedNeverRisesAgain, !refused, told);
        let early = self.last_step.get(&run).is_some_and(|(last, shortest)| pass.now - *last < *shortest);
        self.keep(Promise::OneStepPerInterval, rescue || !early, told);
        self.last_step.insert(run, (pass.now, interval(pass)));
    }

    /// A run that ends leaves a record; one that begins has no traffic, but what a dead primary can't take.
    fn run_changed(&mut self, pass: &Pass, old: &CanaryStatus, new: &CanaryStatus) {
        let kept = pass.primary_pods() == 0 && new.canary_weight <= old.canary_weight;
        let told = || format!("begins at {}: {:?}", new.canary_weight, new.revisions);
        self.keep(Promise::ExposureGrowsOnlyByAPassingVerdict, new.canary_weight == 0 || kept, told);
        if old.revisions.pinned.is_empty() {
            return;
        }
        let record = new.history.first();
        let recorded =
            record.is_some_and(|run| run.revision == old.revisions.pinned && run.start_time == old.run_start_time);
        self.keep(Promise::NoRevisionIsLost, recorded, || format!("{:?} without a record", old.revisions));
        if record.is_some_and(|run| run.outcome == Outcome::RolledBack) {
            self.refused_revisions.insert(old.revisions.pinned.clone());
        }
    }

    fn promotes(&mut self, pass: &Pass, old: &CanaryStatus, new: &CanaryStatus) {
        let at_end = match &pass.canary.analysis.strategy {
            Strategy::Weighted { steps, .. } => steps.last().is_none_or(|last| old.canary_weight >= *last),
            Strategy::BlueGreen { iterations } => old.iterations + 1 >= *iterations,
        };
        let ran = pass.pods_run.as_ref().is_none_or(|build| *build == old.revisions.pinned);
        let earned = pass.canary.skip_analysis || (at_end && ran && pass.verdict == Some(Verdict::Pass));
        let told = || format!("{:?} by {:?}", old.revisions, pass.verdict);
        self.keep(Promise::OnlyWhatWasAnalysedIsPromoted, earned, told);
        self.analysed.insert(new.revisions.pinned.clone());
    }

    /// Follows since when nothing is known, and whether a rollback waited long enough.
    fn knew(&mut self, pass: &Pass, old: &CanaryStatus, new: &CanaryStatus) {
        let run = run_mark(old);
        match pass.verdict {
            Some(Verdict::Inconclusive) if self.not_known_since.as_ref().is_none_or(|(of, _)| *of != run) => {
                self.not_known_since = Some((run, pass.now));
            }
            Some(Verdict::Pass | Verdict::Fail) => self.not_known_since = None,
            _ => {}
        }
        let timeout = TimeDelta::seconds(pass.canary.analysis.hold_timeout_seconds);
        let long = self.not_known_since.as_ref().is_some_and(|(_, since)| pass.now - *since >= timeout);
        let by_hold = pass.rolls_back && pass.verdict == Some(Verdict::Inconclusive);
        let by_pass = pass.rolls_back && pass.verdict == Some(Verdict::Pass);
        self.keep(Promise::NotKnowingIsNotFailing, (!by_hold || long) && !by_pass, || {
            format!("{:?}", new.history.first())
        });
    }

    pub(super) fn routed(&mut self, pass: &Pass, committed: &CanaryStatus, intent: &Intent) {
        let weight = intent.canary_weight;
        self.keep(Promise::WeightsStayInRange, (0..=100).contains(&weight), || format!("{intent:?}"));
        let covered = weight <= committed.canary_weight;
        let told = || format!("{intent:?}, committed is {}", committed.canary_weight);
        self.keep(Promise::ExposureIsCommittedBeforeItIsRouted, covered, told);
        let run = run_mark(committed);
        self.keep(Promise::RefusedNeverRisesAgain, weight == 0 || !self.refused_runs.contains(&run), || run.clone());
        if pass.rolls_back {
            self.refused_runs.insert(run);
        }
        // The way back is one way, whatever dies on it, unless the primary is the one that can't serve.
        let returns = matches!(committed.phase, Phase::Promoting | Phase::Finalising) && pass.primary_pods() > 0;
        let rises = pass.seen.traffic.canary_weight.is_some_and(|present| weight > present);
        self.keep(Promise::ExposureGrowsOnlyByAPassingVerdict, !(returns && rises), || {
            format!("{:?} -> {weight} while the traffic returns to the primary", pass.seen.traffic.canary_weight)
        });
        self.served(pass, committed, weight);
    }

    /// No side gets more traffic than it has without a pod to take it, as far as was seen. A bad canary loses its traffic
    /// whatever happens, and so does one that a person takes back.
    fn served(&mut self, pass: &Pass, committed: &CanaryStatus, weight: i32) {
        let Some(present) = pass.seen.traffic.canary_weight else { return };
        // What is only put back as it was committed needs no pods: somebody edited the route.
        let rises_blindly = weight > present && weight > pass.weight_before && pass.canary_pods() == 0;
        let falls = weight < present && weight < pass.weight_before;
        let person = pass.rolls_back || pass.canary.deleting || back_at_promoted(pass, committed);
        let falls_blindly = falls && pass.primary_pods() == 0 && pass.canary_pods() > 0 && !person;
        let told = || format!("{present} -> {weight} of {:?}", pass.seen);
        self.keep(Promise::NoTrafficWithoutPods, !rises_blindly && !falls_blindly, told);
    }

    pub(super) fn wrote_primary(&mut self, _pass: &Pass, committed: &CanaryStatus, revision: &Revision) {
        let serves_nobody = matches!(committed.phase, Phase::New | Phase::Initializing);
        let restored = committed.revisions.promoted == revision.id;
        let known = serves_nobody || restored || self.analysed.contains(&revision.id);
        self.keep(Promise::OnlyWhatWasAnalysedIsPromoted, known, || revision.id.clone());
    }

    /// Nothing is left to do, and all is where it belongs.
    pub(super) fn settled(&mut self, world: &World, passes: usize) {
        self.keep(Promise::SettledMeansSettled, passes < MANY_PASSES, || {
            format!("{passes} passes: {:?}", world.status)
        });
        if world.gone {
            return;
        }
        let mut again = world.clone();
        again.promises = Self::default();
        let decision = again.pass();
        let quiet = again.writes.len() == world.writes.len() && decision.next.is_none_or(|next| next > world.now);
        self.keep(Promise::SettledMeansSettled, quiet, || format!("{:?} {:?}", decision.actions, decision.next));
        let stalled = world.condition("Stalled") == "True";
        let resting = matches!(world.status.phase, Phase::Initialized | Phase::Succeeded | Phase::Failed);
        let waits = world.canary.suspended || stalled;
        self.keep(Promise::SettledMeansSettled, resting || waits, || format!("{:?}", world.status));
        if resting && !waits_for_mend(world) {
            self.at_rest(world);
        }
    }

    fn at_rest(&mut self, world: &World) {
        let Some(target) = &world.target else { return };
        let id = target.build.revision().id;
        let primary_runs = world.primary.as_ref().map(|primary| primary.pods.build.revision().id);
        let promoted = world.status.phase != Phase::Failed && primary_runs.as_ref() == Some(&id);
        let refused = world.status.phase == Phase::Failed && world.status.revisions.observed == id;
        let told = || format!("{id} is asked for, the primary runs {primary_runs:?}: {:?}", world.status);
        self.keep(Promise::NoRevisionIsLost, promoted || refused, told);
        let canary_traffic = world.route.as_ref().map_or(0, |route| route.intent.canary_weight);
        self.keep(Promise::SettledMeansSettled, canary_traffic == 0, || format!("the canary has {canary_traffic} %"));
        self.keep(Promise::SettledMeansSettled, target.replicas == 0, || "the canary is still up".to_owned());
    }
}

fn interval(pass: &Pass) -> TimeDelta {
    TimeDelta::seconds(pass.canary.analysis.interval_seconds)
}

fn back_at_promoted(pass: &Pass, committed: &CanaryStatus) -> bool {
    matches!(&pass.seen.target, Some(Ok(target)) if target.revision.id == committed.revisions.promoted || target.matches_primary)
}

/// A person has to do something first.
fn waits_for_mend(world: &World) -> bool {
    let stalled = world.condition("Stalled") == "True" && world.status.phase != Phase::Failed;
    let problem = world.conditions.obstacle.is_some() || world.conditions.invalid.is_some();
    world.canary.suspended || stalled || problem || world.stale_target.is_some() || world.primary.is_none()
}

impl World {
    /// Status of a condition; empty if it is not there.
    pub(super) fn condition(&self, kind: &str) -> &str {
        let found = self.status.conditions.iter().find(|condition| condition.kind == kind);
        found.map_or("", |condition| &condition.status)
    }
}
