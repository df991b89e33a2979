//! A check that is due: what was measured, and the step that follows.

use super::draft::Draft;
use super::refusal::{self, Refusal};
use super::snapshot::{Snapshot, Target};
use super::time::after;
use super::{Action, promote};
use crate::analysis::{Conclusion, conclude, judge};
use crate::api::checked::{Severity, Strategy};
use crate::api::status::CheckReport;

pub(super) fn decide(draft: &mut Draft<'_>, target: &Target) {
    let Snapshot { canary, measurements, now, .. } = *draft.snapshot;
    // By position: two checks may have the same name, and differ in where their numbers come from.
    let measured = measurements.iter().map(Some).chain(std::iter::repeat(None));
    let checks = canary.analysis.checks.iter().zip(measured);
    let reports: Vec<CheckReport> = checks.map(|(check, measurement)| judge(check, measurement, now)).collect();
    draft.status.checks.clone_from(&reports);
    match conclude(&reports) {
        Conclusion::Fail(report) => failed(draft, report),
        Conclusion::Inconclusive(report) => hold(draft, report),
        Conclusion::Pass => passed(draft, target),
    }
}

/// The next check is due after an interval.
pub(super) fn schedule(draft: &mut Draft<'_>) {
    let due = after(draft.now(), draft.interval());
    draft.status.next_check_time = Some(due);
    draft.look_again(due);
}

fn failed(draft: &mut Draft<'_>, report: &CheckReport) {
    draft.status.hold_since = None;
    draft.status.failed_checks = draft.status.failed_checks.saturating_add(1);
    draft.warn("Halted", format!("Halt {} advancement {} {}", draft.snapshot.canary.key, report.name, report.reason));
    let threshold = draft.snapshot.canary.analysis.threshold;
    if draft.status.failed_checks >= threshold {
        let reason =
            format!("{} {} ({} of {threshold} failed checks)", report.name, report.reason, draft.status.failed_checks);
        refusal::roll_back(draft, &Refusal { reason, report: Some(report.clone()) });
        return;
    }
    stay(draft);
}

/// Not knowing neither advances nor rolls back, until it has lasted too long.
fn hold(draft: &mut Draft<'_>, report: &CheckReport) {
    let first = draft.status.hold_since.is_none();
    let since = *draft.status.hold_since.get_or_insert(draft.snapshot.now);
    let limit = after(since, draft.hold_timeout());
    if draft.now() >= limit {
        let seconds = draft.snapshot.canary.analysis.hold_timeout_seconds;
        let reason = format!("{} not known for {seconds}s: {}", report.name, report.reason);
        refusal::roll_back(draft, &Refusal { reason, report: Some(report.clone()) });
        return;
    }
    let message = hold_message(draft, report);
    if first {
        draft.warn("Held", message.clone());
        draft.alert(Severity::Warn, message.clone(), refusal::run_fields(draft));
    }
    draft.progress(message);
    stay(draft);
    draft.status.next_check_time = draft.status.next_check_time.map(|due| due.min(limit));
    draft.look_again(limit);
}

fn hold_message(draft: &Draft<'_>, report: &CheckReport) -> String {
    let (canary, weight) = (&draft.snapshot.canary.key, draft.status.canary_weight);
    format!("Hold {canary} at weight {weight}: {} {}", report.name, report.reason)
}

/// Nothing is due until the next check. A hold goes on saying what it waits for.
pub(super) fn wait(draft: &mut Draft<'_>) {
    draft.heal();
    if draft.status.hold_since.is_some()
        && let Conclusion::Inconclusive(report) = conclude(&draft.status.checks)
    {
        let message = hold_message(draft, report);
        draft.progress(message);
    }
    if let Some(due) = draft.status.next_check_time {
        draft.look_again(due);
    }
}

fn passed(draft: &mut Draft<'_>, target: &Target) {
    draft.status.hold_since = None;
    if !target.readiness.serves() || draft.obstructed() {
        stay(draft);
        return;
    }
    if let Strategy::BlueGreen { iterations } = draft.snapshot.canary.analysis.strategy {
        draft.status.iterations = draft.status.iterations.saturating_add(1);
        if draft.status.iterations < iterations {
            let (canary, passed) = (&draft.snapshot.canary.key, draft.status.iterations);
            draft.inform("Advanced", format!("Advance {canary} canary iteration {passed}/{iterations}"));
            stay(draft);
            return;
        }
    }
    match next_weight(draft) {
        Some(weight) => step_to(draft, weight),
        None => promote::start(draft, target),
    }
}

/// Everything stays as it is until the next check.
fn stay(draft: &mut Draft<'_>) {
    draft.heal();
    schedule(draft);
}

/// The first weight of the plan above the present one, whatever was edited in the meantime; none at the end of the plan.
pub(super) fn next_weight(draft: &Draft<'_>) -> Option<i32> {
    let Strategy::Weighted { steps, .. } = &draft.snapshot.canary.analysis.strategy else { return None };
    steps.iter().copied().find(|weight| *weight > draft.status.canary_weight)
}

/// One step up. The next check becomes due an interval after the traffic was seen in place.
pub(super) fn step_to(draft: &mut Draft<'_>, weight: i32) {
    let now = draft.now();
    draft.grant(weight);
    draft.status.step = draft.status.step.saturating_add(1);
    draft.status.traffic_applied_time = None;
    draft.status.hold_since = Some(now);
    draft.status.next_check_time = Some(after(now, draft.interval()));
    draft.act(Action::CommitStatus);
    draft.route(weight);
    draft.inform("Advanced", format!("Advance {} canary weight {weight}", draft.snapshot.canary.key));
    draft.progress("");
    // A route that is there already does not change, and then nothing else would wake the run.
    let there = draft.snapshot.seen.traffic.canary_weight == Some(weight);
    draft.look_again(if there { now } else { after(now, draft.hold_timeout()) });
}
