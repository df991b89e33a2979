//! The first meeting: the primary is made from the target, and traffic moves to it once it can serve.

use super::draft::Draft;
use super::snapshot::{Readiness, Target};
use super::time::after;
use super::{Action, Scale};
use crate::api::checked::Severity;
use crate::api::status::Phase;

pub(super) fn decide(draft: &mut Draft<'_>, target: &Target) {
    if draft.snapshot.canary.suspended {
        draft.progress("Suspended: clear spec.suspend to go on");
        return;
    }
    if draft.obstructed() {
        return;
    }
    let Some(primary) = &draft.snapshot.seen.primary else {
        create(draft, target);
        return;
    };
    adopt(draft, target);
    if draft.status.revisions.observed.is_empty() || at_target(draft, target) {
        draft.act(Action::Services { apex: false });
        if primary.serves() {
            open(draft, target);
        } else {
            wait(draft, primary);
        }
    } else {
        follow(draft, target);
    }
}

fn create(draft: &mut Draft<'_>, target: &Target) {
    draft.status.phase = Phase::Initializing;
    // It may be refused, and tried again: the clock runs from the first time.
    draft.status.not_ready_since.get_or_insert(draft.snapshot.now);
    draft.observe(&target.revision);
    draft.act(Action::CommitStatus);
    draft.act(Action::CreatePrimary(target.revision.clone()));
    draft.act(Action::Services { apex: false });
    draft.progress(format!("Waiting for {} to be ready", draft.primary_text()));
}

/// A primary that was there before this Canary had a status of ours is never overwritten: if it differs from the target,
/// the target is a new revision and gets analysed.
fn adopt(draft: &mut Draft<'_>, target: &Target) {
    draft.status.phase = Phase::Initializing;
    draft.status.not_ready_since.get_or_insert(draft.snapshot.now);
    if draft.status.revisions.observed.is_empty() && target.matches_primary {
        draft.observe(&target.revision);
    }
}

/// Whether the primary runs what the target is at. One that another controller wrote carries no revision of ours, and ran
/// the target's configuration when it was met.
fn at_target(draft: &Draft<'_>, target: &Target) -> bool {
    let as_met = target.matches_primary && draft.status.tracked_configs == target.revision.configs;
    draft.snapshot.seen.primary_revision.as_ref().map_or(as_met, |id| *id == target.revision.id)
}

/// Nothing serves from the primary yet, so it simply follows the target: a mend of a first broken image gets through.
fn follow(draft: &mut Draft<'_>, target: &Target) {
    if draft.status.revisions.observed != target.revision.id {
        draft.status.not_ready_since = Some(draft.now());
    }
    draft.observe(&target.revision);
    draft.act(Action::CommitStatus);
    draft.act(Action::PromotePrimary(target.revision.clone()));
    draft.progress(format!("Waiting for {} to be ready", draft.primary_text()));
}

fn wait(draft: &mut Draft<'_>, primary: &Readiness) {
    let message = format!("Waiting for {} to be ready: {}", draft.primary_text(), primary.message);
    wait_until_deadline(draft, primary.deadline_exceeded, "PrimaryNotReady", message);
}

fn wait_until_deadline(draft: &mut Draft<'_>, given_up: bool, reason: &'static str, message: String) {
    let since = *draft.status.not_ready_since.get_or_insert(draft.snapshot.now);
    let deadline = after(since, draft.progress_deadline());
    if draft.now() < deadline && !given_up {
        draft.look_again(deadline);
        draft.progress(message);
    } else {
        draft.stuck(reason, format!("Initialization of {} is stuck. {message}", draft.target_text()));
    }
}

/// The primary can serve: traffic moves to it, and only then the target goes to zero.
fn open(draft: &mut Draft<'_>, target: &Target) {
    draft.act(Action::Services { apex: true });
    draft.act(Action::Autoscaler { update: false });
    draft.route(0);
    draft.status.canary_weight = 0;
    if !draft.snapshot.carries(0) {
        let message = format!("Waiting for the route: {}", draft.snapshot.seen.traffic.message);
        wait_until_deadline(draft, false, "RouteNotApplied", message);
        return;
    }
    draft.act(Action::ScaleTarget(Scale::Zero));
    draft.status.phase = Phase::Initialized;
    draft.status.not_ready_since = None;
    if !draft.status.revisions.observed.is_empty() {
        draft.observe(&target.revision);
        draft.promoted();
    }
    draft.act(Action::CommitStatus);
    draft.inform("Initialized", format!("Initialization done! {}", draft.snapshot.canary.key));
    draft.alert(Severity::Info, "New Deployment detected, initialization completed.".to_owned(), Vec::new());
    // A target that differs from the primary that was found is looked at now.
    draft.look_again(draft.now());
}
