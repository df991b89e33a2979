//! The first meeting: the primary is made from the target, and traffic moves to it once it can serve.

use super::draft::Draft;
use super::snapshot::{Readiness, Target};
use super::{Action, Intent, Scale};
use crate::api::checked::Severity;
use crate::api::status::Phase;

pub(super) fn decide(draft: &mut Draft<'_>, target: &Target) {
    if draft.snapshot.canary.suspended {
        draft.progress("Suspended: clear spec.suspend to go on");
        return;
    }
    if let Some(obstacle) = &draft.snapshot.seen.obstacle {
        draft.stall("Obstacle", obstacle.clone());
        return;
    }
    let Some(primary) = &draft.snapshot.seen.primary else {
        create(draft, target);
        return;
    };
    if draft.status.phase == Phase::New {
        adopt(draft, target);
    }
    // Nothing serves from the primary yet, so it simply follows the target: a mend of a first broken image gets through.
    let follows = !draft.status.revisions.observed.is_empty();
    let current = draft.snapshot.seen.primary_revision.as_ref() == Some(&target.revision.id) || target.matches_primary;
    if follows && !current {
        draft.observe(&target.revision);
        draft.act(Action::CommitStatus);
        draft.act(Action::PromotePrimary(target.revision.clone()));
        return;
    }
    draft.act(Action::Services { apex: false });
    if primary.ready {
        open(draft, target);
    } else {
        wait(draft, primary);
    }
}

fn create(draft: &mut Draft<'_>, target: &Target) {
    draft.status.phase = Phase::Initializing;
    draft.status.not_ready_since = Some(draft.now());
    draft.observe(&target.revision);
    draft.act(Action::CommitStatus);
    draft.act(Action::CreatePrimary(target.revision.clone()));
    draft.act(Action::Services { apex: false });
    draft.progress(format!("Waiting for {} to be ready", draft.primary_text()));
}

/// A primary that was there before this Canary had a status is never overwritten: if it differs from the target, the
/// target is a new revision and gets analysed.
fn adopt(draft: &mut Draft<'_>, target: &Target) {
    draft.status.phase = Phase::Initializing;
    draft.status.not_ready_since = Some(draft.now());
    if target.matches_primary {
        draft.observe(&target.revision);
    }
}

fn wait(draft: &mut Draft<'_>, primary: &Readiness) {
    let since = *draft.status.not_ready_since.get_or_insert(draft.snapshot.now);
    let deadline = since + draft.progress_deadline();
    let message = format!("Waiting for {} to be ready: {}", draft.primary_text(), primary.message);
    if draft.now() < deadline && !primary.deadline_exceeded {
        draft.look_again(deadline);
        draft.progress(message);
        return;
    }
    if !draft.was_stalled("PrimaryNotReady") {
        draft.warn("PrimaryNotReady", message.clone());
        draft.alert(
            Severity::Error,
            format!("Initialization of {} is stuck. {message}", draft.target_text()),
            Vec::new(),
        );
    }
    draft.stall("PrimaryNotReady", message);
}

/// The primary can serve: traffic moves to it, and only then the target goes to zero.
fn open(draft: &mut Draft<'_>, target: &Target) {
    draft.act(Action::Services { apex: true });
    draft.act(Action::Autoscaler { update: false });
    draft.act(Action::Route(Intent { canary_weight: 0, withdrawn: None }));
    let traffic = &draft.snapshot.seen.traffic;
    if traffic.canary_weight.is_some_and(|weight| weight != 0) || !traffic.applied {
        draft.progress(format!("Waiting for the route: {}", traffic.message));
        return;
    }
    draft.act(Action::ScaleTarget(Scale::Zero));
    draft.status.phase = Phase::Initialized;
    draft.status.not_ready_since = None;
    if !draft.status.revisions.observed.is_empty() {
        draft.promoted(&target.revision.id);
    }
    draft.act(Action::CommitStatus);
    draft.inform("Initialized", format!("Initialization done! {}", draft.snapshot.canary.key));
    draft.alert(Severity::Info, "New Deployment detected, initialization completed.".to_owned(), Vec::new());
}
