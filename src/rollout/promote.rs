//! Promotion: the pinned revision goes to the primary, traffic follows once it is ready, the canary goes to zero.

use chrono::TimeDelta;

use super::draft::Draft;
use super::snapshot::{Readiness, Target};
use super::{Action, Intent, Scale, refusal, run};
use crate::api::checked::{Severity, Strategy};
use crate::api::status::{Outcome, Phase};

/// Longest time between traffic leaving the canary and its scale-down: connections get to drain.
const DRAIN_SECONDS: i64 = 5;

pub(super) fn start(draft: &mut Draft<'_>, target: &Target) {
    draft.status.phase = Phase::Promoting;
    draft.status.next_check_time = None;
    draft.status.not_ready_since = Some(draft.now());
    draft.act(Action::CommitStatus);
    draft.act(Action::PromotePrimary(target.revision.clone()));
    draft.act(Action::Autoscaler { update: true });
    draft.inform("Promoting", format!("Copying {} template spec to {}", draft.target_text(), draft.primary_text()));
    draft.progress(format!("Waiting for {} to be ready", draft.primary_text()));
}

pub(super) fn decide(draft: &mut Draft<'_>, target: &Target) {
    let pinned = draft.status.revisions.pinned.clone();
    let current = target.revision.id == pinned;
    if draft.snapshot.seen.primary_revision.as_ref() != Some(&pinned) {
        if current {
            draft.act(Action::PromotePrimary(target.revision.clone()));
            draft.act(Action::Autoscaler { update: true });
        } else {
            // The primary was not written yet, so what is promoted next must be analysed first.
            run::changed(draft, target);
        }
        return;
    }
    draft.act(Action::Services { apex: true });
    if !current && draft.status.canary_weight > 0 && draft.primary_can_serve() {
        // The canary's pods are at a revision that nobody looked at: they lose their traffic now, and get their own
        // run after this promotion.
        draft.status.canary_weight = 0;
        draft.act(Action::Route(Intent { canary_weight: 0, withdrawn: None }));
        draft.act(Action::CommitStatus);
        return;
    }
    draft.act(Action::Route(Intent { canary_weight: draft.status.canary_weight, withdrawn: None }));
    if draft.status.phase == Phase::Finalising {
        finalise(draft);
        return;
    }
    match &draft.snapshot.seen.primary {
        Some(primary) if primary.ready => return_traffic(draft),
        Some(primary) => wait(draft, target, primary),
        None => draft.act(Action::CreatePrimary(target.revision.clone())),
    }
}

/// A primary that does not become ready gets no more traffic than it has; if it can't serve at all, the canary, which
/// passed its analysis, does.
fn wait(draft: &mut Draft<'_>, target: &Target, primary: &Readiness) {
    let since = *draft.status.not_ready_since.get_or_insert(draft.snapshot.now);
    let deadline = since + draft.progress_deadline();
    let message = format!("Waiting for {} to be ready: {}", draft.primary_text(), primary.message);
    let rescue = matches!(draft.snapshot.canary.analysis.strategy, Strategy::Weighted { .. })
        && primary.available_pods == 0
        && target.revision.id == draft.status.revisions.pinned
        && target.readiness.available_pods > 0;
    if draft.now() < deadline && !primary.deadline_exceeded {
        draft.look_again(deadline);
        draft.progress(message);
        return;
    }
    if rescue && draft.status.canary_weight < 100 {
        draft.status.canary_weight = 100;
        draft.act(Action::CommitStatus);
        draft.act(Action::Route(Intent { canary_weight: 100, withdrawn: None }));
    }
    if !draft.was_stalled("PrimaryNotReady") {
        draft.warn("PromotionStuck", format!("Promotion failed, primary not ready: {message}"));
        draft.alert(
            Severity::Error,
            format!("Promotion failed, primary not ready: {message}"),
            refusal::run_fields(draft),
        );
    }
    draft.stall("PrimaryNotReady", message);
}

/// Traffic returns to the primary, at once or by `stepWeightPromotion` per interval.
fn return_traffic(draft: &mut Draft<'_>) {
    draft.status.not_ready_since = None;
    if let Some(due) = draft.status.next_check_time.filter(|due| draft.now() < *due) {
        draft.look_again(due);
        return;
    }
    let step = match draft.snapshot.canary.analysis.strategy {
        Strategy::Weighted { promotion_step, .. } if promotion_step > 0 => promotion_step,
        _ => 100,
    };
    draft.status.canary_weight = (draft.status.canary_weight - step).max(0);
    let weight = draft.status.canary_weight;
    draft.act(Action::Route(Intent { canary_weight: weight, withdrawn: None }));
    if weight > 0 {
        let due = draft.now() + draft.interval();
        draft.status.next_check_time = Some(due);
        draft.look_again(due);
        draft.inform("Advanced", format!("Advance {} primary weight {}", draft.primary_text(), 100 - weight));
    } else {
        let drain = draft.interval().min(TimeDelta::seconds(DRAIN_SECONDS));
        let due = draft.now() + drain;
        draft.status.phase = Phase::Finalising;
        draft.status.next_check_time = Some(due);
        draft.look_again(due);
        draft.inform("Finalising", "Routing all traffic to primary".to_owned());
    }
    draft.act(Action::CommitStatus);
}

fn finalise(draft: &mut Draft<'_>) {
    let traffic = &draft.snapshot.seen.traffic;
    if !traffic.applied || traffic.canary_weight.is_some_and(|weight| weight != 0) {
        draft.progress(format!("Waiting for the route: {}", traffic.message));
        return;
    }
    if let Some(due) = draft.status.next_check_time.filter(|due| draft.now() < *due) {
        draft.look_again(due);
        return;
    }
    let pinned = draft.status.revisions.pinned.clone();
    let skipped = draft.snapshot.canary.skip_analysis;
    draft.promoted(&pinned);
    draft.end_run(Phase::Succeeded, Outcome::Promoted, "every check passed".to_owned());
    draft.act(Action::ScaleTarget(Scale::Zero));
    draft.act(Action::CommitStatus);
    draft.inform("Promoted", format!("Promotion completed! Scaling down {}", draft.target_text()));
    let message = if skipped {
        "Canary analysis was skipped, promotion finished."
    } else {
        "Canary analysis completed successfully, promotion finished."
    };
    draft.alert(Severity::Info, message.to_owned(), refusal::run_fields(draft));
    // A revision that came in the meantime is looked at now.
    draft.look_again(draft.now());
}
