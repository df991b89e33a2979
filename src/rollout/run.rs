//! A run: one pinned revision, from its first step to its last check.

use super::draft::Draft;
use super::refusal::{self, Refusal};
use super::situation::{Situation, situation};
use super::snapshot::Target;
use super::time::after;
use super::{Action, Scale, check, promote};
use crate::api::checked::Severity;
use crate::api::status::{Outcome, Phase};

pub(super) fn decide(draft: &mut Draft<'_>, target: &Target) {
    match situation(draft.snapshot, target) {
        Situation::RefusedBefore => {
            let reason = "a rollback was under way when the controller stopped".to_owned();
            refusal::roll_back(draft, &Refusal::new(reason));
        }
        Situation::RevisionChanged => changed(draft, target),
        Situation::Suspended => suspended(draft),
        supervised => {
            track_readiness(draft, target);
            supervise(draft, target, supervised);
        }
    }
}

fn supervise(draft: &mut Draft<'_>, target: &Target, situation: Situation) {
    match situation {
        Situation::NeverReady => {
            let seconds = draft.snapshot.canary.progress_deadline_seconds;
            let reason = format!("{} not ready within {seconds}s: {}", draft.target_text(), target.readiness.message);
            refusal::roll_back(draft, &Refusal::new(reason));
        }
        Situation::PodsOutdated => start_pods_anew(draft, target),
        Situation::LostPods => lost_pods(draft),
        Situation::AnalysisSkipped => skip(draft, target),
        Situation::NotStarted => first_step(draft, target),
        Situation::TrafficPending => traffic_pending(draft),
        Situation::TrafficStuck => {
            let reason = format!("the data plane did not take the route: {}", draft.snapshot.seen.traffic.message);
            refusal::roll_back(draft, &Refusal::new(reason));
        }
        Situation::CheckDue => check::decide(draft, target),
        // The others were answered before.
        _ => check::wait(draft),
    }
}

/// Begins a run for the target's revision.
pub(super) fn start(draft: &mut Draft<'_>, target: &Target) {
    begin(draft, target);
    draft.inform("NewRevision", format!("New revision detected! Scaling up {}", draft.target_text()));
    draft.alert(
        Severity::Info,
        "New revision detected, progressing canary analysis.".to_owned(),
        refusal::run_fields(draft),
    );
}

/// A newer revision takes the run over from the start; the promoted one ends it.
pub(super) fn changed(draft: &mut Draft<'_>, target: &Target) {
    if target.revision.id == draft.status.revisions.promoted {
        withdraw(draft, target);
    } else {
        supersede(draft, target);
    }
}

fn withdraw(draft: &mut Draft<'_>, target: &Target) {
    draft.end_run(Phase::Succeeded, Outcome::Withdrawn, "the target is back at the promoted revision".to_owned());
    draft.observe(&target.revision);
    draft.status.pending.scale_down = true;
    draft.route(0);
    draft.act(Action::CommitStatus);
    let message = format!("{} is back at the promoted revision! Scaling down", draft.target_text());
    draft.inform("RevisionWithdrawn", message);
    draft.look_again(draft.now());
}

fn supersede(draft: &mut Draft<'_>, target: &Target) {
    let reason = format!("revision {} took its place", target.revision.id);
    draft.end_run(Phase::Progressing, Outcome::Superseded, reason);
    begin(draft, target);
    draft.inform("NewRevision", format!("New revision detected! Restarting analysis for {}", draft.target_text()));
    draft.alert(
        Severity::Info,
        "New revision detected, restarting canary analysis.".to_owned(),
        refusal::run_fields(draft),
    );
}

fn begin(draft: &mut Draft<'_>, target: &Target) {
    draft.pin(target);
    draft.route(draft.status.canary_weight);
    draft.act(Action::CommitStatus);
    draft.act(Action::Services { apex: true });
    if !draft.status.pending.scale_down {
        draft.act(Action::ScaleTarget(Scale::Up));
    }
    draft.progress(format!("Waiting for {} to be ready", draft.target_text()));
    // The canary may be up already, and then nothing else would wake the run.
    draft.look_again(draft.now());
}

/// Clocks stand still: what could not be seen to while suspended is not held against the canary.
fn suspended(draft: &mut Draft<'_>) {
    draft.status.not_ready_since = None;
    draft.status.hold_since = None;
    draft.progress("Suspended: clear spec.suspend to go on");
}

fn track_readiness(draft: &mut Draft<'_>, target: &Target) {
    if target.readiness.serves() {
        // Pods that serve and must go are not what is waited for.
        if !draft.status.pending.scale_down {
            draft.status.not_ready_since = None;
        }
        return;
    }
    let since = *draft.status.not_ready_since.get_or_insert(draft.snapshot.now);
    draft.look_again(draft.snapshot.due(since, draft.progress_deadline()));
    draft.progress(format!("Waiting for {} to be ready: {}", draft.target_text(), target.readiness.message));
}

/// Traffic leaves a canary without pods at once. When they are back, every step is earned anew.
fn lost_pods(draft: &mut Draft<'_>) {
    let reason = format!("{} lost all ready pods at weight {}", draft.target_text(), draft.status.canary_weight);
    draft.status.failed_checks = draft.status.failed_checks.saturating_add(1);
    if draft.status.failed_checks >= draft.snapshot.canary.analysis.threshold {
        refusal::roll_back(draft, &Refusal::new(reason));
        return;
    }
    draft.forget_steps();
    draft.route(0);
    draft.act(Action::CommitStatus);
    check::schedule(draft);
    draft.warn("Halted", format!("Halt {} advancement {reason}", draft.snapshot.canary.key));
}

fn skip(draft: &mut Draft<'_>, target: &Target) {
    if draft.obstructed() {
        draft.heal();
    } else {
        promote::start(draft, target);
    }
}

/// Kubernetes calls a pod ready some time before every proxy of the data plane knows its address. A first step at once
/// would meet "no healthy upstream" there.
fn settle_in(draft: &mut Draft<'_>) {
    draft.status.analysis_start_time = Some(draft.now());
    draft.inform("AnalysisStarted", format!("Starting canary analysis for {}", draft.target_text()));
    let due = after(draft.now(), draft.drain());
    draft.status.next_check_time = Some(due);
    draft.look_again(due);
}

fn first_step(draft: &mut Draft<'_>, target: &Target) {
    if draft.retreat() {
        // Kept for want of a primary that could serve, and never earned.
        draft.look_again(draft.now());
        return;
    }
    draft.heal();
    draft.act(Action::ScaleTarget(Scale::Up));
    if draft.obstructed() {
        return;
    }
    if let Some(due) = draft.status.next_check_time.filter(|due| draft.now() < *due) {
        draft.look_again(due);
        return;
    }
    if !target.readiness.serves() {
        return;
    }
    if draft.status.next_check_time.is_none() {
        settle_in(draft);
        return;
    }
    match check::next_weight(draft).filter(|_| draft.status.canary_weight == 0) {
        Some(weight) => check::step_to(draft, weight),
        None => analyse_in_place(draft),
    }
}

/// Pods read their configuration when they start, so those from before the change must go, all of them, before new ones
/// come: scaled down and up too quickly, the old ones would stay.
fn start_pods_anew(draft: &mut Draft<'_>, target: &Target) {
    if target.readiness.at_rest {
        draft.heal();
        draft.status.pending.scale_down = false;
        draft.act(Action::CommitStatus);
        draft.act(Action::ScaleTarget(Scale::Up));
    } else if draft.status.canary_weight > 0 {
        free_pods(draft);
    } else {
        draft.heal();
        draft.act(Action::ScaleTarget(Scale::Zero));
    }
}

/// Pods with traffic stay until the primary can take it from them. Where it never can, the revision can't be tried.
fn free_pods(draft: &mut Draft<'_>) {
    if draft.retreat() {
        draft.look_again(draft.now());
        return;
    }
    let since = *draft.status.not_ready_since.get_or_insert(draft.snapshot.now);
    let due = after(since, draft.progress_deadline());
    let (target, primary) = (draft.target_text(), draft.primary_text());
    let held = format!("pods of {target} with the configuration from before have traffic that {primary} can't take");
    if draft.now() >= due {
        let seconds = draft.snapshot.canary.progress_deadline_seconds;
        refusal::roll_back(draft, &Refusal::new(format!("not replaced within {seconds}s: {held}")));
        return;
    }
    draft.heal();
    draft.look_again(due);
    draft.progress(format!("Waiting for {primary} to be ready: {held}"));
}

/// The analysis starts without a change of traffic.
fn analyse_in_place(draft: &mut Draft<'_>) {
    draft.status.step = 1;
    draft.status.traffic_applied_time = Some(draft.now());
    check::schedule(draft);
}

/// The measurement window begins when the traffic is seen in place, not when it was asked for.
fn traffic_pending(draft: &mut Draft<'_>) {
    draft.heal();
    if draft.snapshot.carries(draft.status.canary_weight) {
        draft.status.traffic_applied_time = Some(draft.now());
        draft.status.hold_since = None;
        check::schedule(draft);
        return;
    }
    let since = *draft.status.hold_since.get_or_insert(draft.snapshot.now);
    draft.look_again(draft.snapshot.due(since, draft.hold_timeout()));
    draft.progress(format!("Waiting for the route: {}", draft.snapshot.seen.traffic.message));
}
