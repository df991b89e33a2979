//! A run: one pinned revision, from its first step to its last check.

use chrono::TimeDelta;

use super::draft::Draft;
use super::refusal::{self, Refusal};
use super::snapshot::{Snapshot, Target};
use super::{Action, Intent, Scale, idle, promote};
use crate::analysis::{Conclusion, conclude, judge};
use crate::api::checked::{Severity, Strategy};
use crate::api::status::{CheckReport, Outcome, Phase};

/// What a pass in mid-run is about. The first that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Situation {
    /// The route says that this very revision was refused: a crash came between route and status.
    RefusedBefore,
    /// The target is at another revision than the pinned one.
    RevisionChanged,
    /// `spec.suspend`.
    Suspended,
    /// `spec.skipAnalysis` was set in mid-run.
    AnalysisSkipped,
    /// The canary was not ready for too long.
    NeverReady,
    /// The canary has traffic and no pod to take it.
    LostPods,
    /// No step was taken yet.
    NotStarted,
    /// The step's traffic is not confirmed yet.
    TrafficPending,
    /// The data plane did not confirm the step's traffic in time.
    TrafficStuck,
    /// All is in place and the next check is not due.
    Waiting,
    /// The next check is due.
    CheckDue,
}

pub(super) fn situation(snapshot: &Snapshot<'_>, target: &Target) -> Situation {
    let Snapshot { canary, status, seen, now, .. } = *snapshot;
    let pinned = &status.revisions.pinned;
    let elapsed = |since: Option<_>| since.map_or(TimeDelta::zero(), |since| now - since);
    let deadline = TimeDelta::seconds(canary.progress_deadline_seconds);
    let not_ready = !target.readiness.ready;
    if seen.traffic.withdrawn.as_ref() == Some(pinned) {
        Situation::RefusedBefore
    } else if target.revision.id != *pinned {
        Situation::RevisionChanged
    } else if canary.suspended {
        Situation::Suspended
    } else if canary.skip_analysis {
        Situation::AnalysisSkipped
    } else if not_ready && (target.readiness.deadline_exceeded || elapsed(status.not_ready_since) >= deadline) {
        Situation::NeverReady
    } else if status.canary_weight > 0 && target.readiness.available_pods == 0 {
        Situation::LostPods
    } else if status.step == 0 {
        Situation::NotStarted
    } else if status.traffic_applied_time.is_none() {
        let hold = TimeDelta::seconds(canary.analysis.hold_timeout_seconds);
        let stuck = !traffic_in_place(snapshot) && elapsed(status.last_transition_time) >= hold;
        if stuck { Situation::TrafficStuck } else { Situation::TrafficPending }
    } else if status.next_check_time.is_some_and(|due| now < due) {
        Situation::Waiting
    } else {
        Situation::CheckDue
    }
}

pub(super) fn decide(draft: &mut Draft<'_>, target: &Target) {
    let situation = situation(draft.snapshot, target);
    track_readiness(draft, target);
    match situation {
        Situation::RefusedBefore => {
            let reason = "a rollback was under way when the controller stopped".to_owned();
            refusal::roll_back(draft, &Refusal::new(reason));
        }
        Situation::RevisionChanged => changed(draft, target),
        Situation::Suspended => draft.progress("Suspended: clear spec.suspend to go on"),
        Situation::AnalysisSkipped => promote::start(draft, target),
        Situation::NeverReady => {
            let seconds = draft.snapshot.canary.progress_deadline_seconds;
            let reason = format!("{} not ready within {seconds}s: {}", draft.target_text(), target.readiness.message);
            refusal::roll_back(draft, &Refusal::new(reason));
        }
        Situation::LostPods => lost_pods(draft),
        Situation::NotStarted => first_step(draft, target),
        Situation::TrafficPending => traffic_pending(draft),
        Situation::TrafficStuck => {
            let reason = format!("the data plane did not take the route: {}", draft.snapshot.seen.traffic.message);
            refusal::roll_back(draft, &Refusal::new(reason));
        }
        Situation::Waiting => {
            draft.heal(None);
            if let Some(due) = draft.status.next_check_time {
                draft.look_again(due);
            }
        }
        Situation::CheckDue => check(draft, target),
    }
}

/// Begins a run for the target's revision. The mark of an earlier refusal goes first: seen in the new run, it would end
/// it.
pub(super) fn start(draft: &mut Draft<'_>, target: &Target) {
    draft.pin(target);
    draft.act(Action::Services { apex: true });
    draft.act(idle::closed(None));
    draft.act(Action::CommitStatus);
    draft.act(Action::ScaleTarget(Scale::Up));
    draft.inform("NewRevision", format!("New revision detected! Scaling up {}", draft.target_text()));
    draft.alert(
        Severity::Info,
        "New revision detected, progressing canary analysis.".to_owned(),
        refusal::run_fields(draft),
    );
    draft.progress(format!("Waiting for {} to be ready", draft.target_text()));
    if draft.snapshot.canary.skip_analysis {
        draft.look_again(draft.now());
    }
}

/// A newer revision takes the run over from the start; the promoted one ends it.
pub(super) fn changed(draft: &mut Draft<'_>, target: &Target) {
    let back = target.revision.id == draft.status.revisions.promoted;
    draft.act(idle::closed(None));
    if back {
        draft.end_run(Phase::Succeeded, Outcome::Withdrawn, "the target is back at the promoted revision".to_owned());
        draft.observe(&target.revision);
        draft.status.pending.scale_down = true;
        draft.act(Action::CommitStatus);
        draft.inform(
            "RevisionWithdrawn",
            format!("{} is back at the promoted revision! Scaling down", draft.target_text()),
        );
        draft.look_again(draft.now() + TimeDelta::seconds(1));
        return;
    }
    let newer = target.revision.id.clone();
    draft.end_run(Phase::Progressing, Outcome::Superseded, format!("revision {newer} took its place"));
    draft.pin(target);
    draft.act(Action::CommitStatus);
    draft.act(Action::ScaleTarget(Scale::Up));
    draft.inform("NewRevision", format!("New revision detected! Restarting analysis for {}", draft.target_text()));
    draft.alert(
        Severity::Info,
        "New revision detected, restarting canary analysis.".to_owned(),
        refusal::run_fields(draft),
    );
}

fn track_readiness(draft: &mut Draft<'_>, target: &Target) {
    if target.readiness.ready {
        draft.status.not_ready_since = None;
        return;
    }
    let since = *draft.status.not_ready_since.get_or_insert(draft.snapshot.now);
    draft.look_again(since + draft.progress_deadline());
    draft.progress(format!("Waiting for {} to be ready: {}", draft.target_text(), target.readiness.message));
}

/// Traffic leaves a canary without pods at once. When they are back, every step is earned anew.
fn lost_pods(draft: &mut Draft<'_>) {
    let reason = format!("{} lost all ready pods at weight {}", draft.target_text(), draft.status.canary_weight);
    draft.status.failed_checks += 1;
    if draft.status.failed_checks >= draft.snapshot.canary.analysis.threshold {
        refusal::roll_back(draft, &Refusal::new(reason));
        return;
    }
    draft.status.canary_weight = 0;
    draft.status.step = 0;
    draft.status.iterations = 0;
    draft.status.traffic_applied_time = None;
    draft.status.next_check_time = Some(draft.now() + draft.interval());
    draft.act(idle::closed(None));
    draft.act(Action::CommitStatus);
    draft.warn("Halted", format!("Halt {} advancement {reason}", draft.target_text()));
}

fn first_step(draft: &mut Draft<'_>, target: &Target) {
    draft.heal(None);
    draft.act(Action::ScaleTarget(Scale::Up));
    if let Some(obstacle) = &draft.snapshot.seen.obstacle {
        draft.stall("Obstacle", obstacle.clone());
        return;
    }
    if let Some(due) = draft.status.next_check_time.filter(|due| draft.now() < *due) {
        draft.look_again(due);
        return;
    }
    if !target.readiness.ready {
        return;
    }
    draft.inform("AnalysisStarted", format!("Starting canary analysis for {}", draft.target_text()));
    match &draft.snapshot.canary.analysis.strategy {
        Strategy::Weighted { .. } => advance(draft, target),
        Strategy::BlueGreen { .. } => {
            draft.status.step = 1;
            draft.status.traffic_applied_time = Some(draft.now());
            schedule_check(draft);
        }
    }
}

/// Whether the route is at the committed weight and the data plane confirmed it.
fn traffic_in_place(snapshot: &Snapshot<'_>) -> bool {
    let traffic = &snapshot.seen.traffic;
    traffic.applied && traffic.canary_weight.is_none_or(|weight| weight == snapshot.status.canary_weight)
}

/// The measurement window begins when the traffic is seen in place, not when it was asked for.
fn traffic_pending(draft: &mut Draft<'_>) {
    draft.heal(None);
    if traffic_in_place(draft.snapshot) {
        draft.status.traffic_applied_time = Some(draft.now());
        schedule_check(draft);
        return;
    }
    let decided = draft.snapshot.status.last_transition_time.unwrap_or(draft.snapshot.now);
    draft.look_again(decided + TimeDelta::seconds(draft.snapshot.canary.analysis.hold_timeout_seconds));
}

fn schedule_check(draft: &mut Draft<'_>) {
    let due = draft.now() + draft.interval();
    draft.status.next_check_time = Some(due);
    draft.look_again(due);
}

fn check(draft: &mut Draft<'_>, target: &Target) {
    let Snapshot { canary, measurements, now, .. } = *draft.snapshot;
    let reports: Vec<CheckReport> = canary
        .analysis
        .checks
        .iter()
        .map(|check| judge(check, measurements.iter().find(|measurement| measurement.check == check.name), now))
        .collect();
    draft.status.checks.clone_from(&reports);
    match conclude(&reports) {
        Conclusion::Fail(report) => failed(draft, report),
        Conclusion::Inconclusive(report) => hold(draft, report),
        Conclusion::Pass => passed(draft, target),
    }
}

fn failed(draft: &mut Draft<'_>, report: &CheckReport) {
    draft.status.hold_since = None;
    draft.status.failed_checks += 1;
    draft.warn("Halted", format!("Halt {} advancement {} {}", draft.target_text(), report.name, report.reason));
    let threshold = draft.snapshot.canary.analysis.threshold;
    if draft.status.failed_checks >= threshold {
        let reason =
            format!("{} {} ({} of {threshold} failed checks)", report.name, report.reason, draft.status.failed_checks);
        refusal::roll_back(draft, &Refusal { reason, report: Some(report.clone()) });
        return;
    }
    schedule_check(draft);
    draft.heal(None);
}

/// Not knowing neither advances nor rolls back, until it has lasted too long.
fn hold(draft: &mut Draft<'_>, report: &CheckReport) {
    let timeout = draft.snapshot.canary.analysis.hold_timeout_seconds;
    let first = draft.status.hold_since.is_none();
    let since = *draft.status.hold_since.get_or_insert(draft.snapshot.now);
    if draft.now() - since >= TimeDelta::seconds(timeout) {
        let reason = format!("{} not known for {timeout}s: {}", report.name, report.reason);
        refusal::roll_back(draft, &Refusal { reason, report: Some(report.clone()) });
        return;
    }
    let message = format!(
        "Hold {} at weight {}: {} {}",
        draft.target_text(),
        draft.status.canary_weight,
        report.name,
        report.reason
    );
    if first {
        draft.warn("Held", message.clone());
        draft.alert(Severity::Warn, message.clone(), refusal::run_fields(draft));
    }
    draft.progress(message);
    schedule_check(draft);
    draft.look_again(since + TimeDelta::seconds(timeout));
    draft.heal(None);
}

fn passed(draft: &mut Draft<'_>, target: &Target) {
    draft.status.hold_since = None;
    if !target.readiness.ready {
        schedule_check(draft);
        draft.heal(None);
        return;
    }
    match &draft.snapshot.canary.analysis.strategy {
        Strategy::Weighted { .. } => advance(draft, target),
        Strategy::BlueGreen { iterations } => {
            draft.status.iterations += 1;
            if draft.status.iterations >= *iterations {
                promote::start(draft, target);
            } else {
                let message = format!(
                    "Advance {} canary iteration {}/{iterations}",
                    draft.target_text(),
                    draft.status.iterations
                );
                draft.inform("Advanced", message);
                schedule_check(draft);
            }
        }
    }
}

/// One step up: to the first weight of the plan above the present one, or to promotion when there is none.
fn advance(draft: &mut Draft<'_>, target: &Target) {
    let Strategy::Weighted { steps, .. } = &draft.snapshot.canary.analysis.strategy else { return };
    let Some(weight) = steps.iter().copied().find(|weight| *weight > draft.status.canary_weight) else {
        promote::start(draft, target);
        return;
    };
    draft.status.canary_weight = weight;
    draft.status.step += 1;
    draft.status.traffic_applied_time = None;
    draft.status.next_check_time = Some(draft.now() + draft.interval());
    draft.act(Action::CommitStatus);
    draft.act(Action::Route(Intent { canary_weight: weight, withdrawn: None }));
    draft.inform("Advanced", format!("Advance {} canary weight {weight}", draft.target_text()));
    draft.progress("");
}
