//! Between runs: keep the pair as it should be, settle what is owed, and notice a new revision.

use chrono::TimeDelta;

use super::draft::Draft;
use super::snapshot::Target;
use super::time::after;
use super::{Action, Scale, initialize, run};
use crate::api::status::Phase;

/// How long a scale-down after a run waits at most for the data plane to confirm that the canary has no traffic.
const DRAIN_LIMIT_SECONDS: i64 = 10;

pub(super) fn decide(draft: &mut Draft<'_>, target: &Target) {
    let revision = &target.revision;
    let known = [&draft.status.revisions.promoted, &draft.status.revisions.observed].contains(&&revision.id);
    if draft.snapshot.canary.suspended {
        suspended(draft, known);
    } else if draft.snapshot.seen.primary.is_none() {
        restore_primary(draft, target);
    } else if revision.id == draft.status.revisions.promoted && has_strayed(draft) {
        put_back(draft, target);
    } else if revision.id == draft.status.revisions.promoted {
        at_promoted(draft, target);
        settle(draft, target);
    } else if known {
        settle(draft, target);
    } else if draft.snapshot.seen.obstacle.is_some() {
        settle(draft, target);
        draft.obstructed();
    } else {
        run::start(draft, target);
    }
}

fn suspended(draft: &mut Draft<'_>, known: bool) {
    if known {
        draft.progress("Suspended: clear spec.suspend to go on");
    } else {
        draft.progress("Suspended: clear spec.suspend to analyse the new revision");
    }
}

/// The primary runs what is asked for, whatever was refused before.
fn at_promoted(draft: &mut Draft<'_>, target: &Target) {
    draft.observe(&target.revision);
    if matches!(draft.status.phase, Phase::Initialized | Phase::Succeeded) {
        return;
    }
    draft.status.phase = Phase::Succeeded;
    draft.inform("RevisionWithdrawn", format!("{} is back at the promoted revision", draft.target_text()));
}

/// The primary says that it was written for another revision: a promotion that was long on its way landed after its run.
fn has_strayed(draft: &Draft<'_>) -> bool {
    draft.snapshot.seen.primary_revision.as_ref().is_some_and(|written| *written != draft.status.revisions.promoted)
}

fn put_back(draft: &mut Draft<'_>, target: &Target) {
    let message = format!("{} is not at the promoted revision, writing it again", draft.primary_text());
    draft.warn("PrimaryStrayed", message.clone());
    draft.progress(message);
    draft.act(Action::PromotePrimary(target.revision.clone()));
}

/// A primary that somebody deleted comes back only as what was promoted.
fn restore_primary(draft: &mut Draft<'_>, target: &Target) {
    let promoted = &draft.status.revisions.promoted;
    if promoted.is_empty() {
        initialize::decide(draft, target);
    } else if target.revision.id == *promoted {
        let message = format!("{} is gone, creating it again", draft.primary_text());
        draft.warn("PrimaryMissing", message.clone());
        draft.progress(message);
        draft.act(Action::CreatePrimary(target.revision.clone()));
    } else {
        let message = format!(
            "{} is gone and {} is not at the promoted revision; set it back to the promoted revision to restore the \
             primary",
            draft.primary_text(),
            draft.target_text()
        );
        draft.stuck("PrimaryMissing", message);
    }
}

fn settle(draft: &mut Draft<'_>, target: &Target) {
    if draft.retreat() {
        // Left by another controller: a canary that held the traffic because the primary could not serve.
        draft.status.pending.scale_down = true;
        draft.look_again(draft.now());
        return;
    }
    draft.heal();
    // A scale-up that was long on its way may come after the scale-down. Who scales it otherwise may keep it, and so may
    // users who have nobody else.
    let came_late = target.scaled_by_us && target.replicas > 0 && draft.status.canary_weight == 0;
    if draft.status.pending.scale_down || came_late {
        scale_down(draft);
    }
    if let Some(primary) = draft.snapshot.seen.primary.as_ref().filter(|primary| primary.available_pods == 0) {
        draft.progress(format!("{} has no available pod: {}", draft.primary_text(), primary.message));
    }
}

/// The canary goes once its connections had time to drain and the data plane confirmed that it has no traffic. A data
/// plane that never does keeps a refused revision alive only so long.
fn scale_down(draft: &mut Draft<'_>) {
    let ended = draft.status.history.first().map_or(draft.snapshot.now, |run| run.end_time);
    let no_record = draft.status.history.is_empty();
    let (earliest, latest) = (after(ended, draft.drain()), after(ended, TimeDelta::seconds(DRAIN_LIMIT_SECONDS)));
    let confirmed = draft.snapshot.carries(0);
    let due = if confirmed { earliest } else { latest };
    if draft.now() < due && !(no_record && confirmed) {
        draft.look_again(due);
        return;
    }
    draft.act(Action::ScaleTarget(Scale::Zero));
    draft.status.pending.scale_down = false;
    draft.act(Action::CommitStatus);
}
