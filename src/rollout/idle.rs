//! Between runs: keep the pair as it should be, settle what is owed, and notice a new revision.

use chrono::TimeDelta;

use super::draft::Draft;
use super::snapshot::Target;
use super::{Action, Intent, Scale, run};
use crate::api::status::Phase;

/// How long a scale-down after a rollback waits for the data plane to confirm that the canary has no traffic.
const DRAIN_LIMIT_SECONDS: i64 = 10;

pub(super) fn decide(draft: &mut Draft<'_>, target: &Target) {
    if draft.snapshot.canary.suspended {
        draft.progress("Suspended: clear spec.suspend to go on");
        return;
    }
    if draft.status.revisions.observed.is_empty() {
        baseline(draft, target);
    }
    if draft.snapshot.seen.primary.is_none() {
        restore_primary(draft, target);
        return;
    }
    let revision = &target.revision;
    if revision.id == draft.status.revisions.observed {
        settle(draft);
    } else if revision.id == draft.status.revisions.promoted {
        draft.observe(revision);
        settle(draft);
    } else if let Some(obstacle) = &draft.snapshot.seen.obstacle {
        draft.heal(draft.snapshot.seen.traffic.withdrawn.clone());
        draft.stall("Obstacle", obstacle.clone());
    } else {
        run::start(draft, target);
    }
}

/// A Canary that another controller left has no revisions of ours. Its primary tells what was promoted; a refused
/// revision is taken to be the one that is there, so that a change of controllers starts no run of its own.
fn baseline(draft: &mut Draft<'_>, target: &Target) {
    if target.matches_primary {
        draft.observe(&target.revision);
        draft.promoted(&target.revision.id);
    } else if draft.status.phase == Phase::Failed {
        draft.observe(&target.revision);
    }
}

/// A primary that somebody deleted comes back only as what was promoted.
fn restore_primary(draft: &mut Draft<'_>, target: &Target) {
    if target.revision.id == draft.status.revisions.promoted {
        draft.warn("PrimaryMissing", format!("{} is gone, creating it again", draft.primary_text()));
        draft.act(Action::CreatePrimary(target.revision.clone()));
        return;
    }
    let message = format!(
        "{} is gone and {} is not at the promoted revision; set it back to the promoted revision to restore the primary",
        draft.primary_text(),
        draft.target_text()
    );
    draft.stall("PrimaryMissing", message);
}

fn settle(draft: &mut Draft<'_>) {
    // A refused revision stays marked on the route until the next run.
    let withdrawn =
        if draft.status.phase == Phase::Failed { draft.snapshot.seen.traffic.withdrawn.clone() } else { None };
    draft.heal(withdrawn);
    if draft.status.pending.scale_down {
        scale_down(draft);
    }
}

fn scale_down(draft: &mut Draft<'_>) {
    let traffic = &draft.snapshot.seen.traffic;
    let decided = draft.snapshot.status.last_transition_time.unwrap_or(draft.snapshot.now);
    let limit = decided + TimeDelta::seconds(DRAIN_LIMIT_SECONDS);
    let drained = traffic.applied && traffic.canary_weight.is_none_or(|weight| weight == 0);
    if drained || draft.now() >= limit {
        draft.act(Action::ScaleTarget(Scale::Zero));
        draft.status.pending.scale_down = false;
        draft.act(Action::CommitStatus);
    } else {
        draft.look_again(limit);
    }
}

/// Where the route is when no run is on.
pub(super) fn closed(withdrawn: Option<String>) -> Action {
    Action::Route(Intent { canary_weight: 0, withdrawn })
}
